//! Mail that is owed: written in the transaction that owes it, sent afterwards.

use std::time::Duration;

use aivms_contract::time::UtcMillis;

use super::sql::{Transaction, values};
use super::{News, StoreError};

/// How long sending is tried when the mail says nothing about it.
const USEFUL_FOR: Duration = Duration::from_secs(24 * 3_600);

/// A mail to be sent.
#[derive(Debug, Clone)]
pub(crate) struct NewMail {
    /// Address.
    pub(crate) to: String,
    /// One line.
    pub(crate) subject: String,
    /// The body as plain text.
    pub(crate) text: String,
    /// The body as HTML, if there is one.
    pub(crate) html: Option<String>,
    /// When it is of no use any more; a day from now when `None`.
    pub(crate) useful_until: Option<UtcMillis>,
}

/// Owes a mail: it is sent if and only if the transaction commits.
pub(crate) fn enqueue(transaction: &mut Transaction<'_>, mail: &NewMail, now: UtcMillis) -> Result<(), StoreError> {
    transaction.execute(
        "insert into outgoing_mail (recipient, subject, body_text, body_html, created_at, due_at, expires_at)
         values (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
        &values![
            &mail.to,
            &mail.subject,
            &mail.text,
            mail.html.clone(),
            now,
            mail.useful_until.unwrap_or(now + USEFUL_FOR)
        ],
    )?;
    transaction.announce(News::Mail);
    Ok(())
}
