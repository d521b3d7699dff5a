//! What is remembered of requests that create something, so that a repeat creates nothing.

use aivms_cloud_core::idempotency::{KEPT, Progress, Remembered, Verdict, verdict};
use aivms_contract::time::UtcMillis;

use super::sql::{Transaction, values};
use super::{Store, StoreError, TenantKey};

/// Keys forgotten at once, so that no request waits for a great many.
const FORGOTTEN_AT_ONCE: i64 = 100;

/// The right to carry a request out; the row of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim(i64);

/// A request with a key, by hashes: neither key nor body can be told from them.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// The tenant of whoever asks; `None` for a registration.
    pub tenant: Option<TenantKey>,
    /// Keyed hash of who asks and of the key.
    pub key_hash: [u8; 32],
    /// Keyed hash of the operation and its body.
    pub fingerprint: [u8; 32],
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Carry it out, then [`Store::keep_answer`] or [`Store::give_up_claim`].
    CarryOut(Claim),
    /// It was answered with this, sealed.
    Answered(Vec<u8>),
    /// The key was used for another request.
    OtherRequest,
    /// The first one is still at work.
    AtWork,
    /// The first one was carried out, its answer is lost.
    AnswerLost,
}

impl Store {
    /// Looks at what is known of a request and claims it when nothing is.
    ///
    /// # Errors
    /// The database's own.
    pub async fn claim_request(&self, request: KeyedRequest, now: UtcMillis) -> Result<Claimed, StoreError> {
        self.write(move |transaction| claim(transaction, &request, now)).await
    }

    /// Keeps the sealed answer of a request.
    ///
    /// # Errors
    /// The database's own.
    pub async fn keep_answer(&self, claim: Claim, answer: Vec<u8>) -> Result<(), StoreError> {
        let sql = "update idempotency_keys set carried_out = 1, answer = ?2 where id = ?1";
        self.write(move |transaction| transaction.execute(sql, &values![claim.0, answer.as_slice()])).await.map(drop)
    }

    /// Forgets a request that failed, unless something of it was carried out.
    ///
    /// # Errors
    /// The database's own.
    pub async fn give_up_claim(&self, claim: Claim) -> Result<(), StoreError> {
        let sql = "delete from idempotency_keys where id = ?1 and carried_out = 0";
        self.write(move |transaction| transaction.execute(sql, &values![claim.0])).await.map(drop)
    }
}

/// Says in the transaction that does it that a request is carried out.
///
/// # Errors
/// [`StoreError::Overtaken`] when it took so long that a repeat has claimed the request: then this one must not happen.
pub(super) fn carried_out(transaction: &mut Transaction<'_>, claim: Claim) -> Result<(), StoreError> {
    match transaction.execute("update idempotency_keys set carried_out = 1 where id = ?1", &values![claim.0])? {
        0 => Err(StoreError::Overtaken),
        _ => Ok(()),
    }
}

fn claim(transaction: &mut Transaction<'_>, request: &KeyedRequest, now: UtcMillis) -> Result<Claimed, StoreError> {
    let sql = "select fingerprint, began_at, carried_out, answer from idempotency_keys where key_hash = ?1";
    let known = transaction.first(sql, &values![request.key_hash], |row| {
        let answer: Option<Vec<u8>> = row.get(3)?;
        let progress = match (&answer, row.get(2)?) {
            (Some(_), _) => Progress::Answered,
            (None, true) => Progress::CarriedOut,
            (None, false) => Progress::Begun,
        };
        Ok((Remembered { fingerprint: row.get(0)?, began_at: row.time(1)?, progress }, answer))
    })?;
    let (known, answer) = known.map_or((None, None), |(known, answer)| (Some(known), answer));
    match (verdict(known.as_ref(), &request.fingerprint, now), answer) {
        (Verdict::CarryOut, _) => begin(transaction, request, now),
        (Verdict::Repeat, Some(answer)) => Ok(Claimed::Answered(answer)),
        (Verdict::OtherRequest, _) => Ok(Claimed::OtherRequest),
        (Verdict::AtWork, _) => Ok(Claimed::AtWork),
        (Verdict::Repeat | Verdict::AnswerLost, _) => Ok(Claimed::AnswerLost),
    }
}

impl Store {
    /// Forgets answers that have been kept long enough, some at a time; how many.
    ///
    /// # Errors
    /// The database's own.
    pub async fn forget_requests(&self, now: UtcMillis) -> Result<u64, StoreError> {
        self.write(move |transaction| forget(transaction, now)).await
    }
}

fn forget(transaction: &mut Transaction<'_>, now: UtcMillis) -> Result<u64, StoreError> {
    transaction.execute(
        "delete from idempotency_keys where id in
             (select id from idempotency_keys where began_at < ?1 order by began_at limit ?2)",
        &values![now - KEPT, FORGOTTEN_AT_ONCE],
    )
}

fn begin(transaction: &mut Transaction<'_>, request: &KeyedRequest, now: UtcMillis) -> Result<Claimed, StoreError> {
    transaction.execute("delete from idempotency_keys where key_hash = ?1", &values![request.key_hash])?;
    forget(transaction, now)?;
    let claim = transaction.first(
        "insert into idempotency_keys (tenant, key_hash, fingerprint, began_at) values (?1, ?2, ?3, ?4)
         on conflict (key_hash) do nothing returning id",
        &values![request.tenant.map(|tenant| tenant.0), request.key_hash, request.fingerprint, now],
        |row| row.get(0).map(Claim),
    )?;
    Ok(claim.map_or(Claimed::AtWork, Claimed::CarryOut))
}
