//! Registration, signing in, and who one is.

use std::sync::Arc;

use aivms_cloud_core::account::{self, AccountError};
use aivms_contract::id::TenantId;
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;

use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Body, Text};
use super::{Services, Tags, address};
use crate::clock;
use crate::store::{NewTenant, User, UserRole};

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

/// A token and the person it speaks for.
#[derive(Debug, Object)]
struct SignedInAnswer {
    /// Send it as `Authorization: Bearer <token>`; good for one hour.
    token: String,
    /// The person.
    user: UserAnswer,
}

/// A person.
#[derive(Debug, Object)]
#[oai(rename = "User")]
struct UserAnswer {
    /// Address to sign in with.
    email: String,
    /// Name.
    name: String,
    /// What the person may do.
    role: Role,
    /// Identifier of the organisation.
    tenant_id: Text<TenantId>,
    /// Name of the organisation.
    tenant_name: String,
}

/// What a person may do; each role includes those after it.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum Role {
    /// Everything.
    Owner,
    /// Manage edges and operators.
    Admin,
    /// Act on alerts and edges.
    Operator,
    /// Look.
    Viewer,
}

#[derive(ApiResponse)]
enum Registered {
    /// The tenant and its owner exist, and the owner is signed in.
    #[oai(status = 201)]
    Created(Json<SignedInAnswer>, #[oai(header = "Location")] String),
}

#[OpenApi(prefix_path = "/api/auth", tag = "Tags::Accounts")]
impl AccountsApi {
    /// Register a tenant
    ///
    /// Makes a tenant and its owner and signs the owner in.
    #[oai(path = "/register", method = "post", operation_id = "register")]
    async fn register(&self, request: &Request, body: Body<RegisterRequest>) -> Result<Registered, Failure> {
        let tenant = new_tenant(&body.0)?;
        let services = &self.0;
        services
            .brakes
            .register(&address(request, services))
            .map_err(|wait| Failure::too_many("too many registrations from this address", wait))?;
        let password_hash = services.passwords.hash(body.0.password).await.map_err(|error| {
            tracing::error!(%error, "registration");
            Failure::internal()
        })?;
        let tenant = NewTenant { password_hash, ..tenant };
        let user = services.store.register_tenant(tenant, clock::now()).await?;
        tracing::info!(tenant.id = %user.tenant_id, "tenant registered");
        Ok(Registered::Created(Json(self.sign_in(&user)?), "/api/auth/me".into()))
    }

    /// Sign in
    ///
    /// After several wrong passwords for one account or from one address, further tries are refused for a while.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(&self, request: &Request, body: Body<LoginRequest>) -> Result<Json<SignedInAnswer>, Failure> {
        let LoginRequest { email, password } = body.0;
        let services = &self.0;
        let email = account::normalized_email(&email).unwrap_or_default();
        let from = address(request, services);
        services
            .brakes
            .login(&email, &from)
            .map_err(|wait| Failure::too_many("too many wrong passwords; wait a little", wait))?;
        let user = if email.is_empty() { None } else { services.store.user_by_email(&email).await? };
        let too_long = password.chars().count() > account::MAX_PASSWORD_CHARS;
        let password = if too_long { String::new() } else { password };
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let right = services.passwords.verify(password, stored).await.map_err(|error| {
            tracing::error!(%error, "sign-in");
            Failure::internal()
        })?;
        let Some(user) = user.filter(|_| right) else {
            return Err(Failure::unauthorized("e-mail address or password is wrong", "Bearer"));
        };
        services.brakes.login_succeeded(&email, &from);
        Ok(Json(self.sign_in(&user)?))
    }

    /// Who am I
    #[oai(path = "/me", method = "get", operation_id = "me")]
    async fn me(&self, signed_in: SignedIn) -> Result<Json<UserAnswer>, Failure> {
        Ok(Json(UserAnswer::from(&signed_in.user())))
    }
}

/// Checks a registration; the password is not hashed yet.
fn new_tenant(request: &RegisterRequest) -> Result<NewTenant, Failure> {
    let wrong = |field: &'static str| move |error: AccountError| Failure::unacceptable(field, error);
    let tenant_name = account::display_name(&request.tenant_name).map_err(wrong("tenant_name"))?;
    let tenant_id = account::tenant_slug(&tenant_name).map_err(wrong("tenant_name"))?;
    let email = account::normalized_email(&request.email).map_err(wrong("email"))?;
    let name = account::display_name(&request.name).map_err(wrong("name"))?;
    account::check_password(&request.password, &email, &tenant_name).map_err(wrong("password"))?;
    Ok(NewTenant { tenant_id, tenant_name, email, name, password_hash: String::new() })
}

impl AccountsApi {
    fn sign_in(&self, user: &User) -> Result<SignedInAnswer, Failure> {
        let token = self.0.tokens.sign(user, clock::now()).map_err(|error| {
            tracing::error!(%error, "signing a token");
            Failure::internal()
        })?;
        Ok(SignedInAnswer { token, user: UserAnswer::from(user) })
    }
}

impl From<&User> for UserAnswer {
    fn from(user: &User) -> Self {
        Self {
            email: user.email.clone(),
            name: user.name.clone(),
            role: match user.role {
                UserRole::Owner => Role::Owner,
                UserRole::Admin => Role::Admin,
                UserRole::Operator => Role::Operator,
                UserRole::Viewer => Role::Viewer,
            },
            tenant_id: Text(user.tenant_id.clone()),
            tenant_name: user.tenant_name.clone(),
        }
    }
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
