//! Second factors: the secret an authenticator app shares, and recovery codes.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::people::UserId;
use aivms_cloud_core::rights;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::people::{By, found, note, note_with};
use super::sql::{Transaction, values};
use super::{News, Store, StoreError, TenantKey, UserKey, sessions};

/// A person's second factor.
#[derive(Debug, Clone)]
pub struct SecondFactor {
    /// The secret as it was sealed.
    pub sealed: Vec<u8>,
    /// Whether a first code was shown.
    pub confirmed: bool,
    /// The last step of time whose code was used.
    pub last_step: Option<u64>,
}

/// What proves a second factor, after it was compared with the secret.
#[derive(Debug, Clone, Copy)]
pub enum Proof {
    /// A code of the app, by its step of time.
    Step(u64),
    /// SHA-256 of a recovery code.
    Recovery([u8; 32]),
}

impl Store {
    /// A person's second factor, confirmed or not.
    ///
    /// # Errors
    /// The database's own.
    pub async fn second_factor(&self, person: UserKey) -> Result<Option<SecondFactor>, StoreError> {
        self.lookup(move |transaction| {
            transaction.first(
                "select secret, confirmed_at, last_step from second_factors where person = ?1",
                &values![person.0],
                |row| {
                    Ok(SecondFactor {
                        sealed: row.get(0)?,
                        confirmed: row.optional_time(1)?.is_some(),
                        last_step: row.get(2)?,
                    })
                },
            )
        })
        .await
    }

    /// Writes down a secret that is not confirmed yet; false when the person has a confirmed one.
    ///
    /// # Errors
    /// The database's own.
    pub async fn begin_second_factor(
        &self,
        person: UserKey,
        sealed: Vec<u8>,
        now: UtcMillis,
    ) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let touched = transaction.execute(
                "insert into second_factors (person, secret, created_at) values (?1, ?2, ?3)
                 on conflict (person) do update set secret = excluded.secret, created_at = excluded.created_at
                 where second_factors.confirmed_at is null",
                &values![person.0, &sealed[..], now],
            )?;
            Ok(touched == 1)
        })
        .await
    }

    /// Confirms the secret `sealed` with the code of `step` and gives recovery codes (as SHA-256); false when there is
    /// no such secret to confirm.
    ///
    /// # Errors
    /// The database's own.
    pub async fn confirm_second_factor(
        &self,
        by: By,
        sealed: Vec<u8>,
        step: u64,
        recovery: Vec<[u8; 32]>,
        now: UtcMillis,
    ) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let touched = transaction.execute(
                "update second_factors set confirmed_at = ?1, last_step = ?2
                 where person = ?3 and secret = ?4 and confirmed_at is null",
                &values![now, number(step), by.key.0, &sealed[..]],
            )?;
            if touched == 0 {
                return Ok(false);
            }
            replace_recovery(transaction, by.key, &recovery)?;
            note(transaction, &by, Action::UserSecondFactorEnabled, None, now)?;
            transaction.announce(News::User(by.key));
            Ok(true)
        })
        .await
    }

    /// Gives new recovery codes in place of all before.
    ///
    /// # Errors
    /// The database's own.
    pub async fn replace_recovery_codes(
        &self,
        by: By,
        recovery: Vec<[u8; 32]>,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            replace_recovery(transaction, by.key, &recovery)?;
            note(transaction, &by, Action::UserRecoveryCodesReplaced, None, now)
        })
        .await
    }

    /// Uses a proof up; false when it was used before, or is none.
    ///
    /// # Errors
    /// The database's own.
    pub async fn use_second_factor(&self, person: UserKey, proof: Proof, now: UtcMillis) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let touched = match proof {
                Proof::Step(step) => transaction.execute(
                    "update second_factors set last_step = ?1
                     where person = ?2 and confirmed_at is not null and (last_step is null or last_step < ?1)",
                    &values![number(step), person.0],
                )?,
                Proof::Recovery(hash) => transaction.execute(
                    "update recovery_codes set used_at = ?1 where person = ?2 and code_hash = ?3 and used_at is null",
                    &values![now, person.0, hash],
                )?,
            };
            Ok(touched == 1)
        })
        .await
    }

    /// Recovery codes of a person that are still good.
    ///
    /// # Errors
    /// The database's own.
    pub async fn recovery_codes_left(&self, person: UserKey) -> Result<u32, StoreError> {
        self.lookup(move |transaction| {
            let sql = "select count(*) from recovery_codes where person = ?1 and used_at is null";
            transaction.first(sql, &values![person.0], |row| row.get(0)).map(Option::unwrap_or_default)
        })
        .await
    }

    /// Takes the second factor of the one who asks away.
    ///
    /// # Errors
    /// The database's own.
    pub async fn remove_second_factor(&self, by: By, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            remove(transaction, by.key)?;
            note(transaction, &by, Action::UserSecondFactorDisabled, None, now)
        })
        .await
    }

    /// Takes the second factor of a person away who has lost it, and ends the person's sessions. Fails with
    /// [`StoreError::NotFound`] and [`StoreError::Rights`].
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn reset_second_factor(&self, by: By, user_id: UserId, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let (key, is) = found(transaction, by.tenant, &user_id)?;
            rights::may_change(by.role, is.role, Some(is.role), 1)?;
            remove(transaction, key)?;
            sessions::end_all(transaction, key, None, now)?;
            note(transaction, &by, Action::UserSecondFactorDisabled, Some(&is.email), now)
        })
        .await
    }

    /// Whether everybody of the tenant needs a second factor.
    ///
    /// # Errors
    /// The database's own.
    pub async fn second_factor_required(&self, tenant: TenantKey) -> Result<bool, StoreError> {
        self.lookup(move |transaction| {
            let sql = "select second_factor_required from sign_in_settings where tenant = ?1";
            transaction.first(sql, &values![tenant.0], |row| row.get(0)).map(Option::unwrap_or_default)
        })
        .await
    }

    /// Says whether everybody of the tenant needs a second factor.
    ///
    /// # Errors
    /// The database's own.
    pub async fn require_second_factor(&self, by: By, required: bool, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "insert into sign_in_settings (tenant, second_factor_required) values (?1, ?2)
                 on conflict (tenant) do update set second_factor_required = excluded.second_factor_required",
                &values![by.tenant.0, required],
            )?;
            let detail = json!({ "second_factor_required": required });
            note_with(transaction, &by, Action::TenantChanged, None, detail, now)
        })
        .await
    }

    /// Seals every secret anew that `reseal` gives a new form for: those that an earlier server secret sealed.
    ///
    /// # Errors
    /// The database's own.
    pub async fn reseal(&self, reseal: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let mut resealed = 0;
            for (table, key, column) in [
                ("second_factors", "person", "secret"),
                ("identity_providers", "tenant", "client_secret"),
                ("channels", "id", "secret"),
                ("channels", "id", "old_secret"),
            ] {
                let sql = format!("select {key}, {column} from {table} where {column} is not null");
                let rows = transaction.all(&sql, &[], |row| Ok((row.get::<i64>(0)?, row.get::<Vec<u8>>(1)?)))?;
                for (row, sealed) in rows {
                    let Some(anew) = reseal(&sealed) else { continue };
                    let sql = format!("update {table} set {column} = ?1 where {key} = ?2");
                    resealed += transaction.execute(&sql, &values![anew, row])?;
                }
            }
            Ok(resealed)
        })
        .await
    }
}

fn remove(transaction: &mut Transaction<'_>, person: UserKey) -> Result<(), StoreError> {
    transaction.execute("delete from second_factors where person = ?1", &values![person.0])?;
    transaction.execute("delete from recovery_codes where person = ?1", &values![person.0])?;
    transaction.announce(News::User(person));
    Ok(())
}

fn replace_recovery(
    transaction: &mut Transaction<'_>,
    person: UserKey,
    recovery: &[[u8; 32]],
) -> Result<(), StoreError> {
    transaction.execute("delete from recovery_codes where person = ?1", &values![person.0])?;
    for hash in recovery {
        transaction
            .execute("insert into recovery_codes (code_hash, person) values (?1, ?2)", &values![hash, person.0])?;
    }
    Ok(())
}

/// Steps of 30 seconds fit for ever.
fn number(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}
