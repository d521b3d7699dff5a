//! One's own sessions: keeping one alive, seeing all, ending them.

use std::sync::Arc;

use aivms_cloud_core::people::SessionId;
use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::failure::Failure;
use super::sign_in::{self, SignedInAnswer};
use super::signed_in::{INVALID_TOKEN, SignedIn};
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, address, secrets};
use crate::clock;
use crate::store::{Credential, Refreshed, SessionRow, UserRole};

pub(super) struct SessionsApi(pub Arc<Services>);

/// A refresh token.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct RefreshRequest {
    /// The newest one of the session.
    #[oai(validator(max_length = 100))]
    refresh_token: String,
}

/// A session: a sign-in and what followed from it.
#[derive(Debug, Object)]
#[oai(rename = "Session")]
struct SessionAnswer {
    /// The session.
    session_id: Text<SessionId>,
    /// Whether it is the one that asks.
    current: bool,
    /// How it began: `password`, `invitation` or `provider`.
    method: String,
    /// Network address it was last used from.
    address: String,
    /// What the client said it is.
    agent: String,
    /// When it began.
    created_at: Text<Time>,
    /// When it was last used, to ten minutes.
    last_used_at: Text<Time>,
    /// When it ends if it is not refreshed.
    expires_at: Text<Time>,
}

/// One's sessions.
#[derive(Debug, Object)]
struct SessionList {
    /// By the time of signing in.
    items: Vec<SessionAnswer>,
}

#[derive(ApiResponse)]
enum Ended {
    /// It is over, with all its tokens.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/auth", tag = "Tags::Accounts")]
impl SessionsApi {
    /// Exchange a refresh token
    ///
    /// Gives the next token and the next refresh token; the one sent is spent. A spent one that comes again was copied
    /// by somebody, and ends the session.
    #[oai(path = "/refresh", method = "post", operation_id = "refresh_token")]
    async fn refresh(&self, request: &Request, body: Body<RefreshRequest>) -> Result<Json<SignedInAnswer>, Failure> {
        let services = &self.0;
        let from = address(request, services);
        let counted = services.brakes.token(&from).await?;
        let next = secrets::random_text()?;
        let (old, new) = (secrets::hash(&body.0.refresh_token), secrets::hash(&next));
        match services.store.refresh(old, new, from, clock::now()).await? {
            Refreshed::Done(user, session) => {
                services.brakes.honest(counted).await?;
                Ok(Json(sign_in::answer(services, &user, &session, next)?))
            }
            Refreshed::Refused => Err(refused()),
            Refreshed::Reused(user) => {
                tracing::warn!(user = ?user, "a refresh token came twice; its session was ended");
                Err(refused())
            }
        }
    }

    /// Sign out
    ///
    /// Ends the session that asks, with its tokens.
    #[oai(path = "/logout", method = "post", operation_id = "logout")]
    async fn logout(&self, signed_in: SignedIn) -> Result<Ended, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        if let Credential::Session { session, .. } = signed_in.0.credential {
            self.0.store.end_session(by, session, clock::now()).await?;
        }
        Ok(Ended::Done)
    }

    /// Sign out everywhere
    ///
    /// Ends all sessions and tokens of the person who asks. API keys stay.
    #[oai(path = "/logout-everywhere", method = "post", operation_id = "logout_everywhere")]
    async fn logout_everywhere(&self, signed_in: SignedIn) -> Result<Ended, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        self.0.store.end_all_sessions(by, clock::now()).await?;
        Ok(Ended::Done)
    }

    /// List one's sessions
    #[oai(path = "/sessions", method = "get", operation_id = "list_sessions")]
    async fn list(&self, signed_in: SignedIn) -> Result<Json<SessionList>, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        let current = match signed_in.0.credential {
            Credential::Session { session, .. } => Some(session),
            Credential::Key(_) => None,
        };
        let sessions = self.0.store.list_sessions(by.key, clock::now()).await?;
        let items = sessions.into_iter().map(|session| answer(session, current.as_ref())).collect();
        Ok(Json(SessionList { items }))
    }

    /// End one of one's sessions
    #[oai(path = "/sessions/:session_id", method = "delete", operation_id = "end_session")]
    async fn end(&self, signed_in: SignedIn, session_id: Path<Text<SessionId>>) -> Result<Ended, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        self.0.store.end_session(by, session_id.0.0, clock::now()).await?;
        Ok(Ended::Done)
    }
}

/// One text for tokens that never were, were used, or whose session is over: it tells nobody which.
fn refused() -> Failure {
    Failure::unauthorized(
        "refresh_token: is not good, was used, or its session has ended; sign in again",
        INVALID_TOKEN,
    )
}

fn answer(session: SessionRow, current: Option<&SessionId>) -> SessionAnswer {
    SessionAnswer {
        current: current == Some(&session.session_id),
        session_id: Text(session.session_id),
        method: session.method,
        address: session.address,
        agent: session.agent,
        created_at: time(session.created_at),
        last_used_at: time(session.last_used_at),
        expires_at: time(session.ends_at),
    }
}

impl poem_openapi::types::Example for RefreshRequest {
    fn example() -> Self {
        Self { refresh_token: "3q2-7wEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJo".into() }
    }
}
