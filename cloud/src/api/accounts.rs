//! Registration, signing in, and who one is.

use std::sync::Arc;

use aivms_cloud_core::account::{self, AccountError};
use aivms_cloud_core::audit::{Action, Actor};
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::brakes::QUARTER;
use super::failure::Failure;
use super::idempotency::{Asking, KeyHeader, Made};
use super::passwords::NewPerson;
use super::sign_in::{self, Challenge, SignedInAnswer, UserAnswer};
use super::signed_in::SignedIn;
use super::values::Body;
use super::{Services, Tags, Tried, address};
use crate::clock;
use crate::store::{BY_PASSWORD, NewAudit, NewTenant, SignIn, Store, THROUGH_PROVIDER, User};

pub(super) struct AccountsApi(pub Arc<Services>);

/// A tenant and its first user.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct RegisterRequest {
    /// Name of the organisation; its identifier in topics is made from it and must be free.
    #[oai(validator(min_length = 2, max_length = 100))]
    tenant_name: String,
    /// Address to sign in with.
    #[oai(validator(min_length = 3, max_length = 254, pattern = "^[^\\s@]+@[^\\s@]+[.][^\\s@]+$"))]
    email: String,
    /// At least 12 characters, not easy to guess.
    #[oai(validator(min_length = 12, max_length = 256))]
    password: String,
    /// Your name.
    #[oai(validator(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    ))]
    name: String,
}

/// Address and password.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct LoginRequest {
    /// The address, in any case.
    #[oai(validator(max_length = 254))]
    email: String,
    /// The password.
    #[oai(validator(max_length = 256))]
    password: String,
}

/// The second half of a sign-in.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct SecondFactorRequest {
    /// What `POST /api/auth/login` or `POST /api/auth/provider/exchange` gave.
    #[oai(validator(max_length = 2048))]
    challenge: String,
    /// Six digits of the authenticator app, or a recovery code.
    #[oai(validator(min_length = 6, max_length = 32))]
    code: String,
}

#[derive(ApiResponse)]
enum Registered {
    /// The tenant and its owner exist, and the owner is signed in.
    #[oai(status = 201)]
    Created(Json<SignedInAnswer>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum LoggedIn {
    /// Signed in.
    #[oai(status = 200)]
    Done(Json<SignedInAnswer>),
    /// The password is right, and the person has a second factor: send a code with the challenge.
    #[oai(status = 202)]
    SecondFactor(Json<Challenge>),
}

#[OpenApi(prefix_path = "/api/auth", tag = "Tags::Accounts")]
impl AccountsApi {
    /// Register a tenant
    ///
    /// Makes a tenant and its owner and signs the owner in.
    #[oai(path = "/register", method = "post", operation_id = "register")]
    async fn register(
        &self,
        request: &Request,
        body: Body<RegisterRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Registered, Failure> {
        let services = Arc::clone(&self.0);
        let tenant = new_tenant(&body.0)?;
        let NewTenant { email, name, tenant_name, .. } = tenant.clone();
        let from = address(request, &services);
        let asking = Asking::stranger(format!("registration {email}"), from.clone());
        services.passwords.check(body.0.password.clone(), NewPerson { email, name, tenant_name }).await?;
        let _counted = services.brakes.register(&from).await?;
        let sign_in = sign_in::new_sign_in(&services, BY_PASSWORD, request)?;
        let password = body.0.password.clone();
        let work = |store| register(services, store, tenant, password, sign_in);
        let Made { body, location } = self.0.once(&asking, "register", key, &body.0, work).await?;
        Ok(Registered::Created(Json(body), location))
    }

    /// Sign in
    ///
    /// After several wrong passwords for one account or from one address, further tries are refused for a while. Who
    /// has a second factor gets a challenge instead of a token.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(&self, request: &Request, body: Body<LoginRequest>) -> Result<LoggedIn, Failure> {
        let services = &self.0;
        let email = account::normalized_email(&body.0.email).unwrap_or_default();
        let from = address(request, services);
        let counted = match services.brakes.login(&email, &from).await {
            Ok(counted) => counted,
            Err(refused) => {
                self.tell_of_lock_out(email, from);
                return Err(refused);
            }
        };
        let user = self.by_password(&email, body.0.password, from).await?;
        services.brakes.honest(counted).await?;
        if user.second_factor {
            return Ok(LoggedIn::SecondFactor(Json(Challenge::of(services, &user, None)?)));
        }
        Ok(LoggedIn::Done(Json(sign_in::begin(services, &user, BY_PASSWORD, request).await?)))
    }

    /// Sign in with a second factor
    ///
    /// Each code is good once. A recovery code stands in for an app that was lost.
    #[oai(path = "/login/second-factor", method = "post", operation_id = "login_second_factor")]
    async fn second_factor(
        &self,
        request: &Request,
        body: Body<SecondFactorRequest>,
    ) -> Result<Json<SignedInAnswer>, Failure> {
        let services = &self.0;
        let refused = || Failure::unauthorized("challenge: is not good or has ended; sign in again", "Bearer");
        let challenged = services.tokens.read_challenge(&body.0.challenge).ok_or_else(refused)?;
        let user = services.store.user(challenged.user).await?;
        let user = user.filter(|user| user.token_generation == challenged.generation).ok_or_else(refused)?;
        let method = if challenged.issuer.is_some() { THROUGH_PROVIDER } else { BY_PASSWORD };
        if let Some(issuer) = challenged.issuer {
            let provider = services.store.provider(user.tenant).await?;
            provider.filter(|provider| provider.issuer == issuer).ok_or_else(refused)?;
        }
        if !sign_in::check_code(services, &user, &body.0.code).await? {
            return Err(Failure::unauthorized("code: is wrong, or was used", "Bearer"));
        }
        Ok(Json(sign_in::begin(services, &user, method, request).await?))
    }

    /// Who am I
    #[oai(path = "/me", method = "get", operation_id = "me")]
    async fn me(&self, signed_in: SignedIn) -> Result<Json<UserAnswer>, Failure> {
        Ok(Json(UserAnswer::from(&signed_in.user())))
    }
}

impl AccountsApi {
    /// The user with this address and password. Takes as long for one who does not exist.
    async fn by_password(&self, email: &str, password: String, from: String) -> Tried<User> {
        let services = &self.0;
        let user = services.store.user_by_email(email).await?.filter(|user| !user.disabled);
        let too_long = password.chars().count() > account::MAX_PASSWORD_CHARS;
        let password = if too_long { String::new() } else { password };
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let right = services.passwords.verify(password, stored).await?;
        match user {
            Some(user) if right => Ok(user),
            user => {
                self.tell_of_failure(user, from);
                Err(Failure::unauthorized("e-mail address or password is wrong", "Bearer"))
            }
        }
    }

    /// Tells the audit log of a wrong password, after the answer: the time that takes would say whether there is such
    /// an account.
    fn tell_of_failure(&self, user: Option<User>, from: String) {
        let Some(user) = user else { return };
        let store = Arc::clone(&self.0.store);
        tokio::spawn(async move {
            if let Err(error) = store.audit(failed(Action::UserSignInFailed, &user, from)).await {
                tracing::warn!(%error, "a failed sign-in can't be written to the audit log");
            }
        });
    }

    /// Tells the audit log that tries to sign in as a person are refused, once in a while and after the answer.
    fn tell_of_lock_out(&self, email: String, from: String) {
        let store = Arc::clone(&self.0.store);
        tokio::spawn(async move {
            let told = match store.user_by_email(&email).await {
                Ok(None) => Ok(()),
                Ok(Some(user)) => store.audit_views(vec![failed(Action::UserLockedOut, &user, from)], QUARTER).await,
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::warn!(%error, "a lock-out can't be written to the audit log");
            }
        });
    }
}

fn failed(action: Action, user: &User, from: String) -> NewAudit {
    NewAudit {
        tenant: user.tenant,
        actor: Actor::from(user),
        address: Some(from),
        action,
        subject: Some(user.email.clone()),
        detail: serde_json::Value::Null,
        at: clock::now(),
    }
}

async fn register(
    services: Arc<Services>,
    store: Store,
    tenant: NewTenant,
    password: String,
    (refresh_token, sign_in): (String, SignIn),
) -> Result<Made<SignedInAnswer>, Failure> {
    let password_hash = services.passwords.hash(password).await?;
    let tenant = NewTenant { password_hash, ..tenant };
    let user = store.register_tenant(tenant, clock::now()).await?;
    tracing::info!(tenant.id = %user.tenant_id, "tenant registered");
    let session = store.sign_in(user.key, sign_in, clock::now()).await?;
    let body = sign_in::answer(&services, &user, &session, refresh_token)?;
    Ok(Made { body, location: "/api/auth/me".into() })
}

/// Checks a registration but for the password, which is not hashed yet either.
fn new_tenant(request: &RegisterRequest) -> Result<NewTenant, Failure> {
    let wrong = |field: &'static str| move |error: AccountError| Failure::unacceptable(field, error);
    let tenant_name = account::display_name(&request.tenant_name).map_err(wrong("tenant_name"))?;
    let tenant_id = account::tenant_slug(&tenant_name).map_err(wrong("tenant_name"))?;
    let email = account::normalized_email(&request.email).map_err(wrong("email"))?;
    let name = account::display_name(&request.name).map_err(wrong("name"))?;
    Ok(NewTenant { tenant_id, tenant_name, email, name, password_hash: String::new() })
}

impl poem_openapi::types::Example for RegisterRequest {
    fn example() -> Self {
        Self {
            tenant_name: "Acme Corp".into(),
            email: "owner@example.com".into(),
            password: "correct horse battery staple".into(),
            name: "Jane Miller".into(),
        }
    }
}

impl poem_openapi::types::Example for LoginRequest {
    fn example() -> Self {
        Self { email: "owner@example.com".into(), password: "correct horse battery staple".into() }
    }
}

impl poem_openapi::types::Example for SecondFactorRequest {
    fn example() -> Self {
        Self { challenge: "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl".into(), code: "287082".into() }
    }
}
