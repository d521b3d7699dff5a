//! `[notifications]`: where webhooks and pushes may go, and how many mails an address gets.

use std::time::Duration;

use aivms_cloud_core::notify::address::AddressRules;
use aivms_cloud_core::notify::digest::MailBudget;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::part::{Part, Variables};
use super::{ConfigError, Secret};
use crate::notify::webhook::WebhookSecret;

/// Where webhooks and pushes may go, and how many mails an address gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationsConfig {
    /// Networks that webhooks and providers of sign-ins may be in although they are not public, as `10.1.0.0/16`. Default none.
    pub allowed_networks: Vec<IpNet>,
    /// Ports of webhooks and providers of sign-ins that may be called. Default 443.
    pub allowed_ports: Vec<u16>,
    /// Whether webhooks and providers may be called by `http://`, where anybody on the way reads and changes what is
    /// said. Default no.
    pub allow_http: bool,
    /// Signs what goes to `webhook_url`. Default one drawn on first start and kept in `data_dir`; `WEBHOOK_SECRET`.
    pub webhook_secret: Option<Secret>,
    /// Mails to one address within `mail_window_seconds` that are sent at once; more are put together. Default 5.
    pub mails_at_once: u32,
    /// See `mails_at_once`. Default 600.
    pub mail_window_seconds: u32,
    /// Seconds from one mail to the next while many are put together. Default 120.
    pub digest_seconds: u32,
    /// Whom a push service may ask about this cloud, as `mailto:` or `https:`. Default `smtp.from`.
    pub push_contact: Option<String>,
}

impl Default for NotificationsConfig {
    fn default() -> Self {
        Self {
            allowed_networks: Vec::new(),
            allowed_ports: vec![443],
            allow_http: false,
            webhook_secret: None,
            mails_at_once: 5,
            mail_window_seconds: 600,
            digest_seconds: 120,
            push_contact: None,
        }
    }
}

impl NotificationsConfig {
    /// Where users may have the cloud post to.
    #[must_use]
    pub fn address_rules(&self) -> AddressRules {
        AddressRules {
            allowed_networks: self.allowed_networks.clone(),
            allowed_ports: self.allowed_ports.clone(),
            allow_http: self.allow_http,
        }
    }

    /// How many mails an address gets.
    #[must_use]
    pub fn mail_budget(&self) -> MailBudget {
        MailBudget {
            singles: usize::try_from(self.mails_at_once).unwrap_or(usize::MAX),
            window: Duration::from_secs(self.mail_window_seconds.into()),
            digest_every: Duration::from_secs(self.digest_seconds.into()),
        }
    }
}

impl Part for NotificationsConfig {
    fn take_environment(&mut self, variables: &Variables<'_>) -> Result<(), ConfigError> {
        variables.optional("WEBHOOK_SECRET", &mut self.webhook_secret);
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.mails_at_once == 0 || self.mail_window_seconds == 0 || self.digest_seconds == 0 {
            let problem = "mails_at_once, mail_window_seconds and digest_seconds must be at least 1";
            return ConfigError::wrong("notifications", problem);
        }
        if let Some(Err(error)) = self.webhook_secret.as_ref().map(|secret| secret.reveal().parse::<WebhookSecret>()) {
            return ConfigError::wrong("notifications.webhook_secret", error.to_string());
        }
        let is_contact = |text: &String| text.starts_with("mailto:") || text.starts_with("https://");
        if !self.push_contact.as_ref().is_none_or(is_contact) {
            return ConfigError::wrong("notifications.push_contact", "must begin with mailto: or https://");
        }
        Ok(())
    }
}
