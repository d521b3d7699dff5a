//! Tenants and their users.

use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::{NewTenant, StoreError, TenantKey, User, UserKey, UserRole};
use super::connection::store_error;
use super::rows::parsed;

const SELECT_USER: &str = "select u.id, u.tenant, t.tenant_id, t.name, u.email, u.name, u.role, u.password_hash,
        u.token_generation
    from users u join tenants t on t.id = u.tenant";

/// Makes a tenant and its owner.
pub(super) fn register_tenant(
    transaction: &Transaction<'_>,
    tenant: &NewTenant,
    now: UtcMillis,
) -> Result<User, StoreError> {
    let taken = |sql: &str, value: &str| -> Result<bool, StoreError> {
        transaction.prepare(sql).and_then(|mut statement| statement.exists([value])).map_err(store_error)
    };
    if taken("select 1 from tenants where tenant_id = ?1", tenant.tenant_id.as_str())? {
        return Err(StoreError::Taken("tenant_name"));
    }
    if taken("select 1 from users where email = ?1", &tenant.email)? {
        return Err(StoreError::Taken("email"));
    }
    insert_tenant_and_owner(transaction, tenant, now).map_err(store_error)?;
    user_by_email(transaction, &tenant.email)?.ok_or(StoreError::NotFound)
}

/// The user who signs in with `email`.
pub(super) fn user_by_email(connection: &Connection, email: &str) -> Result<Option<User>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT_USER} where u.email = ?1")).map_err(store_error)?;
    statement.query_row([email], read_user).optional().map_err(store_error)
}

/// The user in row `key`.
pub(super) fn user(connection: &Connection, key: UserKey) -> Result<Option<User>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT_USER} where u.id = ?1")).map_err(store_error)?;
    statement.query_row([key.0], read_user).optional().map_err(store_error)
}

fn insert_tenant_and_owner(transaction: &Transaction<'_>, tenant: &NewTenant, now: UtcMillis) -> rusqlite::Result<()> {
    transaction.execute(
        "insert into tenants (tenant_id, name, created_at) values (?1, ?2, ?3)",
        params![tenant.tenant_id.as_str(), tenant.tenant_name, now.as_millis()],
    )?;
    transaction.execute(
        "insert into users (tenant, email, name, role, password_hash, created_at) values (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            transaction.last_insert_rowid(),
            tenant.email,
            tenant.name,
            UserRole::Owner.as_str(),
            tenant.password_hash,
            now.as_millis()
        ],
    )?;
    Ok(())
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        key: UserKey(row.get(0)?),
        tenant: TenantKey(row.get(1)?),
        tenant_id: parsed::<TenantId>(row, 2)?,
        tenant_name: row.get(3)?,
        email: row.get(4)?,
        name: row.get(5)?,
        role: parsed(row, 6)?,
        password_hash: row.get(7)?,
        token_generation: row.get(8)?,
    })
}
