//! Edges: registration, enrolment, withdrawal and presence.

use aivms_contract::id::EdgeId;
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::{Edge, EdgeKey, EnrollmentState, Fingerprint, NewCertificate, Presence, StoreError, TenantKey};
use super::certificates::{self, Holder};
use super::connection::store_error;
use super::rows::{optional_time, parsed, time};

const SELECT_EDGE: &str = "select id, edge_id, name, created_at, enrolled_at, revoked_at is not null, connected,
        last_seen, version
    from edges";

/// Registers an edge.
pub(super) fn create_edge(
    transaction: &Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
    name: &str,
    secret_hash: &[u8; 32],
    now: UtcMillis,
) -> Result<Edge, StoreError> {
    let inserted = transaction
        .execute(
            "insert into edges (tenant, edge_id, name, created_at, secret_hash) values (?1, ?2, ?3, ?4, ?5)
             on conflict (edge_id) do nothing",
            params![tenant.0, edge_id.as_str(), name, now.as_millis(), secret_hash],
        )
        .map_err(store_error)?;
    if inserted == 0 {
        return Err(StoreError::Taken("edge_id"));
    }
    edge(transaction, tenant, edge_id)?.ok_or(StoreError::NotFound)
}

/// The tenant's edges by time of registration.
pub(super) fn list_edges(connection: &Connection, tenant: TenantKey) -> Result<Vec<Edge>, StoreError> {
    let sql = format!("{SELECT_EDGE} where tenant = ?1 order by id");
    let mut statement = connection.prepare_cached(&sql).map_err(store_error)?;
    statement.query_map([tenant.0], read_edge).and_then(Iterator::collect).map_err(store_error)
}

/// One edge of the tenant.
pub(super) fn edge(connection: &Connection, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<Edge>, StoreError> {
    let sql = format!("{SELECT_EDGE} where tenant = ?1 and edge_id = ?2");
    let mut statement = connection.prepare_cached(&sql).map_err(store_error)?;
    statement.query_row(params![tenant.0, edge_id.as_str()], read_edge).optional().map_err(store_error)
}

/// Gives an edge that counts a new secret and withdraws its certificates.
pub(super) fn rotate_secret(
    transaction: &Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
    secret_hash: &[u8; 32],
    now: UtcMillis,
) -> Result<Vec<Fingerprint>, StoreError> {
    let key: Option<i64> = transaction
        .query_row(
            "update edges set secret_hash = ?3 where tenant = ?1 and edge_id = ?2 and revoked_at is null returning id",
            params![tenant.0, edge_id.as_str(), secret_hash],
            |row| row.get(0),
        )
        .optional()
        .map_err(store_error)?;
    certificates::withdraw(transaction, Holder::Edge(key.ok_or(StoreError::NotFound)?), now)
}

/// Withdraws an edge, its secret and its certificates. Withdrawing it again changes nothing.
pub(super) fn revoke_edge(
    transaction: &Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
    now: UtcMillis,
) -> Result<Vec<Fingerprint>, StoreError> {
    let key: Option<i64> = transaction
        .query_row(
            "update edges set revoked_at = coalesce(revoked_at, ?3), secret_hash = null
             where tenant = ?1 and edge_id = ?2 returning id",
            params![tenant.0, edge_id.as_str(), now.as_millis()],
            |row| row.get(0),
        )
        .optional()
        .map_err(store_error)?;
    certificates::withdraw(transaction, Holder::Edge(key.ok_or(StoreError::NotFound)?), now)
}

/// What enrolment checks first.
pub(super) fn enrollment_state(
    connection: &Connection,
    edge_id: &EdgeId,
) -> Result<Option<EnrollmentState>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "select t.tenant_id, e.secret_hash, e.revoked_at is not null
             from edges e join tenants t on t.id = e.tenant where e.edge_id = ?1",
        )
        .map_err(store_error)?;
    let read = |row: &Row<'_>| {
        Ok(EnrollmentState { tenant_id: parsed(row, 0)?, secret_hash: row.get(1)?, revoked: row.get(2)? })
    };
    statement.query_row([edge_id.as_str()], read).optional().map_err(store_error)
}

/// Spends the secret and writes the certificate down.
pub(super) fn enroll_edge(
    transaction: &Transaction<'_>,
    edge_id: &EdgeId,
    secret_hash: &[u8; 32],
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let spent: Option<i64> = transaction
        .query_row(
            "update edges set secret_hash = null, enrolled_at = ?3
             where edge_id = ?1 and secret_hash = ?2 and revoked_at is null returning id",
            params![edge_id.as_str(), secret_hash, now.as_millis()],
            |row| row.get(0),
        )
        .optional()
        .map_err(store_error)?;
    let Some(key) = spent else {
        let known = enrollment_state(transaction, edge_id)?.is_some();
        return Err(if known { StoreError::SecretSpent } else { StoreError::NotFound });
    };
    certificates::withdraw(transaction, Holder::Edge(key), now)?;
    add_certificate(transaction, EdgeKey(key), certificate, now)
}

/// Writes a certificate down that renews an active one.
pub(super) fn renew_certificate(
    transaction: &Transaction<'_>,
    edge: EdgeKey,
    renewed: &Fingerprint,
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let counts = certificates::active(transaction, renewed, now)?.is_some_and(|active| active.edge == Some(edge));
    if counts { add_certificate(transaction, edge, certificate, now) } else { Err(StoreError::NotFound) }
}

/// Writes a certificate of an edge that counts down.
fn add_certificate(
    transaction: &Transaction<'_>,
    edge: EdgeKey,
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let found: Option<(i64, EdgeId, String)> = transaction
        .query_row(
            "select e.tenant, e.edge_id, t.tenant_id from edges e join tenants t on t.id = e.tenant
             where e.id = ?1 and e.revoked_at is null",
            [edge.0],
            |row| Ok((row.get(0)?, parsed(row, 1)?, row.get(2)?)),
        )
        .optional()
        .map_err(store_error)?;
    let (tenant, edge_id, tenant_id) = found.ok_or(StoreError::NotFound)?;
    let identity = Identity { tenant: tenant_id.parse().map_err(wrong_row)?, role: Role::Edge(edge_id) };
    if certificate.identity != identity {
        return Err(StoreError::Database(format!("certificate of {} for {identity}", certificate.identity)));
    }
    certificates::insert(transaction, TenantKey(tenant), Holder::Edge(edge.0), certificate, now)
}

/// Writes presence down. Connections are numbered in the order they were made, but their news may come in any order:
/// the highest number seen decides.
pub(super) fn record_presence(transaction: &Transaction<'_>, presence: Presence) -> Result<(), StoreError> {
    let generation = i64::try_from(presence.generation).unwrap_or(i64::MAX);
    let sql = if presence.up {
        "update edges set connected = 1, generation = ?2, last_seen = max(coalesce(last_seen, ?3), ?3)
         where id = ?1 and generation < ?2"
    } else {
        "update edges set connected = 0, generation = ?2, last_seen = max(coalesce(last_seen, ?3), ?3)
         where id = ?1 and generation <= ?2"
    };
    transaction.execute(sql, params![presence.edge.0, generation, presence.at.as_millis()]).map_err(store_error)?;
    Ok(())
}

/// Writes a sign of life down.
pub(super) fn record_heartbeat(
    transaction: &Transaction<'_>,
    edge: EdgeKey,
    at: UtcMillis,
    version: Option<&str>,
) -> Result<(), StoreError> {
    let sql = "update edges set last_seen = max(coalesce(last_seen, ?2), ?2), version = coalesce(?3, version)
               where id = ?1";
    transaction.execute(sql, params![edge.0, at.as_millis(), version]).map_err(store_error)?;
    Ok(())
}

/// Marks every edge as not connected and starts counting connections anew.
pub(super) fn clear_presence(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.execute("update edges set connected = 0, generation = 0", []).map_err(store_error)?;
    Ok(())
}

fn read_edge(row: &Row<'_>) -> rusqlite::Result<Edge> {
    Ok(Edge {
        key: EdgeKey(row.get(0)?),
        edge_id: parsed(row, 1)?,
        name: row.get(2)?,
        created_at: time(row, 3)?,
        enrolled_at: optional_time(row, 4)?,
        revoked: row.get(5)?,
        connected: row.get(6)?,
        last_seen: optional_time(row, 7)?,
        version: row.get(8)?,
    })
}

fn wrong_row(error: impl std::fmt::Display) -> StoreError {
    StoreError::Database(error.to_string())
}
