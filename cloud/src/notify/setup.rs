//! Makes the parts of notifications from the settings.

use std::path::Path;
use std::sync::Arc;

use aivms_cloud_core::notify::address::AddressRules;
use anyhow::{Context, Result};
use url::Url;

use super::guard::GuardedClient;
use super::mail::Mailer;
use super::push::VapidKey;
use super::sending::{Sender, SenderParts};
use super::unsubscribe::UnsubscribeLinks;
use super::webhook::WebhookSecret;
use crate::api::SEALED_FOR_PEOPLE;
use crate::config::{Config, Secret};
use crate::media::MediaFiles;
use crate::sealed::Sealer;
use crate::secret_file;

/// What the API needs to know of notifications.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// Where users may have the cloud post to.
    pub rules: AddressRules,
    /// The key that browsers subscribe with.
    pub vapid_public: String,
    /// Reads the links in mails.
    pub unsubscribe: Arc<UnsubscribeLinks>,
    /// The mail server; `None` when the settings name none.
    pub mailer: Option<Mailer>,
}

/// Makes what sends, and what the API needs to know of it. `jwt_secret` is the secret of the user tokens.
///
/// # Errors
/// Names the setting or file that is wrong.
pub fn set_up(config: &Config, jwt_secret: &Secret, media: MediaFiles) -> Result<(Sender, Notifications)> {
    let data_dir = config.data_dir();
    let mailer = config.smtp_settings()?.as_ref().map(Mailer::new).transpose()?;
    let vapid_file = data_dir.join("vapid-key");
    let vapid = VapidKey::read(&secret_file::read_or_draw(&vapid_file)?)
        .with_context(|| format!("{}: delete it, then browsers must subscribe anew", vapid_file.display()))?;
    let rules = config.notifications.address_rules();
    let notifications = Notifications {
        rules: rules.clone(),
        vapid_public: vapid.public().to_owned(),
        unsubscribe: Arc::new(UnsubscribeLinks::new(jwt_secret)),
        mailer: mailer.clone(),
    };
    let sender = Sender::new(SenderParts {
        mailer: mailer.clone(),
        budget: config.notifications.mail_budget(),
        public_url: config.http.public_url.clone(),
        unsubscribe: UnsubscribeLinks::new(jwt_secret),
        media: Some(media),
        guarded: GuardedClient::new(rules).context("the client of webhooks")?,
        vapid,
        push_contact: push_contact(config),
        sealer: Sealer::new(jwt_secret, config.jwt_secret_previous.as_ref(), SEALED_FOR_PEOPLE),
        default_webhook: default_webhook(config, &data_dir)?,
    })?;
    Ok((sender, notifications))
}

/// Whom push services may ask: what is set, else the sender of mails, else the cloud itself.
fn push_contact(config: &Config) -> String {
    let address = || {
        let from = config.smtp.from.as_deref()?;
        let address = from.rsplit_once('<').map_or(from, |(_, rest)| rest.trim_end_matches('>'));
        Some(format!("mailto:{}", address.trim()))
    };
    let url = || config.http.public_url.as_ref().filter(|url| url.scheme() == "https").map(Url::to_string);
    let set = config.notifications.push_contact.clone();
    set.or_else(address).or_else(url).unwrap_or_else(|| "mailto:postmaster@localhost".to_owned())
}

fn default_webhook(config: &Config, data_dir: &Path) -> Result<Option<(Url, WebhookSecret)>> {
    let Some(url) = &config.webhook_url else { return Ok(None) };
    // The value is not repeated: it may hold a secret.
    let url = Url::parse(url.reveal()).context("webhook_url: must be a URL")?;
    let secret = match &config.notifications.webhook_secret {
        Some(secret) => secret.clone(),
        None => secret_file::read_or_make(&data_dir.join("webhook-secret"), || Ok(WebhookSecret::draw()?.reveal()))?,
    };
    let secret = secret.reveal().parse().context("the secret of webhook_url")?;
    Ok(Some((url, secret)))
}
