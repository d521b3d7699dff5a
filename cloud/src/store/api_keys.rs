//! API keys: programs that act for a person.

use std::time::Duration;

use aivms_cloud_core::audit::{Action, Actor, ActorKind};
use aivms_cloud_core::people::ApiKeyId;
use aivms_cloud_core::rights::{self, CameraScope, UserRole};
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::accounts::User;
use super::lists::Page;
use super::people::{By, active, note, note_with};
use super::sessions::Bearer;
use super::sql::{Row, Transaction, values};
use super::{News, Store, StoreError, TenantKey, UserKey, ids, scope};

/// Most keys of a tenant that count at once.
const MAX_KEYS: i64 = 500;
/// How long keys count after their person last signed in, if it has no password: it came through the tenant's provider,
/// and whoever has left the organisation does not come back from there.
pub(crate) const LIFE_AFTER_PROVIDER: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A key as its tenant sees it.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id; not the key itself.
    pub key_id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// Address of the person it acts for.
    pub acts_for: String,
    /// What it may do at most.
    pub role: UserRole,
    /// What it may see at most.
    pub cameras: CameraScope,
    /// The last characters of the key.
    pub hint: String,
    /// When it was made.
    pub created_at: UtcMillis,
    /// End of its life.
    pub expires_at: UtcMillis,
    /// When it was last used, to ten minutes.
    pub last_used_at: Option<UtcMillis>,
    /// Withdrawn.
    pub revoked: bool,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What people call it.
    pub name: String,
    /// What it may do at most.
    pub role: UserRole,
    /// What it may see at most.
    pub cameras: CameraScope,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    /// The last characters of the key.
    pub hint: String,
    /// End of its life.
    pub expires_at: UtcMillis,
}

/// What takes the place of a key.
#[derive(Debug, Clone)]
pub struct Successor {
    /// How long the old key goes on counting at most.
    pub overlap: Duration,
    /// SHA-256 of the new key.
    pub key_hash: [u8; 32],
    /// The last characters of the new key.
    pub hint: String,
    /// End of the new key's life.
    pub expires_at: UtcMillis,
}

const SELECT: &str = "select k.key_id, k.name, u.email, k.role, k.cameras, k.hint, k.created_at, k.expires_at,
        k.last_used_at, k.revoked_at
    from api_keys k join users u on u.id = k.person";

impl Store {
    /// Makes a key that acts for `by`. Fails with [`StoreError::Rights`] for more rights than `by` has and for an owner's
    /// or admin's limited to cameras, [`StoreError::NotFound`] for a foreign edge, and [`StoreError::TooMany`].
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn create_api_key(&self, by: By, new: NewApiKey, now: UtcMillis) -> Result<ApiKey, StoreError> {
        self.write(move |transaction| {
            rights::may_make(by.role, new.role, &new.cameras)?;
            scope::check(transaction, by.tenant, &new.cameras)?;
            let id = insert(transaction, by.tenant, by.key, &new, now)?;
            let detail = json!({ "name": new.name, "role": new.role.as_str(), "cameras": scope::told(&new.cameras) });
            note_with(transaction, &by, Action::ApiKeyCreated, Some(id.as_str()), detail, now)?;
            one(transaction, by.tenant, &id)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// A page of the tenant's keys by the time of making, after the key `after`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_api_keys(
        &self,
        tenant: TenantKey,
        after: Option<ApiKeyId>,
        limit: u32,
    ) -> Result<Page<ApiKey>, StoreError> {
        self.list(tenant, move |transaction| {
            let sql = format!("{SELECT} where k.tenant = ?1 and k.key_id > ?2 order by k.key_id limit ?3");
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            let items = transaction.all(&sql, &values![tenant.0, after, i64::from(limit) + 1], read)?;
            Ok(Page::of(items, limit))
        })
        .await
    }

    /// Withdraws a key at once. Fails with [`StoreError::NotFound`].
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn revoke_api_key(&self, by: By, id: ApiKeyId, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let person: Option<i64> = transaction.first(
                "update api_keys set revoked_at = ?1 where tenant = ?2 and key_id = ?3 and revoked_at is null
                 returning person",
                &values![now, by.tenant.0, id.as_str()],
                |row| row.get(0),
            )?;
            transaction.announce(News::User(UserKey(person.ok_or(StoreError::NotFound)?)));
            note(transaction, &by, Action::ApiKeyRevoked, Some(id.as_str()), now)
        })
        .await
    }

    /// Makes a key for `by` that takes the place of `id`, which goes on counting for a while. Fails with
    /// [`StoreError::NotFound`] when that one does not count any more, and [`StoreError::Rights`] when it may do more than
    /// `by`.
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn rotate_api_key(
        &self,
        by: By,
        id: ApiKeyId,
        successor: Successor,
        now: UtcMillis,
    ) -> Result<ApiKey, StoreError> {
        self.write(move |transaction| {
            let old = one(transaction, by.tenant, &id)?.filter(|key| !key.revoked && key.expires_at > now);
            let old = old.ok_or(StoreError::NotFound)?;
            let Successor { overlap, key_hash, hint, expires_at } = successor.clone();
            let until = old.expires_at.min(now + overlap);
            rights::may_make(by.role, old.role, &old.cameras)?;
            transaction.execute(
                "update api_keys set expires_at = ?1 where tenant = ?2 and key_id = ?3",
                &values![until, by.tenant.0, id.as_str()],
            )?;
            let new = NewApiKey { name: old.name, role: old.role, cameras: old.cameras, key_hash, hint, expires_at };
            let new = insert(transaction, by.tenant, by.key, &new, now)?;
            let detail = json!({ "replaces": id.as_str() });
            note_with(transaction, &by, Action::ApiKeyCreated, Some(new.as_str()), detail, now)?;
            one(transaction, by.tenant, &new)?.ok_or(StoreError::NotFound)
        })
        .await
    }
}

/// Whom a key speaks for: its person, with what both may do and see.
pub(super) fn bearer(
    transaction: &mut Transaction<'_>,
    key_hash: &[u8; 32],
    now: UtcMillis,
) -> Result<Option<Bearer>, StoreError> {
    let found = transaction.first(
        "select person, key_id, name, role, cameras, expires_at, last_used_at from api_keys
         where key_hash = ?1 and revoked_at is null and expires_at > ?2",
        &values![key_hash, now],
        |row| {
            let (person, role) = (UserKey(row.get(0)?), row.parsed::<UserRole>(3)?);
            let actor = Actor { kind: ActorKind::ApiKey, id: row.get(1)?, name: row.get(2)? };
            Ok((person, actor, role, scope::from_json(row.json(4)?), row.time(5)?, row.optional_time(6)?))
        },
    )?;
    let Some((person, actor, role, cameras, ends_at, noted_at)) = found else { return Ok(None) };
    let Some(mut user) = active(transaction, person)? else { return Ok(None) };
    let ends_at = end(transaction, &user, ends_at)?.filter(|ends_at| *ends_at > now);
    user.cameras = user.cameras.both(cameras);
    // Keys were once made that are an admin's and limited: an admin's operations would show them every camera.
    user.role = user.role.min(role).beside(&user.cameras);
    Ok(ends_at.map(|ends_at| Bearer { user, actor, ends_at: Some(ends_at), noted_at }))
}

/// When a key of `user` ends that was made to count until `expires_at`; `None` for one that never counts.
fn end(transaction: &mut Transaction<'_>, user: &User, expires_at: UtcMillis) -> Result<Option<UtcMillis>, StoreError> {
    if !user.password_hash.is_empty() {
        return Ok(Some(expires_at));
    }
    let sql = "select last_sign_in from users where id = ?1";
    let last = transaction.first(sql, &values![user.key.0], |row| row.optional_time(0))?.flatten();
    Ok(last.map(|last| expires_at.min(last + LIFE_AFTER_PROVIDER)))
}

/// Withdraws the keys of `person`, if it has no password.
pub(super) fn revoke_without_password(
    transaction: &mut Transaction<'_>,
    by: &By,
    person: UserKey,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let revoked: Vec<String> = transaction.all(
        "update api_keys set revoked_at = ?1
         where person = ?2 and revoked_at is null and person in (select id from users where password_hash = '')
         returning key_id",
        &values![now, person.0],
        |row| row.get(0),
    )?;
    revoked.iter().try_for_each(|id| note(transaction, by, Action::ApiKeyRevoked, Some(id), now))
}

fn insert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    person: UserKey,
    new: &NewApiKey,
    now: UtcMillis,
) -> Result<ApiKeyId, StoreError> {
    let counting: Option<i64> = transaction.first(
        "select count(*) from api_keys where tenant = ?1 and revoked_at is null and expires_at > ?2",
        &values![tenant.0, now],
        |row| row.get(0),
    )?;
    if counting.unwrap_or_default() >= MAX_KEYS {
        return Err(StoreError::TooMany("API keys"));
    }
    let id = ids::draw(ApiKeyId::of, now)?;
    transaction.execute(
        "insert into api_keys (key_id, tenant, person, name, role, cameras, key_hash, hint, created_at, expires_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        &values![
            id.as_str(),
            tenant.0,
            person.0,
            &new.name,
            new.role.as_str(),
            scope::to_json(&new.cameras),
            new.key_hash,
            &new.hint,
            now,
            new.expires_at
        ],
    )?;
    Ok(id)
}

fn one(transaction: &mut Transaction<'_>, tenant: TenantKey, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
    let sql = format!("{SELECT} where k.tenant = ?1 and k.key_id = ?2");
    transaction.first(&sql, &values![tenant.0, id.as_str()], read)
}

fn read(row: &Row) -> Result<ApiKey, StoreError> {
    let cameras = scope::from_json(row.json(4)?);
    Ok(ApiKey {
        key_id: row.parsed(0)?,
        name: row.get(1)?,
        acts_for: row.get(2)?,
        role: row.parsed::<UserRole>(3)?.beside(&cameras),
        cameras,
        hint: row.get(5)?,
        created_at: row.time(6)?,
        expires_at: row.time(7)?,
        last_used_at: row.optional_time(8)?,
        revoked: row.optional_time(9)?.is_some(),
    })
}
