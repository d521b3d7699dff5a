//! Tries to sign in and the like, counted for all processes together.

use std::time::Duration;

use aivms_cloud_core::throttle::Allowance;
use aivms_contract::time::UtcMillis;

use super::sql::{Transaction, values};
use super::{Store, StoreError};

/// Buckets that have run empty are deleted this many at a time, whenever a try is counted.
const SWEEP: u32 = 20;

/// What is counted: SHA-256 of a text that names it, and how much of it is allowed.
pub(crate) type Counted = ([u8; 32], Allowance);

impl Store {
    /// Takes a try of each of `counted`, or of none when one of them has none left; then the inner error says how long
    /// to wait. A refused try writes nothing.
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn take_tries(
        &self,
        counted: Vec<Counted>,
        now: UtcMillis,
    ) -> Result<Result<(), Duration>, StoreError> {
        let ahead = counted.clone();
        let refused = self.lookup(move |transaction| Ok(levels(transaction, &ahead, now)?.err())).await?;
        if let Some(wait) = refused {
            return Ok(Err(wait));
        }
        self.write(move |transaction| {
            let levels = match levels(transaction, &counted, now)? {
                Ok(levels) => levels,
                Err(wait) => return Ok(Err(wait)),
            };
            for ((key, _), empties_at) in counted.iter().zip(levels) {
                set(transaction, key, empties_at)?;
            }
            sweep(transaction, now)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Puts a try of each of `counted` back: it turned out to be an honest one.
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn give_back_tries(&self, counted: Vec<Counted>, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            for (key, allowance) in &counted {
                let empties_at = allowance.give_back(empties_at(transaction, key, now)?, now);
                set(transaction, key, empties_at)?;
            }
            Ok(())
        })
        .await
    }
}

/// When each bucket will be empty after one more try.
fn levels(
    transaction: &mut Transaction<'_>,
    counted: &[Counted],
    now: UtcMillis,
) -> Result<Result<Vec<UtcMillis>, Duration>, StoreError> {
    let mut levels = Vec::with_capacity(counted.len());
    for (key, allowance) in counted {
        match allowance.take(empties_at(transaction, key, now)?, now) {
            Ok(empties_at) => levels.push(empties_at),
            Err(wait) => return Ok(Err(wait)),
        }
    }
    Ok(Ok(levels))
}

fn empties_at(transaction: &mut Transaction<'_>, key: &[u8; 32], now: UtcMillis) -> Result<UtcMillis, StoreError> {
    let found = transaction.first("select empties_at from tries where key_hash = ?1", &values![key], |row| row.time(0));
    found.map(|at| at.unwrap_or(now))
}

fn set(transaction: &mut Transaction<'_>, key: &[u8; 32], empties_at: UtcMillis) -> Result<(), StoreError> {
    transaction.execute(
        "insert into tries (key_hash, empties_at) values (?1, ?2)
         on conflict (key_hash) do update set empties_at = excluded.empties_at",
        &values![key, empties_at],
    )?;
    Ok(())
}

/// Deletes some buckets that are empty: they say nothing any more.
fn sweep(transaction: &mut Transaction<'_>, now: UtcMillis) -> Result<(), StoreError> {
    transaction.execute(
        "delete from tries where key_hash in
            (select key_hash from tries where empties_at < ?1 order by empties_at limit ?2)",
        &values![now, SWEEP],
    )?;
    Ok(())
}
