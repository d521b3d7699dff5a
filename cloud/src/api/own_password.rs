//! One's own password: changing it, and setting a new one by mail.

use std::sync::Arc;

use aivms_cloud_core::{account, letters};
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::failure::Failure;
use super::passwords::NewPerson;
use super::sign_in::{self, SignedInAnswer};
use super::signed_in::SignedIn;
use super::values::Body;
use super::{Services, Tags, Tried, address, secrets};
use crate::clock;
use crate::store::{RESET_LIFE, User, UserRole};

pub(super) struct PasswordApi(pub Arc<Services>);

/// A change of password.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct PasswordChangeRequest {
    /// The password until now.
    #[oai(validator(max_length = 256))]
    current_password: String,
    /// At least 12 characters, not easy to guess.
    #[oai(validator(min_length = 12, max_length = 256))]
    password: String,
}

/// Whose password is to be reset.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct ResetWish {
    /// Address to sign in with.
    #[oai(validator(max_length = 254))]
    email: String,
}

/// A new password by mail.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct ResetRequest {
    /// What the mail brought.
    #[oai(validator(max_length = 100))]
    token: String,
    /// At least 12 characters, not easy to guess.
    #[oai(validator(min_length = 12, max_length = 256))]
    password: String,
}

#[derive(ApiResponse)]
enum Asked {
    /// If there is a person with this address, a mail is on its way.
    #[oai(status = 202)]
    Accepted,
}

#[derive(ApiResponse)]
enum Reset {
    /// The password is set; sign in with it.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/auth/password", tag = "Tags::Accounts")]
impl PasswordApi {
    /// Change one's password
    ///
    /// All sessions end; the answer begins a new one for who asks.
    #[oai(path = "/", method = "post", operation_id = "change_password")]
    async fn change(
        &self,
        request: &Request,
        signed_in: SignedIn,
        body: Body<PasswordChangeRequest>,
    ) -> Result<Json<SignedInAnswer>, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        let (services, user) = (&self.0, signed_in.user());
        check_current(services, &user, body.0.current_password, "current_password").await?;
        let password_hash = hashed(services, &user, body.0.password).await?;
        let (refresh_token, sign_in) = sign_in::new_sign_in(services, "password", request)?;
        let (user, session) = services.store.change_password(by, password_hash, sign_in, clock::now()).await?;
        Ok(Json(sign_in::answer(services, &user, &session, refresh_token)?))
    }

    /// Ask for a mail to reset a password
    ///
    /// The answer is the same whether or not there is a person with this address.
    #[oai(path = "/reset-request", method = "post", operation_id = "request_password_reset")]
    async fn ask(&self, request: &Request, body: Body<ResetWish>) -> Result<Asked, Failure> {
        let services = &self.0;
        if body.0.email.chars().count() > 254 {
            return Err(Failure::unacceptable("email", "may have at most 254 characters"));
        }
        let (email, from) = (account::normalized_email(&body.0.email).unwrap_or_default(), address(request, services));
        if !services.brakes.reset(&email, &from).await? {
            return Ok(Asked::Accepted);
        }
        let token = secrets::random_text()?;
        let mail = letters::password_reset(services.public_url(), &token, RESET_LIFE.as_secs() / 60);
        services.store.ask_for_reset(email, secrets::hash(&token), mail, from, clock::now()).await?;
        Ok(Asked::Accepted)
    }

    /// Reset a password
    ///
    /// With the token of the mail, which is good once. All sessions of the person end; a second factor stays.
    #[oai(path = "/reset", method = "post", operation_id = "reset_password")]
    async fn reset(&self, request: &Request, body: Body<ResetRequest>) -> Result<Reset, Failure> {
        let services = &self.0;
        let from = address(request, services);
        let counted = services.brakes.token(&from).await?;
        let gone = || Failure::unacceptable("token", "is not good, was used or has ended");
        let token_hash = secrets::hash(&body.0.token);
        let user = services.store.resetting(token_hash, clock::now()).await?.ok_or_else(gone)?;
        services.brakes.honest(counted).await?;
        let password_hash = hashed(services, &user, body.0.password).await?;
        let reset = services.store.reset_password(token_hash, password_hash, from, clock::now()).await?;
        if reset { Ok(Reset::Done) } else { Err(gone()) }
    }
}

/// Asks a signed-in person for the password again; `field` names it in the answer.
pub(super) async fn check_current(services: &Services, user: &User, password: String, field: &str) -> Tried<()> {
    let counted = services.brakes.password(user.key).await?;
    if !services.passwords.verify(password, Some(user.password_hash.clone())).await? {
        return Err(Failure::unacceptable(field, "is wrong"));
    }
    services.brakes.honest(counted).await
}

/// The hash of a new password that keeps the rules.
async fn hashed(services: &Services, user: &User, password: String) -> Tried<String> {
    let User { email, name, tenant_name, .. } = user.clone();
    services.passwords.check(password.clone(), NewPerson { email, name, tenant_name }).await?;
    Ok(services.passwords.hash(password).await?)
}

impl poem_openapi::types::Example for PasswordChangeRequest {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery staple".into(),
            password: "seven crooked lanterns over water".into(),
        }
    }
}

impl poem_openapi::types::Example for ResetWish {
    fn example() -> Self {
        Self { email: "owner@example.com".into() }
    }
}

impl poem_openapi::types::Example for ResetRequest {
    fn example() -> Self {
        Self {
            token: "3q2-7wEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJo".into(),
            password: "seven crooked lanterns over water".into(),
        }
    }
}
