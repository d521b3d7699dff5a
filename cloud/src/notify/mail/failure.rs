//! Why a mail was not taken, in the mail server's words.

use lettre::transport::smtp::Error as SmtpError;

use super::message::one_line;

/// Most characters of what a server said that are kept.
const MAX_REASON_CHARS: usize = 300;

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The server, or the form of the mail, refuses it for good.
    #[error("refused: {0}")]
    Refused(String),
    /// The server refuses it for now.
    #[error("not now: {0}")]
    Later(String),
    /// The server can't be reached, does not answer, or does not let the cloud in.
    #[error("the mail server does not work with us: {0}")]
    Server(String),
}

/// Before the mail is handed over everything is about the server and us, whatever code it gives.
pub(super) fn server_error(error: &SmtpError) -> MailError {
    MailError::Server(reason(error))
}

pub(super) fn send_error(error: &SmtpError) -> MailError {
    if error.is_permanent() || error.is_client() {
        MailError::Refused(reason(error))
    } else if error.is_transient() {
        MailError::Later(reason(error))
    } else {
        MailError::Server(reason(error))
    }
}

fn reason(error: &SmtpError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        source = cause.source();
    }
    one_line(&text.chars().take(MAX_REASON_CHARS).collect::<String>())
}
