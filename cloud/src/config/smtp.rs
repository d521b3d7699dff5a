//! `[smtp]`: how the mail server `smtp_host` is spoken to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::part::{Part, Variables};
use super::{ConfigError, Secret};
use crate::notify::mail::SmtpTls;

/// How the mail server is spoken to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpConfig {
    /// Port. Default 587, with `tls = "tls"` 465, with `tls = "none"` 25; `SMTP_PORT`.
    pub port: Option<u16>,
    /// `starttls` (default), `tls` or `none`.
    pub tls: SmtpTls,
    /// A certificate in PEM to trust beside those of the system. Default none.
    pub ca: Option<PathBuf>,
    /// User name. Default none: no sign-in; `SMTP_USER`.
    pub user: Option<String>,
    /// Password; `SMTP_PASSWORD`.
    pub password: Option<Secret>,
    /// Sender, as `AIVMS <alerts@example.com>`; needed with `smtp_host`; `SMTP_FROM`.
    pub from: Option<String>,
}

impl Part for SmtpConfig {
    fn take_environment(&mut self, variables: &Variables<'_>) -> Result<(), ConfigError> {
        let mut port = self.port.unwrap_or(0);
        variables.number("SMTP_PORT", "the port", &mut port)?;
        self.port = (port != 0).then_some(port);
        variables.optional("SMTP_USER", &mut self.user);
        variables.optional("SMTP_PASSWORD", &mut self.password);
        variables.optional("SMTP_FROM", &mut self.from);
        Ok(())
    }
}
