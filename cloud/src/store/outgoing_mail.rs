//! Mails about accounts on their way: taken by one process at a time, and emptied once they are sent or given up.

use aivms_contract::time::UtcMillis;

use super::delivery_turns::LEASE;
use super::sql::values;
use super::{Store, StoreError};

/// A mail to be sent.
#[derive(Clone)]
pub struct OutgoingMail {
    key: i64,
    /// Address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
    /// The body as HTML, if there is one.
    pub html: Option<String>,
    /// Tries that failed.
    pub attempts: u32,
    /// When it is of no use any more.
    pub expires_at: UtcMillis,
}

/// What becomes of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailFate {
    /// The mail server has it.
    Sent,
    /// It is tried again at this time.
    Again(UtcMillis),
    /// It is given up.
    GivenUp,
}

impl Store {
    /// Takes mails that are due, at most `most`; nobody else gets them for a while. Gives up those that are of no use any
    /// more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_mails(&self, most: u32, now: UtcMillis) -> Result<Vec<OutgoingMail>, StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "update outgoing_mail set failed_at = ?1, body_text = '', body_html = null
                 where sent_at is null and failed_at is null and expires_at <= ?1",
                &values![now],
            )?;
            let mails = transaction.all(
                "select id, recipient, subject, body_text, body_html, attempts, expires_at from outgoing_mail
                 where sent_at is null and failed_at is null and due_at <= ?1
                    and (leased_until is null or leased_until <= ?1)
                 order by due_at, id limit ?2",
                &values![now, most],
                |row| {
                    Ok(OutgoingMail {
                        key: row.get(0)?,
                        to: row.get(1)?,
                        subject: row.get(2)?,
                        text: row.get(3)?,
                        html: row.get(4)?,
                        attempts: row.get(5)?,
                        expires_at: row.time(6)?,
                    })
                },
            )?;
            for mail in &mails {
                let sql = "update outgoing_mail set leased_until = ?2 where id = ?1";
                transaction.execute(sql, &values![mail.key, now + LEASE])?;
            }
            Ok(mails)
        })
        .await
    }

    /// Writes down what became of a mail.
    ///
    /// # Errors
    /// The database's own.
    pub async fn report_mail(&self, mail: &OutgoingMail, fate: MailFate, now: UtcMillis) -> Result<(), StoreError> {
        let key = mail.key;
        self.write(move |transaction| {
            let (sql, at) = match fate {
                MailFate::Sent => ("sent_at = ?2, body_text = '', body_html = null", now),
                MailFate::GivenUp => ("failed_at = ?2, body_text = '', body_html = null", now),
                MailFate::Again(at) => ("due_at = ?2, attempts = attempts + 1", at),
            };
            let sql = format!("update outgoing_mail set leased_until = null, {sql} where id = ?1 and sent_at is null");
            transaction.execute(&sql, &values![key, at]).map(drop)
        })
        .await
    }
}

impl std::fmt::Debug for OutgoingMail {
    /// Its text may hold a link that lets people in.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutgoingMail").field("key", &self.key).finish_non_exhaustive()
    }
}
