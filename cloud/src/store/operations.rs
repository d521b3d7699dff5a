//! What those who run the cloud ask of the database.

use aivms_contract::time::UtcMillis;

use super::sql::values;
use super::{Store, StoreError};

/// How much there is in the whole cloud, for those who run it. Numbers only: they name no customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Tenants.
    pub tenants: u64,
    /// Edges that are registered and not withdrawn.
    pub edges: u64,
    /// Edges with a session, in any process.
    pub connected_edges: u64,
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

    /// Counts tenants and edges.
    ///
    /// # Errors
    /// The database's own.
    pub async fn census(&self) -> Result<Census, StoreError> {
        let sql = "select (select count(*) from tenants where closed_at is null), count(*), coalesce(cast(sum(connected) as bigint), 0)
                   from edges where revoked_at is null";
        let counted = self.lookup(move |transaction| {
            transaction.first(sql, &[], |row| {
                Ok(Census { tenants: row.get(0)?, edges: row.get(1)?, connected_edges: row.get(2)? })
            })
        });
        Ok(counted.await?.unwrap_or_default())
    }
}
