//! One back-test at a time for each tenant, over all processes.
//!
//! A turn is a bucket of one try among those that are counted (`tries`): it holds until its end, or until
//! [`LEASE`] is over when the process died. A back-test is broken off well before.

use std::time::Duration;

use aivms_cloud_core::throttle::Allowance;
use aivms_contract::time::UtcMillis;
use sha2::{Digest, Sha256};

use super::super::super::sql::values;
use super::super::super::{Store, StoreError, TenantKey};
use super::LIMIT;

/// How long a turn holds that nobody ends.
const LEASE: Duration = Duration::from_secs(LIMIT.as_secs() + 15);

/// The right to run the back-test of a tenant. Dropped, as when the caller goes away, it ends by itself soon.
#[derive(Debug)]
pub(in super::super::super) struct BackTestTurn {
    store: Store,
    key: [u8; 32],
    until: UtcMillis,
    ended: bool,
}

impl Store {
    /// Takes the tenant's turn.
    ///
    /// # Errors
    /// [`StoreError::AtWork`] while another one has it.
    pub(in super::super::super) async fn back_test_turn(
        &self,
        tenant: TenantKey,
        now: UtcMillis,
    ) -> Result<BackTestTurn, StoreError> {
        let key = Sha256::new().chain_update("back-test\0").chain_update(tenant.0.to_string()).finalize().into();
        // Made before it is taken: a caller that goes away meanwhile must not leave it taken.
        let mut turn = BackTestTurn { store: self.clone(), key, until: now + LEASE, ended: false };
        let taken = self.take_tries(vec![(key, Allowance { tries: 1, per: LEASE })], now).await?;
        taken.map_err(|wait| {
            turn.ended = true;
            // Two clocks may differ.
            StoreError::AtWork(wait.min(LEASE))
        })?;
        Ok(turn)
    }
}

impl BackTestTurn {
    /// Ends the turn. Where the database fails, it ends with its lease.
    pub(super) async fn end(mut self) {
        end(self.store.clone(), self.key, self.until).await;
        self.ended = true;
    }
}

impl Drop for BackTestTurn {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if !self.ended
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(end(self.store.clone(), self.key, self.until));
        }
    }
}

/// Ends a turn unless it is over and somebody else has taken the next.
async fn end(store: Store, key: [u8; 32], until: UtcMillis) {
    let sql = "delete from tries where key_hash = ?1 and empties_at = ?2";
    if let Err(error) = store.write(move |transaction| transaction.execute(sql, &values![key, until])).await {
        tracing::warn!(%error, "the turn of a back-test can't be ended; it ends by itself");
    }
}
