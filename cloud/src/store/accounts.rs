//! Tenants and their users.

use aivms_cloud_core::audit::{Action, Actor};
use aivms_cloud_core::people::UserId;
use aivms_cloud_core::rights::{CameraScope, UserRole};
use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::audit::{self, NewAudit};
use super::sql::{Row, Transaction, Value, values};
use super::{Store, StoreError, TenantKey, UserKey, invitations, people, scope};

/// A user as stored.
#[derive(Debug, Clone)]
pub struct User {
    /// Its row.
    pub key: UserKey,
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// Its tenant's slug.
    pub tenant_id: TenantId,
    /// Its tenant's readable name.
    pub tenant_name: String,
    /// Address it signs in with, lower case.
    pub email: String,
    /// What people call it.
    pub name: String,
    /// Its id.
    pub user_id: UserId,
    /// What it may do.
    pub role: UserRole,
    /// What it may see.
    pub cameras: CameraScope,
    /// Argon2id hash in PHC form; empty when it has no password, because it came through a provider.
    pub password_hash: String,
    /// Counts up when all its tokens become invalid (password or role change, sign-out everywhere).
    pub token_generation: i64,
    /// Whether signing in is switched off.
    pub disabled: bool,
    /// Whether it has a second factor.
    pub second_factor: bool,
    /// Whether its tenant asks everybody for a second factor.
    pub second_factor_required: bool,
}

/// A tenant and its owner to be made together.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Slug, fixed for ever.
    pub tenant_id: TenantId,
    /// Readable name.
    pub tenant_name: String,
    /// Owner's address, lower case.
    pub email: String,
    /// Owner's name.
    pub name: String,
    /// Owner's Argon2id hash in PHC form.
    pub password_hash: String,
}

impl Store {
    /// Makes a tenant and its owner. Fails with [`StoreError::Taken`] `tenant_name` or `email`.
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn register_tenant(&self, tenant: NewTenant, now: UtcMillis) -> Result<User, StoreError> {
        self.write(move |transaction| register_tenant(transaction, &tenant, now)).await
    }

    /// Finds a user by address (lower case).
    ///
    /// # Errors
    /// The database's own.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        let email = email.to_owned();
        self.lookup(move |transaction| user_by_email(transaction, &email)).await
    }

    /// Finds a user by row, if it may sign in.
    ///
    /// # Errors
    /// The database's own.
    pub async fn user(&self, key: UserKey) -> Result<Option<User>, StoreError> {
        self.lookup(move |transaction| people::active(transaction, key)).await
    }
}

const SELECT_USER: &str = "select u.id, u.tenant, t.tenant_id, t.name, u.email, u.name, u.role, u.password_hash,
        u.token_generation, u.user_id, u.disabled_at, u.all_cameras, f.person, g.second_factor_required
    from users u join tenants t on t.id = u.tenant
        left join second_factors f on f.person = u.id and f.confirmed_at is not null
        left join sign_in_settings g on g.tenant = u.tenant";

fn register_tenant(transaction: &mut Transaction<'_>, tenant: &NewTenant, now: UtcMillis) -> Result<User, StoreError> {
    if transaction.exists("select 1 from tenants where tenant_id = ?1", &values![tenant.tenant_id.as_str()])? {
        return Err(StoreError::Taken("tenant_name"));
    }
    let key: Option<i64> = transaction.first(
        "insert into tenants (tenant_id, name, created_at) values (?1, ?2, ?3) returning id",
        &values![tenant.tenant_id.as_str(), &tenant.tenant_name, now],
        |row| row.get(0),
    )?;
    let tenant_key = key.map(TenantKey).ok_or(StoreError::NotFound)?;
    let NewTenant { email, name, password_hash, .. } = tenant;
    invitations::make(transaction, tenant_key, email, UserRole::Owner, name, password_hash, now)?;
    let user = user_by_email(transaction, &tenant.email)?.ok_or(StoreError::NotFound)?;
    let entry = NewAudit {
        tenant: user.tenant,
        actor: Actor::from(&user),
        address: transaction.doer().address,
        action: Action::TenantRegistered,
        subject: Some(user.tenant_id.to_string()),
        detail: json!({ "name": user.tenant_name }),
        at: now,
    };
    audit::append(transaction, &entry)?;
    Ok(user)
}

fn user_by_email(transaction: &mut Transaction<'_>, email: &str) -> Result<Option<User>, StoreError> {
    user_where(transaction, "u.email = ?1", &values![email])
}

/// The user a condition finds, disabled or not; never a removed one.
pub(super) fn user_where(
    transaction: &mut Transaction<'_>,
    condition: &'static str,
    values: &[Value],
) -> Result<Option<User>, StoreError> {
    let sql = format!("{SELECT_USER} where {condition} and u.removed_at is null");
    let Some((mut user, all_cameras)) = transaction.first(&sql, values, read_user)? else { return Ok(None) };
    if !all_cameras {
        user.cameras = scope::cameras_of(transaction, user.key)?;
    }
    Ok(Some(user))
}

fn read_user(row: &Row) -> Result<(User, bool), StoreError> {
    let user = User {
        key: UserKey(row.get(0)?),
        tenant: TenantKey(row.get(1)?),
        tenant_id: row.parsed(2)?,
        tenant_name: row.get(3)?,
        email: row.get(4)?,
        name: row.get(5)?,
        user_id: row.parsed(9)?,
        role: row.parsed(6)?,
        cameras: CameraScope::All,
        password_hash: row.get(7)?,
        token_generation: row.get(8)?,
        disabled: row.optional_time(10)?.is_some(),
        second_factor: row.get::<Option<i64>>(12)?.is_some(),
        second_factor_required: row.get::<Option<bool>>(13)?.unwrap_or_default(),
    };
    Ok((user, row.get(11)?))
}
