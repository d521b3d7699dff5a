//! Sessions: a sign-in and the chain of refresh tokens that keeps it alive.
//!
//! A refresh token is good once; it is exchanged for the next one. One that comes a second time was copied, and nobody
//! can say which of the two who sent it is the thief, so the whole session ends (RFC 9700, section 4.14.2).

use std::time::Duration;

use aivms_cloud_core::audit::{Action, Actor, ActorKind};
use aivms_cloud_core::people::SessionId;
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use super::accounts::User;
use super::people::{By, active, note};
use super::sql::{Row, Transaction, values};
use super::{News, Store, StoreError, TenantKey, UserKey, api_keys, audit, ids};

/// How long a session lives that is not refreshed.
pub(crate) const IDLE_LIFE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long a session lives in all; then the person signs in anew.
pub(crate) const WHOLE_LIFE: Duration = Duration::from_secs(180 * 24 * 3_600);
/// The same of a session that began through the tenant's provider: who has left the organisation is asked for there
/// again after a day at the latest.
pub(crate) const LIFE_THROUGH_PROVIDER: Duration = Duration::from_secs(24 * 3_600);
/// [`SignIn::method`] of sessions that began with a password.
pub(crate) const BY_PASSWORD: &str = "password";
/// [`SignIn::method`] of sessions that began through the tenant's provider.
pub(crate) const THROUGH_PROVIDER: &str = "provider";
/// Least time between two notes that a session or key was used: each is a write.
pub(crate) const NOTE_USE_EVERY: Duration = Duration::from_secs(600);
/// Sessions of a person that have ended are shown and kept no longer than this.
const KEEP_ENDED: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What a request shows to prove who sends it, after its signature or form was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// An access token of a session.
    Session {
        /// The person.
        user: UserKey,
        /// `token_generation` of the person when the token was made.
        generation: i64,
        /// The session.
        session: SessionId,
    },
    /// SHA-256 of an API key.
    Key([u8; 32]),
}

/// Whom a credential speaks for.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The person, with the rights that count: those of an API key are already taken into account.
    pub user: User,
    /// How the audit log names it.
    pub actor: Actor,
    /// The end of the credential, if it has one of its own.
    pub ends_at: Option<UtcMillis>,
    /// When its use was noted last.
    pub noted_at: Option<UtcMillis>,
}

/// How and from where somebody signs in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// `password`, `invitation`, `provider` or `reset`.
    pub method: &'static str,
    /// Network address.
    pub address: String,
    /// What the client says it is.
    pub agent: String,
    /// SHA-256 of the first refresh token.
    pub refresh_hash: [u8; 32],
}

/// A session as its person sees it.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its id.
    pub session_id: SessionId,
    /// How it began.
    pub method: String,
    /// Where it was last used from.
    pub address: String,
    /// What the client said it is.
    pub agent: String,
    /// When it began.
    pub created_at: UtcMillis,
    /// When it was last used, to ten minutes.
    pub last_used_at: UtcMillis,
    /// End of its life if it is not refreshed.
    pub ends_at: UtcMillis,
}

/// What became of a refresh token.
#[derive(Debug, Clone)]
pub enum Refreshed {
    /// It was exchanged; the session goes on.
    Done(Box<User>, SessionId),
    /// It is unknown, or the session has ended.
    Refused,
    /// It had been exchanged before: the session was ended.
    Reused(UserKey),
}

impl Store {
    /// Whom a credential speaks for now; `None` when it does not count (any more).
    ///
    /// # Errors
    /// The database's own.
    pub async fn bearer(&self, credential: Credential, now: UtcMillis) -> Result<Option<Bearer>, StoreError> {
        self.lookup(move |transaction| match &credential {
            Credential::Session { user, generation, session } => {
                session_bearer(transaction, *user, *generation, session, now)
            }
            Credential::Key(hash) => api_keys::bearer(transaction, hash, now),
        })
        .await
    }

    /// Notes that a credential was used, so that its person sees it; call it at most every [`NOTE_USE_EVERY`].
    ///
    /// # Errors
    /// The database's own.
    pub async fn note_use(&self, credential: Credential, address: String, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            match &credential {
                Credential::Session { session, .. } => transaction.execute(
                    "update sessions set last_used_at = ?1, address = ?2 where session_id = ?3",
                    &values![now, &address, session.as_str()],
                )?,
                Credential::Key(hash) => transaction
                    .execute("update api_keys set last_used_at = ?1 where key_hash = ?2", &values![now, hash])?,
            };
            Ok(())
        })
        .await
    }

    /// Begins a session of a person.
    ///
    /// # Errors
    /// The database's own.
    pub async fn sign_in(&self, user: UserKey, sign_in: SignIn, now: UtcMillis) -> Result<SessionId, StoreError> {
        self.write(move |transaction| begin(transaction, user, &sign_in, now)).await
    }

    /// Exchanges the refresh token `old` for `new` (both as SHA-256).
    ///
    /// # Errors
    /// The database's own.
    pub async fn refresh(
        &self,
        old: [u8; 32],
        new: [u8; 32],
        address: String,
        now: UtcMillis,
    ) -> Result<Refreshed, StoreError> {
        self.write(move |transaction| refresh(transaction, &old, &new, &address, now)).await
    }

    /// The living sessions of a person, the newest last.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_sessions(&self, user: UserKey, now: UtcMillis) -> Result<Vec<SessionRow>, StoreError> {
        self.lookup(move |transaction| {
            transaction.all(
                "select session_id, method, address, agent, created_at, last_used_at, ends_at from sessions
                 where person = ?1 and ended_at is null and ends_at > ?2 order by session_id",
                &values![user.0, now],
                read_session,
            )
        })
        .await
    }

    /// Ends one session of a person, with its tokens. Fails with [`StoreError::NotFound`].
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn end_session(&self, by: By, session: SessionId, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let ended = transaction.execute(
                "update sessions set ended_at = ?1 where person = ?2 and session_id = ?3 and ended_at is null",
                &values![now, by.key.0, session.as_str()],
            )?;
            if ended == 0 {
                return Err(StoreError::NotFound);
            }
            transaction.announce(News::User(by.key));
            note(transaction, &by, Action::UserSignedOut, Some(session.as_str()), now)
        })
        .await
    }

    /// Ends all sessions and tokens of a person.
    ///
    /// # Errors
    /// The database's own.
    pub async fn end_all_sessions(&self, by: By, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            end_all(transaction, by.key, None, now)?;
            note(transaction, &by, Action::UserSignedOutEverywhere, None, now)
        })
        .await
    }
}

/// Writes a new session down. Fails with [`StoreError::NotFound`] for a person whom the tenant's provider does not know any
/// more, when it came through the provider.
pub(super) fn begin(
    transaction: &mut Transaction<'_>,
    user: UserKey,
    sign_in: &SignIn,
    now: UtcMillis,
) -> Result<SessionId, StoreError> {
    // The provider may have been replaced since it said who this is.
    let identified = "select 1 from provider_identities i join users u on u.tenant = i.tenant and u.id = i.person
        where u.id = ?1";
    if sign_in.method == THROUGH_PROVIDER && !transaction.exists(identified, &values![user.0])? {
        return Err(StoreError::NotFound);
    }
    let session = ids::draw(SessionId::of, now)?;
    forget_ended(transaction, user, now)?;
    let row: Option<i64> = transaction.first(
        "insert into sessions (session_id, person, method, address, agent, created_at, last_used_at, ends_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7) returning id",
        &values![
            session.as_str(),
            user.0,
            sign_in.method,
            &sign_in.address,
            &sign_in.agent,
            now,
            end(sign_in.method, now, now)
        ],
        |row| row.get(0),
    )?;
    transaction.execute(
        "insert into refresh_tokens (token_hash, session) values (?1, ?2)",
        &values![sign_in.refresh_hash, row],
    )?;
    transaction.execute("update users set last_sign_in = ?1 where id = ?2", &values![now, user.0])?;
    tell_of_sign_in(transaction, user, sign_in, now)?;
    Ok(session)
}

/// When a session ends that is not refreshed after `now`.
fn end(method: &str, created_at: UtcMillis, now: UtcMillis) -> UtcMillis {
    let whole = if method == THROUGH_PROVIDER { LIFE_THROUGH_PROVIDER } else { WHOLE_LIFE };
    (now + IDLE_LIFE).min(created_at + whole)
}

fn tell_of_sign_in(
    transaction: &mut Transaction<'_>,
    user: UserKey,
    sign_in: &SignIn,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let sql = "select tenant, email, name from users where id = ?1";
    let found = transaction.first(sql, &values![user.0], |row| {
        let actor = Actor { kind: ActorKind::User, id: row.get(1)?, name: row.get(2)? };
        Ok((TenantKey(row.get(0)?), actor))
    })?;
    let (tenant, actor) = found.ok_or(StoreError::NotFound)?;
    let entry = audit::NewAudit {
        tenant,
        subject: Some(actor.id.clone()),
        actor,
        address: Some(sign_in.address.clone()),
        action: Action::UserSignedIn,
        detail: serde_json::json!({ "method": sign_in.method }),
        at: now,
    };
    audit::append(transaction, &entry)
}

/// Ends all sessions and tokens of a person, but for the session `except`, whose access tokens end too.
pub(super) fn end_all(
    transaction: &mut Transaction<'_>,
    person: UserKey,
    except: Option<&SessionId>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    transaction.execute(
        "update sessions set ended_at = ?1 where person = ?2 and ended_at is null and session_id <> ?3",
        &values![now, person.0, except.map_or("", SessionId::as_str)],
    )?;
    super::people::end_tokens(transaction, person)
}

/// Deletes sessions that ended long ago.
fn forget_ended(transaction: &mut Transaction<'_>, person: UserKey, now: UtcMillis) -> Result<(), StoreError> {
    let long_ago = now - KEEP_ENDED;
    let values = values![person.0, long_ago];
    transaction.execute(
        "delete from refresh_tokens where session in
            (select id from sessions where person = ?1 and (ended_at < ?2 or ends_at < ?2))",
        &values,
    )?;
    transaction.execute("delete from sessions where person = ?1 and (ended_at < ?2 or ends_at < ?2)", &values)?;
    Ok(())
}

fn session_bearer(
    transaction: &mut Transaction<'_>,
    user: UserKey,
    generation: i64,
    session: &SessionId,
    now: UtcMillis,
) -> Result<Option<Bearer>, StoreError> {
    let noted_at = transaction.first(
        "select last_used_at from sessions where session_id = ?1 and person = ?2 and ended_at is null and ends_at > ?3",
        &values![session.as_str(), user.0, now],
        |row| row.time(0),
    )?;
    let Some(noted_at) = noted_at else { return Ok(None) };
    let user = active(transaction, user)?.filter(|user| user.token_generation == generation);
    Ok(user.map(|user| Bearer {
        actor: Actor { kind: ActorKind::User, id: user.email.clone(), name: user.name.clone() },
        user,
        ends_at: None,
        noted_at: Some(noted_at),
    }))
}

fn refresh(
    transaction: &mut Transaction<'_>,
    old: &[u8; 32],
    new: &[u8; 32],
    address: &str,
    now: UtcMillis,
) -> Result<Refreshed, StoreError> {
    let found = transaction.first(
        "select s.id, s.session_id, s.person, r.used_at, s.created_at, s.method from refresh_tokens r
            join sessions s on s.id = r.session
         where r.token_hash = ?1 and s.ended_at is null and s.ends_at > ?2",
        &values![old, now],
        |row| {
            let session: SessionId = row.parsed(1)?;
            let life: (UtcMillis, String) = (row.time(4)?, row.get(5)?);
            Ok((row.get::<i64>(0)?, session, UserKey(row.get(2)?), row.optional_time(3)?, life))
        },
    )?;
    let Some((row, session, person, used_at, (created_at, method))) = found else { return Ok(Refreshed::Refused) };
    if used_at.is_some() {
        transaction.execute("update sessions set ended_at = ?1 where id = ?2", &values![now, row])?;
        transaction.announce(News::User(person));
        note_reuse(transaction, person, &session, address, now)?;
        return Ok(Refreshed::Reused(person));
    }
    let Some(user) = active(transaction, person)? else { return Ok(Refreshed::Refused) };
    transaction.execute("update refresh_tokens set used_at = ?1 where token_hash = ?2", &values![now, old])?;
    transaction.execute("insert into refresh_tokens (token_hash, session) values (?1, ?2)", &values![new, row])?;
    let ends_at = end(&method, created_at, now);
    transaction.execute(
        "update sessions set last_used_at = ?1, address = ?2, ends_at = ?3 where id = ?4",
        &values![now, address, ends_at, row],
    )?;
    Ok(Refreshed::Done(Box::new(user), session))
}

fn note_reuse(
    transaction: &mut Transaction<'_>,
    person: UserKey,
    session: &SessionId,
    address: &str,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let Some(user) = active(transaction, person)? else { return Ok(()) };
    let by = By::person(&user, Some(address.to_owned()));
    note(transaction, &by, Action::UserTokenReused, Some(session.as_str()), now)
}

fn read_session(row: &Row) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        session_id: row.parsed(0)?,
        method: row.get(1)?,
        address: row.get(2)?,
        agent: row.get(3)?,
        created_at: row.time(4)?,
        last_used_at: row.time(5)?,
        ends_at: row.time(6)?,
    })
}
