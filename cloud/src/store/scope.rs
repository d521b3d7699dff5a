//! Which cameras a user may see, in the database and as a condition of lists.

use std::collections::BTreeSet;

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::id::{CameraId, EdgeId};

use super::sql::{Transaction, Value, values};
use super::{StoreError, TenantKey, UserKey};

/// A condition on the columns `{alias}.edge` (row of the edge) and `{alias}.camera` (row in `cameras`) that lets the
/// cameras of `scope` through, to be put behind `and`; its values are added to `values`. Empty for all cameras.
pub(super) fn condition(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    scope: &CameraScope,
    alias: &'static str,
    values: &mut Vec<Value>,
) -> Result<String, StoreError> {
    let CameraScope::Only(cameras) = scope else { return Ok(String::new()) };
    let mut pairs = Vec::new();
    for (edge, camera) in cameras {
        let rows = transaction.first(
            "select e.id, c.id from edges e join cameras c on c.tenant = e.tenant
             where e.tenant = ?1 and e.edge_id = ?2 and c.name = ?3",
            &values![tenant.0, edge.as_str(), camera.as_str()],
            |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
        )?;
        // A camera that has shown nothing yet has no row, and nothing to list.
        if let Some((edge, camera)) = rows {
            values.extend([edge.into(), camera.into()]);
            let n = values.len();
            pairs.push(format!("({alias}.edge = ?{} and {alias}.camera = ?{n})", n - 1));
        }
    }
    Ok(if pairs.is_empty() { " and 1 = 0".to_owned() } else { format!(" and ({})", pairs.join(" or ")) })
}

/// The cameras written down for a user.
pub(super) fn cameras_of(transaction: &mut Transaction<'_>, person: UserKey) -> Result<CameraScope, StoreError> {
    let cameras = transaction.all(
        "select e.edge_id, g.camera from user_cameras g join edges e on e.id = g.edge where g.person = ?1",
        &values![person.0],
        |row| Ok((row.parsed(0)?, row.parsed(1)?)),
    )?;
    Ok(CameraScope::Only(cameras.into_iter().collect()))
}

/// Writes down which cameras a user may see, in place of those before. Fails with [`StoreError::NotFound`] when an edge
/// is not the tenant's.
pub(super) fn grant(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    person: UserKey,
    scope: &CameraScope,
) -> Result<(), StoreError> {
    transaction.execute("delete from user_cameras where person = ?1", &values![person.0])?;
    let all = *scope == CameraScope::All;
    transaction.execute("update users set all_cameras = ?1 where id = ?2", &values![all, person.0])?;
    let CameraScope::Only(cameras) = scope else { return Ok(()) };
    for (edge, camera) in cameras {
        let edge = edge_row(transaction, tenant, edge)?;
        transaction.execute(
            "insert into user_cameras (person, edge, camera) values (?1, ?2, ?3)",
            &values![person.0, edge, camera.as_str()],
        )?;
    }
    Ok(())
}

/// Fails with [`StoreError::NotFound`] when an edge of the scope is not the tenant's.
pub(super) fn check(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    scope: &CameraScope,
) -> Result<(), StoreError> {
    let CameraScope::Only(cameras) = scope else { return Ok(()) };
    cameras.iter().try_for_each(|(edge, _)| edge_row(transaction, tenant, edge).map(|_| ()))
}

/// The form of a scope in a column of JSON.
pub(super) fn to_json(scope: &CameraScope) -> String {
    let pairs = match scope {
        CameraScope::All => None,
        CameraScope::Only(cameras) => Some(cameras),
    };
    serde_json::to_string(&pairs).unwrap_or_else(|_| "[]".into())
}

/// What the audit log is told of it: `all`, or how many cameras.
pub(super) fn told(scope: &CameraScope) -> serde_json::Value {
    match scope {
        CameraScope::All => "all".into(),
        CameraScope::Only(cameras) => cameras.len().into(),
    }
}

/// The inverse of [`to_json`].
pub(super) fn from_json(pairs: Option<BTreeSet<(EdgeId, CameraId)>>) -> CameraScope {
    pairs.map_or(CameraScope::All, CameraScope::Only)
}

fn edge_row(transaction: &mut Transaction<'_>, tenant: TenantKey, edge: &EdgeId) -> Result<i64, StoreError> {
    let sql = "select id from edges where tenant = ?1 and edge_id = ?2";
    transaction.first(sql, &values![tenant.0, edge.as_str()], |row| row.get(0))?.ok_or(StoreError::NotFound)
}
