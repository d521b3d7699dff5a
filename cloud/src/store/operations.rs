//! What those who run the cloud ask of the database.

use std::time::Duration;

use aivms_contract::time::UtcMillis;

use super::sql::values;
use super::{Store, StoreError};

/// How long a failed delivery counts as one of late.
const HOUR: Duration = Duration::from_secs(3_600);

/// How much there is in the whole cloud, for those who run it. Numbers only: they name no customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Tenants.
    pub tenants: u64,
    /// Edges that are registered and not withdrawn.
    pub edges: u64,
    /// Edges with a session, in any process.
    pub connected_edges: u64,
    /// Messages of alerts that wait to be sent, or to be tried again.
    pub deliveries_waiting: u64,
    /// When the oldest of them was owed.
    pub oldest_waiting: Option<UtcMillis>,
    /// Messages that were given up within the last hour.
    pub deliveries_failed: u64,
}

impl Store {
    /// Writes one small row, which only a database that can be written takes.
    ///
    /// # Errors
    /// The database's own.
    pub async fn try_write(&self, now: UtcMillis) -> Result<(), StoreError> {
        let sql = "insert into write_probe (id, tried_at) values (1, ?1)
                   on conflict (id) do update set tried_at = ?1";
        self.write(move |transaction| transaction.execute(sql, &values![now])).await.map(drop)
    }

    /// Counts tenants, edges and deliveries.
    ///
    /// # Errors
    /// The database's own.
    pub async fn census(&self, now: UtcMillis) -> Result<Census, StoreError> {
        let edges = "select (select count(*) from tenants where closed_at is null), count(*), coalesce(cast(sum(connected) as bigint), 0)
                     from edges where revoked_at is null";
        let waiting = "select count(*), min(owed_at) from deliveries where state = 1";
        let failed =
            "select count(*) from deliveries where state = 3 and finished_at is not null and finished_at >= ?1";
        self.lookup(move |transaction| {
            let mut census = Census::default();
            transaction.first(edges, &[], |row| {
                (census.tenants, census.edges, census.connected_edges) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(())
            })?;
            transaction.first(waiting, &[], |row| {
                (census.deliveries_waiting, census.oldest_waiting) = (row.get(0)?, row.optional_time(1)?);
                Ok(())
            })?;
            let failures = transaction.first(failed, &values![now - HOUR], |row| row.get(0))?;
            census.deliveries_failed = failures.unwrap_or_default();
            Ok(census)
        })
        .await
    }
}
