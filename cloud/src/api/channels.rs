//! Notification channels: whom a tenant's alerts are told to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::account;
use aivms_cloud_core::notify::id::{ChannelId, DeliveryId};
use aivms_cloud_core::notify::message::{Message, Reason};
use aivms_contract::alert::Severity;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;
use url::Url;

use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, secrets};
use crate::clock;
use crate::notify::webhook::WebhookSecret;
use crate::store::{Channel, ChannelSettings, Target, User, UserRole, WebhookTarget};

/// Most addresses of one mail channel.
const MAX_ADDRESSES: usize = 50;
/// How long the secret before signs too: time to change a receiver over.
const BOTH_SECRETS: Duration = Duration::from_secs(24 * 3600);

pub(super) struct ChannelsApi(pub Arc<Services>);

/// How a channel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum ChannelKind {
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
pub(super) enum NotifySeverity {
    /// Worth knowing.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// What a channel shall be. Of `addresses`, `url` and `email` the one that belongs to its kind is given.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct ChannelRequest {
    /// What people call it.
    #[oai(validator(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    ))]
    name: String,
    /// How it tells; it stays what it was made as.
    kind: ChannelKind,
    /// Of a mail channel: who gets the mails, 1 to 50 addresses.
    #[oai(nullable)]
    addresses: Option<Vec<String>>,
    /// Of a webhook: where it is called, `https://` and a public address unless the cloud's settings allow more.
    #[oai(nullable)]
    url: Option<String>,
    /// Of a user: the address it signs in with.
    #[oai(nullable)]
    email: Option<String>,
    /// The least urgent alerts it gets; `warning` when absent. Rules that name the channel do not ask for it.
    #[oai(nullable)]
    least_severity: Option<NotifySeverity>,
    /// Whether anything is sent to it; yes when absent.
    #[oai(nullable)]
    enabled: Option<bool>,
}

/// A channel.
#[derive(Debug, Object)]
#[oai(rename = "Channel")]
struct ChannelAnswer {
    /// Its identifier, by which rules name it.
    channel_id: Text<ChannelId>,
    /// What people call it.
    name: String,
    /// How it tells.
    kind: ChannelKind,
    /// Of a mail channel: who gets the mails.
    #[oai(nullable)]
    addresses: Option<Vec<String>>,
    /// Of a webhook: where it is called.
    #[oai(nullable)]
    url: Option<String>,
    /// Of a user: the address it signs in with.
    #[oai(nullable)]
    email: Option<String>,
    /// The least urgent alerts it gets.
    least_severity: NotifySeverity,
    /// Whether anything is sent to it.
    enabled: bool,
    /// Why the cloud has switched it off by itself.
    #[oai(nullable)]
    disabled_reason: Option<String>,
    /// Of a webhook whose secret was replaced: until when the one before signs too.
    #[oai(nullable)]
    old_secret_until: Option<Text<Time>>,
    /// When it was made.
    created_at: Text<Time>,
}

/// The tenant's channels.
#[derive(Debug, Object)]
struct ChannelList {
    /// By the time they were made.
    items: Vec<ChannelAnswer>,
}

/// A channel, with the secret of a webhook.
#[derive(Debug, Object)]
struct ChannelWithSecret {
    /// The channel.
    channel: ChannelAnswer,
    /// What its messages are signed with, `whsec_` and base64. Shown only here.
    #[oai(nullable)]
    secret: Option<String>,
}

/// Messages that were owed.
#[derive(Debug, Object)]
struct TestAnswer {
    /// Their deliveries, whose log says what becomes of them.
    delivery_ids: Vec<Text<DeliveryId>>,
}

#[derive(ApiResponse)]
enum Made {
    /// The channel exists.
    #[oai(status = 201)]
    Created(Json<ChannelWithSecret>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Deleted {
    /// The channel is gone.
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum Tested {
    /// Messages are on their way.
    #[oai(status = 202)]
    Owed(Json<TestAnswer>),
}

#[OpenApi(prefix_path = "/api/notifications/channels", tag = "Tags::Notifications")]
impl ChannelsApi {
    /// List notification channels
    ///
    /// All of them, by the time they were made; there are 100 at most. Needs the role admin.
    #[oai(path = "/", method = "get", operation_id = "list_channels")]
    async fn list(&self, signed_in: SignedIn) -> Result<Json<ChannelList>, Failure> {
        let user = signed_in.with_role(UserRole::Admin)?;
        let mut items = Vec::new();
        for channel in self.0.store.list_channels(user.tenant).await? {
            items.push(self.answer(channel).await?);
        }
        Ok(Json(ChannelList { items }))
    }

    /// Make a notification channel
    ///
    /// A webhook is answered with the secret that signs its messages, once. Needs the role admin.
    #[oai(path = "/", method = "post", operation_id = "create_channel")]
    async fn create(&self, signed_in: SignedIn, body: Body<ChannelRequest>) -> Result<Made, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let settings = self.settings(&user, body.0).await?;
        let secret = matches!(settings.target, Target::Webhook(_)).then(draw_secret).transpose()?;
        let now = clock::now();
        let id = ChannelId::from_parts(now, secrets::random_bits()?);
        let sealed = secret.as_deref().map(|secret| self.sealed(secret)).transpose()?;
        let made = store.create_channel(user.tenant, id.clone(), settings, sealed, now).await?;
        tracing::info!(tenant.id = %user.tenant_id, channel.id = %id, "notification channel made");
        let channel = self.answer(made).await?;
        Ok(Made::Created(Json(ChannelWithSecret { channel, secret }), format!("/api/notifications/channels/{id}")))
    }

    /// Show a notification channel
    ///
    /// Needs the role admin.
    #[oai(path = "/:channel_id", method = "get", operation_id = "show_channel")]
    async fn show(
        &self,
        signed_in: SignedIn,
        channel_id: Path<Text<ChannelId>>,
    ) -> Result<Json<ChannelAnswer>, Failure> {
        let user = signed_in.with_role(UserRole::Admin)?;
        let channel = self.0.store.channel(user.tenant, channel_id.0.0).await?;
        Ok(Json(self.answer(channel).await?))
    }

    /// Change a notification channel
    ///
    /// Replaces all of its settings; its kind stays. A channel that the cloud switched off by itself is switched on again
    /// by `enabled`. Needs the role admin.
    #[oai(path = "/:channel_id", method = "put", operation_id = "change_channel")]
    async fn change(
        &self,
        signed_in: SignedIn,
        channel_id: Path<Text<ChannelId>>,
        body: Body<ChannelRequest>,
    ) -> Result<Json<ChannelAnswer>, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(id)) = channel_id;
        let before = store.channel(user.tenant, id.clone()).await?;
        if kind(&before.target) != body.0.kind {
            return Err(Failure::unacceptable("kind", "a channel stays what it was made as; make another one"));
        }
        let settings = self.settings(&user, body.0).await?;
        let changed = store.change_channel(user.tenant, id, settings, clock::now()).await?;
        Ok(Json(self.answer(changed).await?))
    }

    /// Delete a notification channel
    ///
    /// What waits for it fails; the log of its deliveries stays. Needs the role admin.
    #[oai(path = "/:channel_id", method = "delete", operation_id = "delete_channel")]
    async fn delete(&self, signed_in: SignedIn, channel_id: Path<Text<ChannelId>>) -> Result<Deleted, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(id)) = channel_id;
        store.delete_channel(user.tenant, id.clone(), clock::now()).await?;
        tracing::info!(tenant.id = %user.tenant_id, channel.id = %id, "notification channel deleted");
        Ok(Deleted::Done)
    }

    /// Send a test message
    ///
    /// The channel gets a message that says that it is a test, whatever its severity and the hour; the log of deliveries
    /// says what came of it. Needs the role admin.
    #[oai(path = "/:channel_id/test", method = "post", operation_id = "test_channel")]
    async fn test(&self, signed_in: SignedIn, channel_id: Path<Text<ChannelId>>) -> Result<Tested, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let now = clock::now();
        let message = Message {
            reason: Reason::Test,
            tenant_id: user.tenant_id.to_string(),
            tenant_name: user.tenant_name.clone(),
            title: "AIVMS reaches this channel".into(),
            severity: Severity::Info,
            at: now,
            alert: None,
        };
        let owed = store.test_channel(user.tenant, channel_id.0.0, message, now).await?;
        Ok(Tested::Owed(Json(TestAnswer { delivery_ids: owed.into_iter().map(Text).collect() })))
    }

    /// Replace the secret of a webhook
    ///
    /// Messages are signed with the new secret and for 24 hours with the one before too, so that the receiver can be
    /// changed over without missing any. Needs the role admin.
    #[oai(path = "/:channel_id/rotate-secret", method = "post", operation_id = "rotate_channel_secret")]
    async fn rotate(
        &self,
        signed_in: SignedIn,
        channel_id: Path<Text<ChannelId>>,
    ) -> Result<Json<ChannelWithSecret>, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(id)) = channel_id;
        if kind(&store.channel(user.tenant, id.clone()).await?.target) != ChannelKind::Webhook {
            return Err(Failure::conflict(Some("channel_id"), "channel_id: only a webhook has a secret"));
        }
        let secret = draw_secret()?;
        let (sealed, now) = (self.sealed(&secret)?, clock::now());
        let channel = store.rotate_channel_secret(user.tenant, id.clone(), sealed, now + BOTH_SECRETS, now).await?;
        tracing::info!(tenant.id = %user.tenant_id, channel.id = %id, "secret of a webhook replaced");
        Ok(Json(ChannelWithSecret { channel: self.answer(channel).await?, secret: Some(secret) }))
    }
}

impl ChannelsApi {
    /// The form in which the database keeps a secret.
    fn sealed(&self, secret: &str) -> Result<Vec<u8>, Failure> {
        self.0.sealer.seal(secret.as_bytes()).ok_or_else(|| {
            tracing::error!("the system has no random numbers");
            Failure::internal()
        })
    }

    async fn settings(&self, user: &User, asked: ChannelRequest) -> Result<ChannelSettings, Failure> {
        let name = account::display_name(&asked.name).map_err(|error| Failure::unacceptable("name", error))?;
        let least_severity = asked.least_severity.map_or(Severity::Warning, Severity::from);
        let enabled = asked.enabled.unwrap_or(true);
        let target = match (asked.kind, asked.addresses, asked.url, asked.email) {
            (ChannelKind::Mail, Some(addresses), None, None) => Target::Mail(mail_addresses(&addresses)?),
            (ChannelKind::Webhook, None, Some(url), None) => Target::Webhook(WebhookTarget { url: self.url(&url)? }),
            (ChannelKind::User, None, None, Some(email)) => self.user(user, &email).await?,
            (ChannelKind::Mail, ..) => {
                return Err(Failure::unacceptable("addresses", "is what a mail channel has, alone"));
            }
            (ChannelKind::Webhook, ..) => return Err(Failure::unacceptable("url", "is what a webhook has, alone")),
            (ChannelKind::User, ..) => return Err(Failure::unacceptable("email", "is what a user channel has, alone")),
        };
        Ok(ChannelSettings { name, target, least_severity, enabled })
    }

    fn url(&self, text: &str) -> Result<String, Failure> {
        let url = Url::parse(text).map_err(|error| Failure::unacceptable("url", error))?;
        self.0.notifications.rules.check_url(&url).map_err(|error| Failure::unacceptable("url", error))?;
        Ok(url.into())
    }

    /// A person of another tenant is as unknown as nobody.
    async fn user(&self, user: &User, email: &str) -> Result<Target, Failure> {
        let email = account::normalized_email(email).map_err(|error| Failure::unacceptable("email", error))?;
        let found = self.0.store.user_by_email(&email).await?.filter(|found| found.tenant == user.tenant);
        let unknown = || Failure::unacceptable("email", "must be the address of a user of this tenant");
        found.map(|found| Target::User(found.key)).ok_or_else(unknown)
    }

    async fn answer(&self, channel: Channel) -> Result<ChannelAnswer, Failure> {
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

fn kind(target: &Target) -> ChannelKind {
    match target {
        Target::Mail(_) => ChannelKind::Mail,
        Target::Webhook(_) => ChannelKind::Webhook,
        Target::User(_) => ChannelKind::User,
    }
}

fn mail_addresses(addresses: &[String]) -> Result<Vec<String>, Failure> {
    if !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
        return Err(Failure::unacceptable("addresses", format!("must be 1 to {MAX_ADDRESSES} addresses")));
    }
    let normalized: Result<BTreeSet<String>, _> =
        addresses.iter().map(|address| account::normalized_email(address)).collect();
    let normalized = normalized.map_err(|error| Failure::unacceptable("addresses", error))?;
    Ok(normalized.into_iter().collect())
}

fn draw_secret() -> Result<String, Failure> {
    WebhookSecret::draw().map(|secret| secret.reveal()).map_err(|error| {
        tracing::error!(%error, "drawing the secret of a webhook");
        Failure::internal()
    })
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

impl poem_openapi::types::Example for ChannelRequest {
    fn example() -> Self {
        Self {
            name: "Control room".into(),
            kind: ChannelKind::Webhook,
            addresses: None,
            url: Some("https://hooks.example.com/aivms".into()),
            email: None,
            least_severity: Some(NotifySeverity::Warning),
            enabled: Some(true),
        }
    }
}
