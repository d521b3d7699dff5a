//! One's own second factor.

use std::sync::Arc;

use aivms_cloud_core::second_factor::{self, RECOVERY_CODES, SECRET_BYTES, SecondFactorError};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::failure::Failure;
use super::own_password::check_current;
use super::sign_in::{authenticator, check_code};
use super::signed_in::SignedIn;
use super::values::Body;
use super::{Services, Tags, Tried, secrets};
use crate::clock;
use crate::store::{User, UserRole};

pub(super) struct SecondFactorApi(pub Arc<Services>);

/// Whether one has a second factor.
#[derive(Debug, Object)]
struct SecondFactorState {
    /// Whether codes are asked for at signing in.
    enabled: bool,
    /// Recovery codes that were not used yet.
    recovery_codes_left: u32,
}

/// The password again.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct PasswordAgain {
    /// Your password.
    #[oai(validator(max_length = 256))]
    password: String,
}

/// The password and a code.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct PasswordAndCode {
    /// Your password.
    #[oai(validator(max_length = 256))]
    password: String,
    /// Six digits of the authenticator app, or a recovery code.
    #[oai(validator(min_length = 6, max_length = 32))]
    code: String,
}

/// A first code.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct FirstCode {
    /// Six digits of the authenticator app.
    #[oai(validator(min_length = 6, max_length = 32))]
    code: String,
}

/// What an authenticator app needs.
#[derive(Debug, Object)]
struct Enrolment {
    /// To be shown as a QR code.
    otpauth_uri: String,
    /// The same secret for typing it in, in base 32.
    secret: String,
}

/// Recovery codes, shown only here.
#[derive(Debug, Object)]
struct RecoveryCodes {
    /// Each is good once, in place of a code of the app. Keep them where the phone is not.
    recovery_codes: Vec<String>,
}

#[derive(ApiResponse)]
enum Removed {
    /// No code is asked for any more.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/auth/second-factor", tag = "Tags::Accounts")]
impl SecondFactorApi {
    /// Show one's second factor
    #[oai(path = "/", method = "get", operation_id = "show_second_factor")]
    async fn show(&self, signed_in: SignedIn) -> Result<Json<SecondFactorState>, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        let left = self.0.store.recovery_codes_left(by.key).await?;
        Ok(Json(SecondFactorState { enabled: signed_in.user().second_factor, recovery_codes_left: left }))
    }

    /// Set a second factor up
    ///
    /// The app reads the answer's URI; a first code confirms it. Until then nothing is asked for at signing in.
    #[oai(path = "/", method = "post", operation_id = "begin_second_factor")]
    async fn begin(&self, signed_in: SignedIn, body: Body<PasswordAgain>) -> Result<Json<Enrolment>, Failure> {
        signed_in.in_person(UserRole::Viewer)?;
        let (services, user) = (&self.0, signed_in.user());
        check_own_password(services, &user, body.0.password).await?;
        let secret = secrets::random_bytes::<SECRET_BYTES>()?;
        let sealed = services.sealer.seal(&secret).ok_or_else(Failure::internal)?;
        if !services.store.begin_second_factor(user.key, sealed.clone(), clock::now()).await? {
            return Err(Failure::conflict(None, "you have a second factor; take it away first"));
        }
        let authenticator = authenticator(services, &user, &sealed)?;
        let otpauth_uri = authenticator.uri().map_err(|error| broken(&error))?;
        Ok(Json(Enrolment { otpauth_uri, secret: authenticator.secret_text() }))
    }

    /// Confirm a second factor
    ///
    /// The answer holds recovery codes; they are shown only once.
    #[oai(path = "/confirm", method = "post", operation_id = "confirm_second_factor")]
    async fn confirm(&self, signed_in: SignedIn, body: Body<FirstCode>) -> Result<Json<RecoveryCodes>, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        let (services, user) = (&self.0, signed_in.user());
        let counted = services.brakes.code(user.key).await?;
        let none = || Failure::conflict(None, "there is nothing to confirm: POST /api/auth/second-factor begins it");
        let factor = services.store.second_factor(user.key).await?.filter(|factor| !factor.confirmed);
        let factor = factor.ok_or_else(none)?;
        let step = authenticator(services, &user, &factor.sealed)?.check(&body.0.code, clock::now(), None);
        let step = step.ok_or_else(|| Failure::unacceptable("code", "is wrong: is the clock of the device right?"))?;
        let (codes, hashes) = draw_codes()?;
        if !services.store.confirm_second_factor(by, factor.sealed, step, hashes, clock::now()).await? {
            return Err(none());
        }
        services.brakes.honest(counted).await?;
        Ok(Json(codes))
    }

    /// Draw new recovery codes
    ///
    /// In place of all before. Needs the password and a code.
    #[oai(path = "/recovery-codes", method = "post", operation_id = "replace_recovery_codes")]
    async fn codes(&self, signed_in: SignedIn, body: Body<PasswordAndCode>) -> Result<Json<RecoveryCodes>, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        let (services, user) = (&self.0, signed_in.user());
        prove(services, &user, body.0).await?;
        let (codes, hashes) = draw_codes()?;
        services.store.replace_recovery_codes(by, hashes, clock::now()).await?;
        Ok(Json(codes))
    }

    /// Take one's second factor away
    ///
    /// Needs the password and a code.
    #[oai(path = "/disable", method = "post", operation_id = "disable_second_factor")]
    async fn disable(&self, signed_in: SignedIn, body: Body<PasswordAndCode>) -> Result<Removed, Failure> {
        let by = signed_in.in_person(UserRole::Viewer)?;
        let (services, user) = (&self.0, signed_in.user());
        if user.second_factor_required {
            return Err(Failure::conflict(None, "your organisation asks everybody for a second factor"));
        }
        prove(services, &user, body.0).await?;
        services.store.remove_second_factor(by, clock::now()).await?;
        Ok(Removed::Done)
    }
}

/// Asks for password and code again.
async fn prove(services: &Services, user: &User, shown: PasswordAndCode) -> Tried<()> {
    check_own_password(services, user, shown.password).await?;
    let good = check_code(services, user, &shown.code).await?;
    if good { Ok(()) } else { Err(Failure::unacceptable("code", "is wrong, or was used")) }
}

/// Who came through a provider has no password to show.
async fn check_own_password(services: &Services, user: &User, password: String) -> Tried<()> {
    if user.password_hash.is_empty() {
        return Ok(());
    }
    check_current(services, user, password, "password").await
}

fn draw_codes() -> Tried<(RecoveryCodes, Vec<[u8; 32]>)> {
    let codes = (0..RECOVERY_CODES).map(|_| Ok(second_factor::recovery_code(secrets::random_bytes()?)));
    let recovery_codes: Vec<String> = codes.collect::<Tried<_>>()?;
    let hashes = recovery_codes.iter().map(|code| secrets::hash(code)).collect();
    Ok((RecoveryCodes { recovery_codes }, hashes))
}

fn broken(error: &SecondFactorError) -> Failure {
    tracing::error!(%error, "a second factor");
    Failure::internal()
}

impl poem_openapi::types::Example for PasswordAgain {
    fn example() -> Self {
        Self { password: "correct horse battery staple".into() }
    }
}

impl poem_openapi::types::Example for PasswordAndCode {
    fn example() -> Self {
        Self { password: "correct horse battery staple".into(), code: "287082".into() }
    }
}

impl poem_openapi::types::Example for FirstCode {
    fn example() -> Self {
        Self { code: "287082".into() }
    }
}
