//! Invitations: how people come into a tenant.

use std::time::Duration;

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::people::{InvitationId, UserId};
use aivms_cloud_core::rights::{self, CameraScope, UserRole};
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::accounts::{User, user_where};
use super::lists::Page;
use super::mail::{NewMail, enqueue};
use super::people::{By, note, note_with};
use super::sessions::{self, SignIn};
use super::sql::{Row, Transaction, values};
use super::{Store, StoreError, TenantKey, UserKey, ids, scope};
use aivms_cloud_core::people::SessionId;

/// How long an invitation is good.
pub(crate) const LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// An invitation as its tenant sees it.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Its id.
    pub invitation_id: InvitationId,
    /// Who may join.
    pub email: String,
    /// As what.
    pub role: UserRole,
    /// Who sees what.
    pub cameras: CameraScope,
    /// Who invited.
    pub invited_by: String,
    /// When.
    pub created_at: UtcMillis,
    /// Until when it is good.
    pub expires_at: UtcMillis,
    /// When it was used.
    pub accepted_at: Option<UtcMillis>,
    /// Whether it can still be used, apart from its time.
    pub open: bool,
}

/// An invitation to be made.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// Who may join, lower case.
    pub email: String,
    /// As what.
    pub role: UserRole,
    /// Who sees what.
    pub cameras: CameraScope,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// The mail that brings the token: subject and text.
    pub mail: (String, String),
}

/// What an invited person says when it joins.
#[derive(Debug, Clone)]
pub struct Joining {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Name.
    pub name: String,
    /// Argon2id hash in PHC form.
    pub password_hash: String,
    /// Its first session.
    pub sign_in: SignIn,
}

/// Whom a token invites, before a password is looked at.
#[derive(Debug, Clone)]
pub struct Invited {
    /// The address.
    pub email: String,
    /// Readable name of the tenant.
    pub tenant_name: String,
}

const SELECT: &str = "select i.invitation_id, i.email, i.role, i.cameras, b.name, i.created_at, i.expires_at,
        i.accepted_at, i.token_hash
    from invitations i join users b on b.id = i.invited_by";

impl Store {
    /// Invites a person and owes the mail. An open invitation of the same address is withdrawn. Fails with
    /// [`StoreError::Taken`] `email`, [`StoreError::Rights`], and [`StoreError::NotFound`] for a foreign edge.
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn invite(&self, by: By, new: NewInvitation, now: UtcMillis) -> Result<Invitation, StoreError> {
        self.write(move |transaction| {
            rights::may_make(by.role, new.role, &new.cameras)?;
            scope::check(transaction, by.tenant, &new.cameras)?;
            if transaction.exists("select 1 from users where email = ?1", &values![&new.email])? {
                return Err(StoreError::Taken("email"));
            }
            transaction.execute(
                "update invitations set token_hash = null
                 where tenant = ?1 and email = ?2 and token_hash is not null",
                &values![by.tenant.0, &new.email],
            )?;
            let id = ids::draw(InvitationId::of, now)?;
            insert(transaction, &by, &new, &id, now)?;
            let (subject, text) = new.mail.clone();
            let mail = NewMail { to: new.email.clone(), subject, text, html: None, useful_until: Some(now + LIFE) };
            enqueue(transaction, &mail, now)?;
            let detail = json!({ "role": new.role.as_str(), "cameras": scope::told(&new.cameras) });
            note_with(transaction, &by, Action::UserInvited, Some(&new.email), detail, now)?;
            one(transaction, by.tenant, &id)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// A page of the tenant's invitations by the time of making, after the invitation `after`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_invitations(
        &self,
        tenant: TenantKey,
        after: Option<InvitationId>,
        limit: u32,
    ) -> Result<Page<Invitation>, StoreError> {
        self.list(tenant, move |transaction| {
            let sql =
                format!("{SELECT} where i.tenant = ?1 and i.invitation_id > ?2 order by i.invitation_id limit ?3");
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            let items = transaction.all(&sql, &values![tenant.0, after, i64::from(limit) + 1], read)?;
            Ok(Page::of(items, limit))
        })
        .await
    }

    /// Withdraws an invitation that was not used. Fails with [`StoreError::NotFound`].
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn withdraw_invitation(&self, by: By, id: InvitationId, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let withdrawn = transaction.execute(
                "update invitations set token_hash = null
                 where tenant = ?1 and invitation_id = ?2 and token_hash is not null",
                &values![by.tenant.0, id.as_str()],
            )?;
            if withdrawn == 0 {
                return Err(StoreError::NotFound);
            }
            note(transaction, &by, Action::UserInvitationWithdrawn, Some(id.as_str()), now)
        })
        .await
    }

    /// Whom a token invites; `None` when it is not good (any more).
    ///
    /// # Errors
    /// The database's own.
    pub async fn invited(&self, token_hash: [u8; 32], now: UtcMillis) -> Result<Option<Invited>, StoreError> {
        self.lookup(move |transaction| {
            transaction.first(
                "select i.email, t.name from invitations i join tenants t on t.id = i.tenant
                 where i.token_hash = ?1 and i.expires_at > ?2",
                &values![token_hash, now],
                |row| Ok(Invited { email: row.get(0)?, tenant_name: row.get(1)? }),
            )
        })
        .await
    }

    /// Makes the invited person a user and signs it in; `None` when the token is not good (any more). Fails with
    /// [`StoreError::Taken`] `email`.
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn join(&self, joining: Joining, now: UtcMillis) -> Result<Option<(User, SessionId)>, StoreError> {
        self.write(move |transaction| {
            let Some(invitation) = taken(transaction, &joining.token_hash, now)? else { return Ok(None) };
            let (tenant, email, role, cameras) = invitation;
            let user = make(transaction, tenant, &email, role, &joining.name, &joining.password_hash, now)?;
            scope::grant(transaction, tenant, user, &cameras)?;
            let session = sessions::begin(transaction, user, &joining.sign_in, now)?;
            let user = user_where(transaction, "u.id = ?1", &values![user.0])?.ok_or(StoreError::NotFound)?;
            let by = By::person(&user, Some(joining.sign_in.address.clone()));
            note(transaction, &by, Action::UserJoined, Some(&user.email), now)?;
            Ok(Some((user, session)))
        })
        .await
    }
}

/// Writes a new user down. Fails with [`StoreError::Taken`] `email`.
pub(super) fn make(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    email: &str,
    role: UserRole,
    name: &str,
    password_hash: &str,
    now: UtcMillis,
) -> Result<UserKey, StoreError> {
    if transaction.exists("select 1 from users where email = ?1", &values![email])? {
        return Err(StoreError::Taken("email"));
    }
    let user_id = ids::draw(UserId::of, now)?;
    let key = transaction.first(
        "insert into users (tenant, user_id, email, name, role, password_hash, created_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7) returning id",
        &values![tenant.0, user_id.as_str(), email, name, role.as_str(), password_hash, now],
        |row| row.get(0),
    )?;
    key.map(UserKey).ok_or(StoreError::NotFound)
}

fn insert(
    transaction: &mut Transaction<'_>,
    by: &By,
    new: &NewInvitation,
    id: &InvitationId,
    now: UtcMillis,
) -> Result<(), StoreError> {
    transaction.execute(
        "insert into invitations (invitation_id, tenant, email, role, cameras, token_hash, invited_by, created_at,
            expires_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &values![
            id.as_str(),
            by.tenant.0,
            &new.email,
            new.role.as_str(),
            scope::to_json(&new.cameras),
            new.token_hash,
            by.key.0,
            now,
            now + LIFE
        ],
    )?;
    Ok(())
}

/// Uses the open invitation of an address up, for one who proves in another way to be the person.
pub(super) fn take_for(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    email: &str,
    now: UtcMillis,
) -> Result<Option<(UserRole, CameraScope)>, StoreError> {
    transaction.first(
        "update invitations set token_hash = null, accepted_at = ?3
         where tenant = ?1 and email = ?2 and token_hash is not null and expires_at > ?3
         returning role, cameras",
        &values![tenant.0, email, now],
        |row| Ok((row.parsed(0)?, scope::from_json(row.json(1)?))),
    )
}

/// Uses an invitation up.
fn taken(
    transaction: &mut Transaction<'_>,
    token_hash: &[u8; 32],
    now: UtcMillis,
) -> Result<Option<(TenantKey, String, UserRole, CameraScope)>, StoreError> {
    transaction.first(
        "update invitations set token_hash = null, accepted_at = ?2 where token_hash = ?1 and expires_at > ?2
         returning tenant, email, role, cameras",
        &values![token_hash, now],
        |row| Ok((TenantKey(row.get(0)?), row.get(1)?, row.parsed(2)?, scope::from_json(row.json(3)?))),
    )
}

fn one(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    id: &InvitationId,
) -> Result<Option<Invitation>, StoreError> {
    let sql = format!("{SELECT} where i.tenant = ?1 and i.invitation_id = ?2");
    transaction.first(&sql, &values![tenant.0, id.as_str()], read)
}

fn read(row: &Row) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        invitation_id: row.parsed(0)?,
        email: row.get(1)?,
        role: row.parsed(2)?,
        cameras: scope::from_json(row.json(3)?),
        invited_by: row.get(4)?,
        created_at: row.time(5)?,
        expires_at: row.time(6)?,
        accepted_at: row.optional_time(7)?,
        open: row.get::<Option<Vec<u8>>>(8)?.is_some(),
    })
}
