//! Certificates and operators: who may connect now.

use aivms_contract::id::OperatorId;
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::{ActiveCertificate, EdgeKey, Fingerprint, NewCertificate, Operator, StoreError, TenantKey};
use super::connection::store_error;
use super::rows::{parsed, time};

/// Whom a certificate speaks for, by row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    Edge(i64),
    Operator(i64),
}

/// Writes a certificate down.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    tenant: TenantKey,
    holder: Holder,
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let (edge, operator) = match holder {
        Holder::Edge(key) => (Some(key), None),
        Holder::Operator(key) => (None, Some(key)),
    };
    transaction
        .execute(
            "insert into certificates (fingerprint, tenant, edge, operator, public_key_der, issued_at, not_after)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                certificate.fingerprint,
                tenant.0,
                edge,
                operator,
                certificate.public_key_der,
                now.as_millis(),
                certificate.not_after.as_millis()
            ],
        )
        .map_err(store_error)?;
    Ok(())
}

/// Withdraws the holder's certificates; returns those that counted until now.
pub(super) fn withdraw(
    transaction: &Transaction<'_>,
    holder: Holder,
    now: UtcMillis,
) -> Result<Vec<Fingerprint>, StoreError> {
    let (sql, key) = match holder {
        Holder::Edge(key) => (
            "update certificates set revoked_at = ?2 where edge = ?1 and revoked_at is null
             returning fingerprint, not_after",
            key,
        ),
        Holder::Operator(key) => (
            "update certificates set revoked_at = ?2 where operator = ?1 and revoked_at is null
             returning fingerprint, not_after",
            key,
        ),
    };
    let mut statement = transaction.prepare_cached(sql).map_err(store_error)?;
    let withdrawn: Vec<(Fingerprint, UtcMillis)> = statement
        .query_map(params![key, now.as_millis()], |row| Ok((row.get(0)?, time(row, 1)?)))
        .and_then(Iterator::collect)
        .map_err(store_error)?;
    Ok(withdrawn.into_iter().filter(|(_, not_after)| *not_after > now).map(|(fingerprint, _)| fingerprint).collect())
}

/// Finds a certificate that counts now.
pub(super) fn active(
    connection: &Connection,
    fingerprint: &Fingerprint,
    now: UtcMillis,
) -> Result<Option<ActiveCertificate>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "select c.tenant, t.tenant_id, c.edge, e.edge_id, o.operator_id, c.public_key_der, c.not_after
             from certificates c
             join tenants t on t.id = c.tenant
             left join edges e on e.id = c.edge
             left join operators o on o.id = c.operator
             where c.fingerprint = ?1 and c.revoked_at is null and c.not_after > ?2
               and e.revoked_at is null and o.revoked_at is null",
        )
        .map_err(store_error)?;
    statement.query_row(params![fingerprint, now.as_millis()], read_active).optional().map_err(store_error)
}

/// Makes an operator with its certificate.
pub(super) fn create_operator(
    transaction: &Transaction<'_>,
    tenant: TenantKey,
    name: &str,
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<Operator, StoreError> {
    let Role::Operator(operator_id) = &certificate.identity.role else {
        return Err(StoreError::Database(format!("{} is no operator", certificate.identity)));
    };
    let inserted = transaction
        .execute(
            "insert into operators (tenant, operator_id, name, created_at, not_after) values (?1, ?2, ?3, ?4, ?5)
             on conflict (tenant, operator_id) do nothing",
            params![tenant.0, operator_id.as_str(), name, now.as_millis(), certificate.not_after.as_millis()],
        )
        .map_err(store_error)?;
    if inserted == 0 {
        return Err(StoreError::Taken("operator_id"));
    }
    insert(transaction, tenant, Holder::Operator(transaction.last_insert_rowid()), certificate, now)?;
    Ok(Operator {
        operator_id: operator_id.clone(),
        name: name.to_owned(),
        created_at: now,
        not_after: certificate.not_after,
        revoked: false,
    })
}

/// The tenant's operators by time of making.
pub(super) fn list_operators(connection: &Connection, tenant: TenantKey) -> Result<Vec<Operator>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "select operator_id, name, created_at, not_after, revoked_at is not null
             from operators where tenant = ?1 order by id",
        )
        .map_err(store_error)?;
    let read = |row: &Row<'_>| {
        Ok(Operator {
            operator_id: parsed(row, 0)?,
            name: row.get(1)?,
            created_at: time(row, 2)?,
            not_after: time(row, 3)?,
            revoked: row.get(4)?,
        })
    };
    statement.query_map([tenant.0], read).and_then(Iterator::collect).map_err(store_error)
}

/// Withdraws an operator and its certificate. Withdrawing it again changes nothing.
pub(super) fn revoke_operator(
    transaction: &Transaction<'_>,
    tenant: TenantKey,
    operator_id: &OperatorId,
    now: UtcMillis,
) -> Result<Vec<Fingerprint>, StoreError> {
    let key: Option<i64> = transaction
        .query_row(
            "update operators set revoked_at = coalesce(revoked_at, ?3) where tenant = ?1 and operator_id = ?2
             returning id",
            params![tenant.0, operator_id.as_str(), now.as_millis()],
            |row| row.get(0),
        )
        .optional()
        .map_err(store_error)?;
    withdraw(transaction, Holder::Operator(key.ok_or(StoreError::NotFound)?), now)
}

fn read_active(row: &Row<'_>) -> rusqlite::Result<ActiveCertificate> {
    let edge: Option<i64> = row.get(2)?;
    let role = if edge.is_some() { Role::Edge(parsed(row, 3)?) } else { Role::Operator(parsed(row, 4)?) };
    Ok(ActiveCertificate {
        tenant: TenantKey(row.get(0)?),
        edge: edge.map(EdgeKey),
        identity: Identity { tenant: parsed(row, 1)?, role },
        public_key_der: row.get(5)?,
        not_after: time(row, 6)?,
    })
}
