//! What people ask a channel to be, checked.

use std::collections::BTreeSet;

use aivms_cloud_core::account;
use aivms_contract::alert::Severity;
use poem_openapi::Object;
use serde::Deserialize;
use url::Url;

use super::super::failure::Failure;
use super::ChannelsApi;
use super::answer::{ChannelKind, NotifySeverity};
use crate::store::{ChannelSettings, Target, User, WebhookTarget};

/// Most addresses of one mail channel.
const MAX_ADDRESSES: usize = 50;

/// What a channel shall be. Of `addresses`, `url` and `email` the one that belongs to its kind is given.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
pub(super) struct ChannelRequest {
    /// What people call it.
    #[oai(validator(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    ))]
    pub(super) name: String,
    /// How it tells; it stays what it was made as.
    pub(super) kind: ChannelKind,
    /// Of a mail channel: who gets the mails, 1 to 50 addresses.
    #[oai(nullable)]
    pub(super) addresses: Option<Vec<String>>,
    /// Of a webhook: where it is called, `https://` and a public address unless the cloud's settings allow more.
    #[oai(nullable)]
    pub(super) url: Option<String>,
    /// Of a user: the address it signs in with.
    #[oai(nullable)]
    pub(super) email: Option<String>,
    /// The least urgent alerts it gets; `warning` when absent. Rules that name the channel do not ask for it.
    #[oai(nullable)]
    pub(super) least_severity: Option<NotifySeverity>,
    /// Whether anything is sent to it; yes when absent.
    #[oai(nullable)]
    pub(super) enabled: Option<bool>,
}

impl ChannelsApi {
    /// The settings that are asked for; fails naming the member that is wrong.
    pub(super) async fn settings(&self, user: &User, asked: ChannelRequest) -> Result<ChannelSettings, Failure> {
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
