//! What is somewhere else.

use super::Check;
use crate::config::Config;
use crate::notify::mail::Mailer;

/// Whether the mail server lets us in, if there is one. No mail is sent.
pub(super) async fn mail_server(config: &Config) -> Option<Check> {
    const SUBJECT: &str = "mail server";
    let settings = match config.smtp_settings() {
        Ok(settings) => settings?,
        Err(error) => return Some(Check::fail(SUBJECT, error.to_string())),
    };
    let mailer = match Mailer::new(&settings) {
        Ok(mailer) => mailer,
        Err(error) => return Some(Check::fail(SUBJECT, format!("{error:#}"))),
    };
    Some(match mailer.try_out().await {
        Ok(()) => Check::ok(SUBJECT, format!("{} takes mail from us", settings.host)),
        Err(error) => Check::fail(SUBJECT, format!("{}: {error}", settings.host)),
    })
}
