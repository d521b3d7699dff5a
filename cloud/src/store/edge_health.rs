//! The newest health report of each edge.

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::health::Health;
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;

use super::edges::edge_key;
use super::lists::{self, EventFilter, EventPage, PageRequest};
use super::sql::{Transaction, values};
use super::{EdgeKey, Store, StoreError, TenantKey};

/// A health report as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredHealth {
    /// What the edge knows of itself.
    pub report: Health,
    /// When the cloud took it.
    pub received_at: UtcMillis,
}

impl Store {
    /// The newest health report of an edge; `None` before the first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn newest_health(&self, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<StoredHealth>, StoreError> {
        let edge_id = edge_id.clone();
        self.lookup(move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            newest(transaction, edge)
        })
        .await
    }

    /// A page of an edge's health reports, newest first. `filter` may say since when.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn list_health(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<EventPage, StoreError> {
        let filter = EventFilter { edge_id: Some(edge_id.clone()), ..filter };
        let edge_id = edge_id.clone();
        self.list(tenant, move |transaction| {
            edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            lists::list(transaction, UpKind::Health, tenant, &filter, page)
        })
        .await
    }
}

/// Keeps the newest report of an edge. Called for each stored event in the transaction that stores it.
pub(super) fn note(
    transaction: &mut Transaction<'_>,
    edge: EdgeKey,
    envelope: &Envelope,
    received_at: UtcMillis,
) -> Result<(), StoreError> {
    let Body::Health(report) = &envelope.body else { return Ok(()) };
    let before = newest(transaction, edge)?;
    // After an outage reports come in the order of their making, but two outboxes may overlap.
    if before.as_ref().is_some_and(|before| before.report.timestamp > report.timestamp) {
        return Ok(());
    }
    let json = serde_json::to_string(report).map_err(|error| StoreError::Database(error.to_string()))?;
    transaction.execute(
        "insert into edge_health (edge, at, received_at, report) values (?1, ?2, ?3, ?4)
         on conflict (edge) do update set at = ?2, received_at = ?3, report = ?4",
        &values![edge.0, report.timestamp, received_at, json],
    )?;
    Ok(())
}

fn newest(transaction: &mut Transaction<'_>, edge: EdgeKey) -> Result<Option<StoredHealth>, StoreError> {
    transaction.first("select report, received_at from edge_health where edge = ?1", &values![edge.0], |row| {
        let report = serde_json::from_str(&row.get::<String>(0)?)
            .map_err(|error| StoreError::Database(format!("a stored health report is damaged: {error}")))?;
        Ok(StoredHealth { report, received_at: row.time(1)? })
    })
}
