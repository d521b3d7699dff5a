//! What every way of signing in shares: the answer, the second factor, the first tokens of a session.

use aivms_cloud_core::people::UserId;
use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::second_factor::{Authenticator, SECRET_BYTES, typed_recovery_code};
use aivms_contract::id::{CameraId, EdgeId, TenantId};
use poem::Request;
use poem::http::header::USER_AGENT;
use poem_openapi::{Enum, Object};
use serde::Deserialize;

use super::failure::Failure;
use super::values::{Text, Time, time};
use super::{Services, Tried, address, secrets, user_token};
use crate::clock;
use crate::store::{Proof, SignIn, User, UserRole};

/// Most characters kept of what a client says it is.
const MAX_AGENT_CHARS: usize = 200;

/// Tokens and the person they speak for.
#[derive(Debug, Object)]
pub(super) struct SignedInAnswer {
    /// Send it as `Authorization: Bearer <token>`; good for one hour.
    token: String,
    /// Exchange it with `POST /api/auth/refresh` for the next two tokens; good once, for 30 days.
    refresh_token: String,
    /// The person.
    user: UserAnswer,
}

/// What stands between the password, or the provider, and the token.
#[derive(Debug, Object)]
pub(super) struct Challenge {
    /// Send it with a code to `POST /api/auth/login/second-factor`.
    challenge: String,
    /// When it ends.
    expires_at: Text<Time>,
}

/// A person.
#[derive(Debug, Object)]
#[oai(rename = "User")]
pub(super) struct UserAnswer {
    /// The person.
    user_id: Text<UserId>,
    /// Address to sign in with.
    email: String,
    /// Name.
    name: String,
    /// What the person may do.
    role: Role,
    /// Whether the person sees every camera.
    all_cameras: bool,
    /// The cameras the person sees, when not all.
    cameras: Vec<CameraRef>,
    /// Whether the person has a second factor.
    second_factor: bool,
    /// Whether the organisation asks everybody for a second factor. Who has none can do nothing but set one up.
    second_factor_required: bool,
    /// Identifier of the organisation.
    tenant_id: Text<TenantId>,
    /// Name of the organisation.
    tenant_name: String,
}

/// A camera, named with its edge.
#[derive(Debug, Clone, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraRef {
    /// The edge.
    pub edge_id: Text<EdgeId>,
    /// The camera on it.
    pub camera_id: Text<CameraId>,
}

/// What a person may do; each role includes those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Everything.
    Owner,
    /// Manage people, edges and operators.
    Admin,
    /// Act on alerts and edges.
    Operator,
    /// Look.
    Viewer,
}

/// Begins a session of `user` and makes its first tokens.
pub(super) async fn begin(
    services: &Services,
    user: &User,
    method: &'static str,
    request: &Request,
) -> Tried<SignedInAnswer> {
    let (refresh_token, sign_in) = new_sign_in(services, method, request)?;
    let session = services.store.sign_in(user.key, sign_in, clock::now()).await?;
    answer(services, user, &session, refresh_token)
}

/// A sign-in for the store, and the refresh token that belongs to it.
pub(super) fn new_sign_in(services: &Services, method: &'static str, request: &Request) -> Tried<(String, SignIn)> {
    let refresh_token = secrets::random_text()?;
    let refresh_hash = secrets::hash(&refresh_token);
    let sign_in = SignIn { method, address: address(request, services), agent: agent(request), refresh_hash };
    Ok((refresh_token, sign_in))
}

/// The answer with the tokens of a session.
pub(super) fn answer(
    services: &Services,
    user: &User,
    session: &aivms_cloud_core::people::SessionId,
    refresh_token: String,
) -> Tried<SignedInAnswer> {
    let token = services.tokens.sign(user, session, clock::now())?;
    Ok(SignedInAnswer { token, refresh_token, user: UserAnswer::from(user) })
}

/// Whether `code` is one of the authenticator app or a recovery code of `user`; uses it up.
pub(super) async fn check_code(services: &Services, user: &User, code: &str) -> Tried<bool> {
    let counted = services.brakes.code(user.key).await?;
    let factor = services.store.second_factor(user.key).await?.filter(|factor| factor.confirmed);
    let Some(factor) = factor else { return Ok(false) };
    let proof = match typed_recovery_code(code) {
        Some(code) => Proof::Recovery(secrets::hash(&code)),
        None => {
            let step = authenticator(services, user, &factor.sealed)?.check(code, clock::now(), factor.last_step);
            let Some(step) = step else { return Ok(false) };
            Proof::Step(step)
        }
    };
    let good = services.store.use_second_factor(user.key, proof, clock::now()).await?;
    if good {
        services.brakes.honest(counted).await?;
    }
    Ok(good)
}

/// The codes that follow from a sealed secret.
pub(super) fn authenticator(services: &Services, user: &User, sealed: &[u8]) -> Tried<Authenticator> {
    let opened = services.sealer.open(sealed).and_then(|secret| <[u8; SECRET_BYTES]>::try_from(secret).ok());
    let Some(secret) = opened else {
        tracing::error!(user.id = %user.user_id, "a second factor was sealed with a secret that is gone: reset it");
        return Err(Failure::internal());
    };
    Authenticator::new(secret, &user.email).map_err(|error| {
        tracing::error!(%error, "a second factor");
        Failure::internal()
    })
}

/// What the client says it is, for the list of sessions.
fn agent(request: &Request) -> String {
    let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect()
}

/// A scope as answers show it: whether it is all, and which otherwise.
pub(super) fn shown_cameras(scope: &CameraScope) -> (bool, Vec<CameraRef>) {
    match scope {
        CameraScope::All => (true, Vec::new()),
        CameraScope::Only(cameras) => {
            let shown = cameras
                .iter()
                .map(|(edge, camera)| CameraRef { edge_id: Text(edge.clone()), camera_id: Text(camera.clone()) });
            (false, shown.collect())
        }
    }
}

/// A scope as bodies name it: all cameras, some, or nothing said.
pub(super) fn named_cameras(all: Option<bool>, cameras: Option<Vec<CameraRef>>) -> Tried<Option<CameraScope>> {
    match (all, cameras) {
        (None, None) => Ok(None),
        (Some(true), None) => Ok(Some(CameraScope::All)),
        (None | Some(false), Some(cameras)) => {
            let pairs = cameras.into_iter().map(|camera| (camera.edge_id.0, camera.camera_id.0));
            Ok(Some(CameraScope::Only(pairs.collect())))
        }
        (Some(true), Some(_)) => Err(Failure::unacceptable("cameras", "must be absent when all_cameras is true")),
        (Some(false), None) => Err(Failure::unacceptable("cameras", "must be given when all_cameras is false")),
    }
}

impl Challenge {
    /// For one who has signed in but for the second factor, through the provider `issuer` or by password.
    pub(super) fn of(services: &Services, user: &User, issuer: Option<String>) -> Tried<Self> {
        let now = clock::now();
        let challenge = services.tokens.challenge(user, issuer, now)?;
        Ok(Self { challenge, expires_at: time(now + user_token::CHALLENGE_LIFE) })
    }
}

impl From<UserRole> for Role {
    fn from(role: UserRole) -> Self {
        match role {
            UserRole::Owner => Self::Owner,
            UserRole::Admin => Self::Admin,
            UserRole::Operator => Self::Operator,
            UserRole::Viewer => Self::Viewer,
        }
    }
}

impl From<Role> for UserRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Operator => Self::Operator,
            Role::Viewer => Self::Viewer,
        }
    }
}

impl From<&User> for UserAnswer {
    fn from(user: &User) -> Self {
        let (all_cameras, cameras) = shown_cameras(&user.cameras);
        Self {
            user_id: Text(user.user_id.clone()),
            email: user.email.clone(),
            name: user.name.clone(),
            role: user.role.into(),
            all_cameras,
            cameras,
            second_factor: user.second_factor,
            second_factor_required: user.second_factor_required,
            tenant_id: Text(user.tenant_id.clone()),
            tenant_name: user.tenant_name.clone(),
        }
    }
}
