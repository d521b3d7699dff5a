//! What becomes of raised alerts that a tenant keeps no longer. An alert that is open or acknowledged is still somebody's
//! work, however old: only resolved ones go, counted from when they were resolved.

use std::collections::BTreeSet;

use aivms_contract::time::UtcMillis;

use super::super::sql::{Transaction, values};
use super::super::{StoreError, TenantKey};

/// Alerts deleted in one transaction.
const AT_ONCE: u32 = 100;
/// In the column `state`.
const RESOLVED: i64 = 3;

/// How many alerts were resolved before `before`.
pub(in crate::store) fn expired(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    before: UtcMillis,
) -> Result<u64, StoreError> {
    let sql = "select count(*) from alerts where tenant = ?1 and state = ?2 and resolved_at < ?3";
    Ok(transaction.first(sql, &values![tenant.0, RESOLVED, before], |row| row.get(0))?.unwrap_or_default())
}

/// Deletes some of the alerts that were resolved before `before`, with their steps, comments and deliveries, and the
/// incidents that have no alert left; then some of what was suppressed before. Returns how much.
pub(in crate::store) fn delete_expired(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    before: UtcMillis,
) -> Result<u64, StoreError> {
    let sql = "select id, alert_id, incident from alerts where tenant = ?1 and state = ?2 and resolved_at < ?3
        order by alert_id limit ?4";
    let over: Vec<(i64, [u8; 16], i64)> =
        transaction.all(sql, &values![tenant.0, RESOLVED, before, AT_ONCE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    for (alert, alert_id, _) in &over {
        delete_alert(transaction, tenant, *alert, *alert_id)?;
    }
    for incident in over.iter().map(|(_, _, incident)| *incident).collect::<BTreeSet<_>>() {
        settle_incident(transaction, incident)?;
    }
    let suppressed = transaction.execute(
        "delete from suppressed_alerts where tenant = ?1 and suppressed_id in
            (select suppressed_id from suppressed_alerts where tenant = ?1 and last_at < ?2 limit ?3)",
        &values![tenant.0, before, AT_ONCE],
    )?;
    Ok(over.len() as u64 + suppressed)
}

fn delete_alert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    alert: i64,
    alert_id: [u8; 16],
) -> Result<(), StoreError> {
    let told = values![tenant.0, alert_id];
    transaction.execute(
        "delete from delivery_attempts
         where delivery in (select id from deliveries where tenant = ?1 and alert = ?2)",
        &told,
    )?;
    transaction.execute("delete from deliveries where tenant = ?1 and alert = ?2", &told)?;
    transaction.execute("delete from alert_steps where alert = ?1", &values![alert])?;
    transaction.execute("delete from alerts where id = ?1", &values![alert]).map(drop)
}

/// An incident has as many alerts as are left, or goes with its last one.
fn settle_incident(transaction: &mut Transaction<'_>, incident: i64) -> Result<(), StoreError> {
    let left = "select count(*) from alerts where incident = ?1";
    let left: Option<i64> = transaction.first(left, &values![incident], |row| row.get(0))?;
    match left.unwrap_or_default() {
        0 => transaction.execute("delete from incidents where id = ?1", &values![incident])?,
        left => transaction.execute("update incidents set alerts = ?2 where id = ?1", &values![incident, left])?,
    };
    Ok(())
}
