//! The people of a tenant: who they are, what they may do, and changes to both.

use aivms_cloud_core::audit::{Action, Actor, ActorKind};
use aivms_cloud_core::people::UserId;
use aivms_cloud_core::rights::{self, CameraScope, UserRole};
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};

use super::accounts::{User, user_where};
use super::lists::Page;
use super::sql::{Row, Transaction, values};
use super::{News, Store, StoreError, TenantKey, UserKey, audit, scope, sessions};

/// Who changes something, for the rules about it and for the audit log.
#[derive(Debug, Clone)]
pub struct By {
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// The person's row.
    pub key: UserKey,
    /// What it may do.
    pub role: UserRole,
    /// How the audit log names it.
    pub actor: Actor,
    /// Where the request came from.
    pub address: Option<String>,
}

/// A user as an administrator sees it.
#[derive(Debug, Clone)]
pub struct Person {
    /// Its id.
    pub user_id: UserId,
    /// Address it signs in with.
    pub email: String,
    /// Name.
    pub name: String,
    /// What it may do.
    pub role: UserRole,
    /// What it may see.
    pub cameras: CameraScope,
    /// Whether signing in is switched off.
    pub disabled: bool,
    /// Whether it has a second factor.
    pub second_factor: bool,
    /// When it joined.
    pub created_at: UtcMillis,
    /// When it last signed in.
    pub last_sign_in: Option<UtcMillis>,
}

/// What is to be changed of a user; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct PersonChange {
    /// New name.
    pub name: Option<String>,
    /// New role.
    pub role: Option<UserRole>,
    /// New cameras.
    pub cameras: Option<CameraScope>,
    /// Whether signing in is switched off.
    pub disabled: Option<bool>,
}

impl By {
    /// A person who changes something of its own.
    #[must_use]
    pub fn person(user: &User, address: Option<String>) -> Self {
        let actor = Actor { kind: ActorKind::User, id: user.email.clone(), name: user.name.clone() };
        Self { tenant: user.tenant, key: user.key, role: user.role, actor, address }
    }
}

const SELECT_PERSON: &str = "select u.id, u.user_id, u.email, u.name, u.role, u.all_cameras, u.disabled_at,
        f.person, u.created_at, u.last_sign_in
    from users u left join second_factors f on f.person = u.id and f.confirmed_at is not null";

impl Store {
    /// A page of the tenant's people by the time of joining, after the person `after`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_people(
        &self,
        tenant: TenantKey,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Page<Person>, StoreError> {
        self.list(tenant, move |transaction| {
            let sql = format!(
                "{SELECT_PERSON} where u.tenant = ?1 and u.user_id > ?2 and u.removed_at is null
                 order by u.user_id limit ?3"
            );
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            let rows = transaction.all(&sql, &values![tenant.0, after, i64::from(limit) + 1], read_person)?;
            let people = rows.into_iter().map(|row| with_cameras(transaction, row)).collect::<Result<_, _>>()?;
            Ok(Page::of(people, limit))
        })
        .await
    }

    /// One person of the tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn person(&self, tenant: TenantKey, user_id: UserId) -> Result<Option<Person>, StoreError> {
        self.lookup(move |transaction| person(transaction, tenant, &user_id)).await
    }

    /// Changes a person as far as [`rights`] let `by` do so. Its tokens end at once when its rights change, its
    /// sessions when it is disabled. Fails with [`StoreError::NotFound`] and [`StoreError::Rights`].
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn change_person(
        &self,
        by: By,
        user_id: UserId,
        change: PersonChange,
        now: UtcMillis,
    ) -> Result<Person, StoreError> {
        self.write(move |transaction| {
            let (key, is) = found(transaction, by.tenant, &user_id)?;
            check_change(transaction, &by, key, &is, &change)?;
            apply(transaction, &by, key, &is, &change, now)?;
            person(transaction, by.tenant, &user_id)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// Removes a person for good: it is signed out at once and its address is free again. Fails with
    /// [`StoreError::NotFound`] and [`StoreError::Rights`].
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn remove_person(&self, by: By, user_id: UserId, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let (key, is) = found(transaction, by.tenant, &user_id)?;
            rights::may_change(by.role, is.role, None, other_owners(transaction, by.tenant, key)?)?;
            transaction.execute(
                "update users set removed_at = ?1, email = '#' || cast(id as text), password_hash = '' where id = ?2",
                &values![now, key.0],
            )?;
            for table in ["second_factors", "recovery_codes", "password_resets", "provider_identities", "user_cameras"]
            {
                transaction.execute(&format!("delete from {table} where person = ?1"), &values![key.0])?;
            }
            transaction.execute(
                "update api_keys set revoked_at = ?1 where person = ?2 and revoked_at is null",
                &values![now, key.0],
            )?;
            sessions::end_all(transaction, key, None, now)?;
            note(transaction, &by, Action::UserRemoved, Some(&is.email), now)
        })
        .await
    }
}

/// The person who is to be changed.
pub(super) fn found(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    user_id: &UserId,
) -> Result<(UserKey, Person), StoreError> {
    row(transaction, tenant, user_id)?.ok_or(StoreError::NotFound)
}

fn person(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    user_id: &UserId,
) -> Result<Option<Person>, StoreError> {
    row(transaction, tenant, user_id).map(|found| found.map(|(_, person)| person))
}

fn row(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    user_id: &UserId,
) -> Result<Option<(UserKey, Person)>, StoreError> {
    let sql = format!("{SELECT_PERSON} where u.tenant = ?1 and u.user_id = ?2 and u.removed_at is null");
    let row = transaction.first(&sql, &values![tenant.0, user_id.as_str()], read_person)?;
    let Some(row) = row else { return Ok(None) };
    let key = row.0;
    with_cameras(transaction, row).map(|person| Some((key, person)))
}

/// Owners of the tenant who can sign in, without `person`.
fn other_owners(transaction: &mut Transaction<'_>, tenant: TenantKey, person: UserKey) -> Result<u64, StoreError> {
    let owners = transaction.first(
        "select count(*) from users where tenant = ?1 and role = 'owner' and id <> ?2 and disabled_at is null
            and removed_at is null",
        &values![tenant.0, person.0],
        |row| row.get(0),
    )?;
    Ok(owners.unwrap_or_default())
}

fn check_change(
    transaction: &mut Transaction<'_>,
    by: &By,
    key: UserKey,
    is: &Person,
    change: &PersonChange,
) -> Result<(), StoreError> {
    let role = change.role.unwrap_or(is.role);
    let disabled = change.disabled.unwrap_or(is.disabled);
    let others = other_owners(transaction, by.tenant, key)?;
    rights::may_change(by.role, is.role, (!disabled).then_some(role), others)?;
    let cameras = change.cameras.as_ref().unwrap_or(&is.cameras);
    rights::may_make(by.role, role, cameras)?;
    Ok(())
}

fn apply(
    transaction: &mut Transaction<'_>,
    by: &By,
    key: UserKey,
    is: &Person,
    change: &PersonChange,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let (name, role) = (change.name.as_ref().unwrap_or(&is.name), change.role.unwrap_or(is.role));
    transaction.execute("update users set name = ?1, role = ?2 where id = ?3", &values![name, role.as_str(), key.0])?;
    let disabled = change.disabled.unwrap_or(is.disabled);
    if disabled != is.disabled {
        let at = disabled.then_some(now);
        transaction.execute("update users set disabled_at = ?1 where id = ?2", &values![at, key.0])?;
        sessions::end_all(transaction, key, None, now)?;
    }
    let new_cameras = change.cameras.as_ref().filter(|cameras| **cameras != is.cameras);
    if let Some(cameras) = new_cameras {
        scope::grant(transaction, by.tenant, key, cameras)?;
    }
    if role != is.role || new_cameras.is_some() {
        end_tokens(transaction, key)?;
    }
    if new_cameras.is_some() {
        let detail = json!({ "cameras": scope::told(change.cameras.as_ref().unwrap_or(&is.cameras)) });
        note_with(transaction, by, Action::UserRightsChanged, Some(&is.email), detail, now)?;
    }
    if role != is.role || disabled != is.disabled || *name != is.name {
        let detail = json!({ "name": name, "role": role.as_str(), "disabled": disabled });
        note_with(transaction, by, Action::UserChanged, Some(&is.email), detail, now)?;
    }
    Ok(())
}

/// Makes all tokens of a user useless; its sessions go on with new ones.
pub(super) fn end_tokens(transaction: &mut Transaction<'_>, person: UserKey) -> Result<(), StoreError> {
    transaction
        .execute("update users set token_generation = token_generation + 1 where id = ?1", &values![person.0])?;
    transaction.announce(News::User(person));
    Ok(())
}

/// A user by row who can sign in.
pub(super) fn active(transaction: &mut Transaction<'_>, person: UserKey) -> Result<Option<User>, StoreError> {
    let user = user_where(transaction, "u.id = ?1", &values![person.0])?;
    Ok(user.filter(|user| !user.disabled))
}

/// Writes an entry of the audit log.
pub(super) fn note(
    transaction: &mut Transaction<'_>,
    by: &By,
    action: Action,
    subject: Option<&str>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    note_with(transaction, by, action, subject, Json::Null, now)
}

/// Writes an entry of the audit log that says more.
pub(super) fn note_with(
    transaction: &mut Transaction<'_>,
    by: &By,
    action: Action,
    subject: Option<&str>,
    detail: Json,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let entry = audit::NewAudit {
        tenant: by.tenant,
        actor: by.actor.clone(),
        address: by.address.clone(),
        action,
        subject: subject.map(Into::into),
        detail,
        at: now,
    };
    audit::append(transaction, &entry)
}

fn read_person(row: &Row) -> Result<(UserKey, bool, Person), StoreError> {
    let person = Person {
        user_id: row.parsed(1)?,
        email: row.get(2)?,
        name: row.get(3)?,
        role: row.parsed(4)?,
        cameras: CameraScope::All,
        disabled: row.optional_time(6)?.is_some(),
        second_factor: row.get::<Option<i64>>(7)?.is_some(),
        created_at: row.time(8)?,
        last_sign_in: row.optional_time(9)?,
    };
    Ok((UserKey(row.get(0)?), row.get(5)?, person))
}

fn with_cameras(
    transaction: &mut Transaction<'_>,
    (key, all, person): (UserKey, bool, Person),
) -> Result<Person, StoreError> {
    let cameras = if all { CameraScope::All } else { scope::cameras_of(transaction, key)? };
    Ok(Person { cameras, ..person })
}
