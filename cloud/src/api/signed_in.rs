//! Who is asking: a person by a token of ours.

use std::sync::Arc;

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::time::UtcMillis;
use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use super::Services;
use super::failure::Failure;
use crate::clock;
use crate::store::{StoreError, User, UserRole};

/// RFC 6750: the token is there and not good.
pub(super) const INVALID_TOKEN: &str = "Bearer error=\"invalid_token\"";

/// A signed-in person. The token comes from `POST /api/auth/login` or `POST /api/auth/register`.
#[derive(SecurityScheme)]
#[oai(rename = "UserToken", ty = "bearer", bearer_format = "JWT", checker = "check")]
pub(super) struct SignedIn(pub Session);

/// A person, what it may see, and how long the token is good.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub user: User,
    /// The cameras the person may see.
    pub cameras: CameraScope,
    pub ends_at: UtcMillis,
}

impl SignedIn {
    /// The person, if the role includes `least`.
    pub(super) fn with_role(self, least: UserRole) -> Result<User, Failure> {
        let Session { user, .. } = self.0;
        if rank(user.role) <= rank(least) {
            return Ok(user);
        }
        let detail = format!("your role is {}, this needs {} or above", user.role.as_str(), least.as_str());
        Err(Failure::forbidden(detail))
    }

    /// The person, with any role.
    pub(super) fn user(self) -> User {
        self.0.user
    }

    /// The cameras the person may see.
    pub(super) fn cameras(&self) -> &CameraScope {
        &self.0.cameras
    }

    /// Refuses a camera that the person may not see, in the words for one that does not exist.
    pub(super) fn must_see(&self, edge: &EdgeId, camera: &CameraId) -> Result<(), Failure> {
        if self.cameras().sees(edge, camera) { Ok(()) } else { Err(StoreError::NotFound.into()) }
    }
}

/// Finds the person a token speaks for. Each call looks at the user's row, so a withdrawn token ends at once.
pub(super) async fn session_of(services: &Services, token: &str) -> Result<Session, Failure> {
    let refused = || Failure::unauthorized("the token is not valid or has ended; sign in again", INVALID_TOKEN);
    let claimed = services.tokens.read(token).ok_or_else(refused)?;
    let user = services.store.user(claimed.user).await?.ok_or_else(refused)?;
    if user.token_generation != claimed.generation || claimed.ends_at <= clock::now() {
        return Err(refused());
    }
    let span = tracing::Span::current();
    span.record("tenant.id", user.tenant_id.as_str()).record("user.id", user.key.0);
    Ok(Session { user, cameras: CameraScope::All, ends_at: claimed.ends_at })
}

async fn check(request: &Request, bearer: Bearer) -> poem::Result<Session> {
    let services = request.data::<Arc<Services>>().ok_or_else(Failure::internal)?;
    Ok(session_of(services, &bearer.token).await?)
}

fn rank(role: UserRole) -> u8 {
    match role {
        UserRole::Owner => 0,
        UserRole::Admin => 1,
        UserRole::Operator => 2,
        UserRole::Viewer => 3,
    }
}
