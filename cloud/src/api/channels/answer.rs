//! Channels as the API shows them.

use aivms_cloud_core::notify::id::{ChannelId, DeliveryId};
use aivms_contract::alert::Severity;
use poem_openapi::{Enum, Object};
use serde::Deserialize;

use super::super::failure::Failure;
use super::super::values::{Text, Time, time};
use super::ChannelsApi;
use crate::store::{Channel, Target};

/// How a channel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum ChannelKind {
    /// Mails to a list of addresses.
    Mail,
    /// Signed HTTP requests to a URL.
    Webhook,
    /// A user of the tenant, by the means and at the hours that it chose.
    User,
}

/// How urgent something is, from `info` over `warning` to `critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "lowercase", rename = "NotifySeverity")]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum NotifySeverity {
    /// Worth knowing.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// A channel.
#[derive(Debug, Object)]
#[oai(rename = "Channel")]
pub(super) struct ChannelAnswer {
    /// Its identifier, by which rules name it.
    pub(super) channel_id: Text<ChannelId>,
    /// What people call it.
    pub(super) name: String,
    /// How it tells.
    pub(super) kind: ChannelKind,
    /// Of a mail channel: who gets the mails.
    #[oai(nullable)]
    pub(super) addresses: Option<Vec<String>>,
    /// Of a webhook: where it is called.
    #[oai(nullable)]
    pub(super) url: Option<String>,
    /// Of a user: the address it signs in with.
    #[oai(nullable)]
    pub(super) email: Option<String>,
    /// The least urgent alerts it gets.
    pub(super) least_severity: NotifySeverity,
    /// Whether anything is sent to it.
    pub(super) enabled: bool,
    /// Why the cloud has switched it off by itself.
    #[oai(nullable)]
    pub(super) disabled_reason: Option<String>,
    /// Of a webhook whose secret was replaced: until when the one before signs too.
    #[oai(nullable)]
    pub(super) old_secret_until: Option<Text<Time>>,
    /// When it was made.
    pub(super) created_at: Text<Time>,
}

/// The tenant's channels.
#[derive(Debug, Object)]
pub(super) struct ChannelList {
    /// By the time they were made.
    pub(super) items: Vec<ChannelAnswer>,
}

/// A channel, with the secret of a webhook.
#[derive(Debug, Object)]
pub(super) struct ChannelWithSecret {
    /// The channel.
    pub(super) channel: ChannelAnswer,
    /// What its messages are signed with, `whsec_` and base64. Shown only here.
    #[oai(nullable)]
    pub(super) secret: Option<String>,
}

/// Messages that were owed.
#[derive(Debug, Object)]
pub(super) struct TestAnswer {
    /// Their deliveries, whose log says what becomes of them.
    pub(super) delivery_ids: Vec<Text<DeliveryId>>,
}

impl ChannelsApi {
    /// The channel as it is shown.
    pub(super) async fn answer(&self, channel: Channel) -> Result<ChannelAnswer, Failure> {
        let kind = kind(&channel.target);
        let (addresses, url, email) = match channel.target {
            Target::Mail(addresses) => (Some(addresses), None, None),
            Target::Webhook(webhook) => (None, Some(webhook.url), None),
            Target::User(key) => (None, None, self.0.store.user(key).await?.map(|user| user.email)),
        };
        Ok(ChannelAnswer {
            channel_id: Text(channel.channel_id),
            name: channel.name,
            kind,
            addresses,
            url,
            email,
            least_severity: channel.least_severity.into(),
            enabled: channel.enabled,
            disabled_reason: channel.disabled_reason,
            old_secret_until: channel.old_secret_until.map(time),
            created_at: time(channel.created_at),
        })
    }
}

/// How a channel with this target tells.
pub(super) fn kind(target: &Target) -> ChannelKind {
    match target {
        Target::Mail(_) => ChannelKind::Mail,
        Target::Webhook(_) => ChannelKind::Webhook,
        Target::User(_) => ChannelKind::User,
    }
}

impl From<NotifySeverity> for Severity {
    fn from(severity: NotifySeverity) -> Self {
        match severity {
            NotifySeverity::Info => Self::Info,
            NotifySeverity::Warning => Self::Warning,
            NotifySeverity::Critical => Self::Critical,
        }
    }
}

impl From<Severity> for NotifySeverity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}
