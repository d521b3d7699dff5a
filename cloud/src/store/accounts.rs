//! Tenants and their users.

use std::str::FromStr;

use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;

use super::sql::{Row, Transaction, values};
use super::{Store, StoreError, TenantKey, UserKey};

/// What a user may do; each role includes those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserRole {
    /// Everything, including the tenant itself.
    Owner,
    /// Users, edges, rules.
    Admin,
    /// Acknowledge, command, export.
    Operator,
    /// Look.
    Viewer,
}

/// Says that a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, admin, operator or viewer, is {0:?}")]
pub struct RoleError(String);

impl UserRole {
    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }
}

impl FromStr for UserRole {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Self::Owner, Self::Admin, Self::Operator, Self::Viewer]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError(text.to_owned()))
    }
}

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
    /// What it may do.
    pub role: UserRole,
    /// Argon2id hash in PHC form.
    pub password_hash: String,
    /// Counts up when all its tokens become invalid (password or role change, sign-out everywhere).
    pub token_generation: i64,
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

    /// Finds a user by row; checked on every request, so a changed generation ends tokens at once.
    ///
    /// # Errors
    /// The database's own.
    pub async fn user(&self, key: UserKey) -> Result<Option<User>, StoreError> {
        self.lookup(move |transaction| {
            transaction.first(&format!("{SELECT_USER} where u.id = ?1"), &values![key.0], read_user)
        })
        .await
    }
}

const SELECT_USER: &str = "select u.id, u.tenant, t.tenant_id, t.name, u.email, u.name, u.role, u.password_hash,
        u.token_generation
    from users u join tenants t on t.id = u.tenant";

fn register_tenant(transaction: &mut Transaction<'_>, tenant: &NewTenant, now: UtcMillis) -> Result<User, StoreError> {
    if transaction.exists("select 1 from tenants where tenant_id = ?1", &values![tenant.tenant_id.as_str()])? {
        return Err(StoreError::Taken("tenant_name"));
    }
    if transaction.exists("select 1 from users where email = ?1", &values![&tenant.email])? {
        return Err(StoreError::Taken("email"));
    }
    let key: Option<i64> = transaction.first(
        "insert into tenants (tenant_id, name, created_at) values (?1, ?2, ?3) returning id",
        &values![tenant.tenant_id.as_str(), &tenant.tenant_name, now],
        |row| row.get(0),
    )?;
    transaction.execute(
        "insert into users (tenant, email, name, role, password_hash, created_at) values (?1, ?2, ?3, ?4, ?5, ?6)",
        &values![key, &tenant.email, &tenant.name, UserRole::Owner.as_str(), &tenant.password_hash, now],
    )?;
    user_by_email(transaction, &tenant.email)?.ok_or(StoreError::NotFound)
}

fn user_by_email(transaction: &mut Transaction<'_>, email: &str) -> Result<Option<User>, StoreError> {
    transaction.first(&format!("{SELECT_USER} where u.email = ?1"), &values![email], read_user)
}

fn read_user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        key: UserKey(row.get(0)?),
        tenant: TenantKey(row.get(1)?),
        tenant_id: row.parsed(2)?,
        tenant_name: row.get(3)?,
        email: row.get(4)?,
        name: row.get(5)?,
        role: row.parsed(6)?,
        password_hash: row.get(7)?,
        token_generation: row.get(8)?,
    })
}
