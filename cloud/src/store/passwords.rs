//! Changes of passwords.

use std::time::Duration;

use aivms_cloud_core::audit::Action;
use aivms_contract::time::UtcMillis;

use super::accounts::{User, user_where};
use super::mail::{NewMail, enqueue};
use super::people::{By, active, note};
use super::sessions::{self, SignIn};
use super::sql::{Transaction, values};
use super::{Store, StoreError, UserKey};
use aivms_cloud_core::people::SessionId;

/// How long a mail that resets a password is good.
pub(crate) const RESET_LIFE: Duration = Duration::from_secs(3_600);

impl Store {
    /// Changes the password of a person, ends all its sessions and begins a new one for who changed it.
    ///
    /// # Errors
    /// The database's own.
    pub async fn change_password(
        &self,
        by: By,
        password_hash: String,
        sign_in: SignIn,
        now: UtcMillis,
    ) -> Result<(User, SessionId), StoreError> {
        self.write(move |transaction| {
            set(transaction, by.key, &password_hash, now)?;
            let session = sessions::begin(transaction, by.key, &sign_in, now)?;
            note(transaction, &by, Action::UserPasswordChanged, None, now)?;
            Ok((active(transaction, by.key)?.ok_or(StoreError::NotFound)?, session))
        })
        .await
    }

    /// Writes down that the person with `email` (lower case) may reset the password with a token, and owes the mail.
    /// Nothing happens when there is no such person.
    ///
    /// # Errors
    /// The database's own.
    pub async fn ask_for_reset(
        &self,
        email: String,
        token_hash: [u8; 32],
        mail: (String, String),
        address: String,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let user = user_where(transaction, "u.email = ?1", &values![&email])?.filter(|user| !user.disabled);
            let Some(user) = user else { return Ok(()) };
            transaction.execute(
                "insert into password_resets (person, token_hash, expires_at) values (?1, ?2, ?3)
                 on conflict (person) do update set token_hash = excluded.token_hash, expires_at = excluded.expires_at",
                &values![user.key.0, token_hash, now + RESET_LIFE],
            )?;
            let (subject, text) = mail.clone();
            let useful_until = Some(now + RESET_LIFE);
            enqueue(transaction, &NewMail { to: email.clone(), subject, text, html: None, useful_until }, now)?;
            let by = By::person(&user, Some(address.clone()));
            note(transaction, &by, Action::UserPasswordResetRequested, None, now)
        })
        .await
    }

    /// Whose password a token may reset; `None` when it is not good (any more).
    ///
    /// # Errors
    /// The database's own.
    pub async fn resetting(&self, token_hash: [u8; 32], now: UtcMillis) -> Result<Option<User>, StoreError> {
        self.lookup(move |transaction| whose(transaction, &token_hash, now)).await
    }

    /// Resets a password with a token, which is used up, and ends all sessions; false when the token is not good.
    ///
    /// # Errors
    /// The database's own.
    pub async fn reset_password(
        &self,
        token_hash: [u8; 32],
        password_hash: String,
        address: String,
        now: UtcMillis,
    ) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let Some(user) = whose(transaction, &token_hash, now)? else { return Ok(false) };
            set(transaction, user.key, &password_hash, now)?;
            note(transaction, &By::person(&user, Some(address.clone())), Action::UserPasswordReset, None, now)?;
            Ok(true)
        })
        .await
    }
}

fn whose(transaction: &mut Transaction<'_>, token_hash: &[u8; 32], now: UtcMillis) -> Result<Option<User>, StoreError> {
    let person: Option<i64> = transaction.first(
        "select person from password_resets where token_hash = ?1 and expires_at > ?2",
        &values![token_hash, now],
        |row| row.get(0),
    )?;
    let Some(person) = person else { return Ok(None) };
    active(transaction, UserKey(person))
}

/// Sets a password; all that the old one let in is out.
fn set(
    transaction: &mut Transaction<'_>,
    person: UserKey,
    password_hash: &str,
    now: UtcMillis,
) -> Result<(), StoreError> {
    transaction.execute("update users set password_hash = ?1 where id = ?2", &values![password_hash, person.0])?;
    transaction.execute("delete from password_resets where person = ?1", &values![person.0])?;
    sessions::end_all(transaction, person, None, now)
}
