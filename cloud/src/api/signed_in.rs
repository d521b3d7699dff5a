//! Who is asking: a person by a token of ours, or a program by an API key of a person.

use std::sync::Arc;

use aivms_cloud_core::audit::Actor;
use aivms_cloud_core::rights::CameraScope;
use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::time::UtcMillis;
use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use super::failure::Failure;
use super::idempotency::Asking;
use super::secrets::{API_KEY_PREFIX, hash};
use super::{Services, address};
use crate::clock;
use crate::store::{By, Credential, Doer, NOTE_USE_EVERY, StoreError, User, UserRole};

/// RFC 6750: the token is there and not good.
pub(super) const INVALID_TOKEN: &str = "Bearer error=\"invalid_token\"";
/// What people do for their own account is under this path; it is open to those who must set a second factor up first.
const OWN_ACCOUNT: &str = "/api/auth/";

/// A signed-in person. The token comes from `POST /api/auth/login` or `POST /api/auth/register`; an API key
/// (`aivms_key_…`, from `POST /api/tenant/api-keys`) stands for the person who made it, with the rights given to it.
#[derive(SecurityScheme)]
#[oai(rename = "UserToken", ty = "bearer", bearer_format = "JWT", checker = "check")]
pub(super) struct SignedIn(pub Session);

/// A person, what it may see, and how long the token is good.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The person; role and cameras are those that count, also for an API key.
    pub user: User,
    /// What was shown.
    pub credential: Credential,
    /// How the audit log names it.
    pub actor: Actor,
    /// Where the request came from.
    pub address: String,
    pub ends_at: UtcMillis,
}

impl SignedIn {
    /// The person, if the role includes `least`.
    pub(super) fn with_role(self, least: UserRole) -> Result<User, Failure> {
        self.check_role(least).map(|()| self.0.user)
    }

    /// The person, with any role.
    pub(super) fn user(self) -> User {
        self.0.user
    }

    /// Who asks, for the audit log.
    pub(super) fn doer(&self) -> Doer {
        Doer { actor: self.0.actor.clone(), address: Some(self.0.address.clone()) }
    }

    /// Who asks, for requests that must be carried out once.
    pub(super) fn asking(&self) -> Asking {
        let user = &self.0.user;
        Asking { tenant: Some(user.tenant), who: format!("user {}", user.key.0), doer: self.doer() }
    }

    /// The cameras the person may see.
    pub(super) fn cameras(&self) -> &CameraScope {
        &self.0.user.cameras
    }

    /// Refuses a camera that the person may not see, in the words for one that does not exist.
    pub(super) fn must_see(&self, edge: &EdgeId, camera: &CameraId) -> Result<(), Failure> {
        if self.cameras().sees(edge, camera) { Ok(()) } else { Err(StoreError::NotFound.into()) }
    }

    /// Who changes something, if it is the person itself and not a program, and the role includes `least`: people and
    /// what lets them in are never in the hands of a key that may have leaked.
    pub(super) fn in_person(&self, least: UserRole) -> Result<By, Failure> {
        if matches!(self.0.credential, Credential::Key(_)) {
            return Err(Failure::forbidden("an API key can't do this: sign in"));
        }
        self.check_role(least)?;
        let Session { user, actor, address, .. } = &self.0;
        let (actor, address) = (actor.clone(), Some(address.clone()));
        Ok(By { tenant: user.tenant, key: user.key, role: user.role, actor, address })
    }

    fn check_role(&self, least: UserRole) -> Result<(), Failure> {
        let role = self.0.user.role;
        if role.includes(least) {
            return Ok(());
        }
        let detail = format!("your role is {}, this needs {} or above", role.as_str(), least.as_str());
        Err(Failure::forbidden(detail))
    }
}

/// Finds who makes a call, and counts it. Every operation of people passes here, and every stream of theirs once, when it
/// begins.
pub(super) async fn called_by(
    services: &Arc<Services>,
    token: &str,
    address: String,
    path: &str,
) -> Result<Session, Failure> {
    let session = session_of(services, token, address, path).await?;
    services.calls.count(&session.credential, session.user.tenant)?;
    Ok(session)
}

/// Finds the person a token or key speaks for, without counting a call. Looks at the rows each time, so a withdrawn one ends
/// at once. `address` and `path` are those of the request.
pub(super) async fn session_of(
    services: &Arc<Services>,
    token: &str,
    address: String,
    path: &str,
) -> Result<Session, Failure> {
    let refused = || Failure::unauthorized("the token is not valid or has ended; sign in again", INVALID_TOKEN);
    let now = clock::now();
    let (credential, ends_at) = match token.strip_prefix(API_KEY_PREFIX) {
        Some(_) => (Credential::Key(hash(token)), None),
        None => services
            .tokens
            .read(token)
            .map(|claimed| (claimed.credential, Some(claimed.ends_at)))
            .ok_or_else(refused)?,
    };
    let bearer = services.store.bearer(credential.clone(), now).await?.ok_or_else(refused)?;
    let ends_at = ends_at.or(bearer.ends_at).filter(|ends_at| *ends_at > now).ok_or_else(refused)?;
    let user = bearer.user;
    let needs_factor = user.second_factor_required && !user.second_factor;
    if needs_factor && !path.starts_with(OWN_ACCOUNT) && !matches!(credential, Credential::Key(_)) {
        let detail = "your organisation asks for a second factor: set one up with POST /api/auth/second-factor";
        return Err(Failure::forbidden(detail));
    }
    let span = tracing::Span::current();
    span.record("tenant.id", user.tenant_id.as_str()).record("user.id", user.key.0);
    if bearer.noted_at.is_none_or(|noted| now.since(noted) >= NOTE_USE_EVERY) {
        note_use(Arc::clone(services), credential.clone(), address.clone());
    }
    Ok(Session { user, credential, actor: bearer.actor, address, ends_at })
}

/// Notes a use without making the request wait; a lost note costs nobody anything.
fn note_use(services: Arc<Services>, credential: Credential, address: String) {
    tokio::spawn(async move {
        if let Err(error) = services.store.note_use(credential, address, clock::now()).await {
            tracing::warn!(%error, "noting the use of a session or key");
        }
    });
}

async fn check(request: &Request, bearer: Bearer) -> poem::Result<Session> {
    let services = request.data::<Arc<Services>>().ok_or_else(Failure::internal)?;
    Ok(called_by(services, &bearer.token, address(request, services), request.original_uri().path()).await?)
}
