//! The tenant's provider: what an owner sets, sees and takes away.

use std::sync::Arc;

use aivms_cloud_core::account;
use aivms_cloud_core::rights::{self, CameraScope};
use aivms_contract::id::TenantId;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::super::failure::Failure;
use super::super::sign_in::Role;
use super::super::signed_in::SignedIn;
use super::super::values::Body;
use super::super::{Services, Tags, Tried};
use super::{calls, redirect_url};
use crate::clock;
use crate::store::{Provider, UserRole};

/// Most characters of issuer and client id.
const MAX_NAME: usize = 300;
/// Most characters of the cloud's secret at a provider.
const MAX_SECRET: usize = 1_000;
/// Most domains of a tenant.
const MAX_DOMAINS: usize = 50;

pub(in super::super) struct ProviderSettingsApi(pub Arc<Services>);

/// A provider of the organisation.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct ProviderRequest {
    /// Where the provider describes itself, without `/.well-known/openid-configuration`.
    #[oai(validator(min_length = 8, max_length = 300, pattern = "^https?://[!-~]+$"))]
    issuer: String,
    /// What the cloud is called there.
    #[oai(validator(min_length = 1, max_length = 300, pattern = "^[ -~]+$"))]
    client_id: String,
    /// The secret of the cloud there.
    #[oai(validator(min_length = 1, max_length = 1000, pattern = "^[ -~]+$"))]
    client_secret: String,
    /// Domains whose addresses may come in, such as example.com; those below them are not meant.
    #[oai(validator(min_items = 1, max_items = 50))]
    allowed_domains: Vec<String>,
    /// Role of those who come for the first time without an invitation, who see all cameras; null when only people who
    /// are there already or invited may come in. Never owner.
    #[serde(default)]
    #[oai(nullable)]
    default_role: Option<Role>,
}

/// A provider, without its secret.
#[derive(Debug, Object)]
#[oai(rename = "Provider")]
struct ProviderAnswer {
    /// Where the provider describes itself.
    issuer: String,
    /// What the cloud is called there.
    client_id: String,
    /// Domains whose addresses may come in.
    allowed_domains: Vec<String>,
    /// Role of those who come for the first time without an invitation; null when only people who are there already or
    /// invited may come in.
    #[oai(nullable)]
    default_role: Option<Role>,
    /// To be entered at the provider as the address of return; null while the cloud does not know its own address
    /// (`http.public_url`).
    #[oai(nullable)]
    redirect_url: Option<String>,
}

#[derive(ApiResponse)]
enum Removed {
    /// Nobody comes in by it any more. Who did is signed out and sets a password by mail.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/tenant/provider", tag = "Tags::Accounts")]
impl ProviderSettingsApi {
    /// Show the organisation's provider
    ///
    /// Needs the role owner.
    #[oai(path = "/", method = "get", operation_id = "show_provider")]
    async fn show(&self, signed_in: SignedIn) -> Result<Json<ProviderAnswer>, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        let none = || Failure::not_found("your organisation has no provider");
        let provider = self.0.store.provider(by.tenant).await?.ok_or_else(none)?;
        Ok(Json(self.answer(provider, &signed_in.user().tenant_id)))
    }

    /// Set the organisation's provider
    ///
    /// The cloud asks the provider to describe itself, so a wrong issuer shows at once. Another issuer or client id
    /// signs out who came through the one before. Needs the role owner.
    #[oai(path = "/", method = "put", operation_id = "set_provider")]
    async fn set(&self, signed_in: SignedIn, body: Body<ProviderRequest>) -> Result<Json<ProviderAnswer>, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        let services = &self.0;
        let provider = checked(services, by.role, body.0)?;
        let wrong = |reason: String| Failure::unacceptable("issuer", reason);
        calls::discover(services, &provider.issuer).await.map_err(wrong)?;
        services.store.set_provider(by, Some(provider.clone()), clock::now()).await?;
        Ok(Json(self.answer(provider, &signed_in.user().tenant_id)))
    }

    /// Take the organisation's provider away
    ///
    /// Needs the role owner.
    #[oai(path = "/", method = "delete", operation_id = "remove_provider")]
    async fn remove(&self, signed_in: SignedIn) -> Result<Removed, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        self.0.store.set_provider(by, None, clock::now()).await?;
        Ok(Removed::Done)
    }
}

impl ProviderSettingsApi {
    fn answer(&self, provider: Provider, tenant: &TenantId) -> ProviderAnswer {
        ProviderAnswer {
            issuer: provider.issuer,
            client_id: provider.client_id,
            allowed_domains: provider.allowed_domains,
            default_role: provider.default_role.map(Into::into),
            redirect_url: redirect_url(&self.0, tenant).map(|url| url.to_string()),
        }
    }
}

/// The settings with the secret sealed, if somebody with the role `by` may make them.
fn checked(services: &Services, by: UserRole, request: ProviderRequest) -> Tried<Provider> {
    let ProviderRequest { issuer, client_id, client_secret, allowed_domains, default_role } = request;
    printable("issuer", &issuer, MAX_NAME)?;
    printable("client_id", &client_id, MAX_NAME)?;
    printable("client_secret", &client_secret, MAX_SECRET)?;
    let default_role: Option<UserRole> = default_role.map(Into::into);
    if default_role == Some(UserRole::Owner) {
        return Err(Failure::unacceptable("default_role", "must not be owner"));
    }
    if let Some(role) = default_role {
        let refused = |error| Failure::unacceptable("default_role", error);
        rights::may_make(by, role, &CameraScope::All).map_err(refused)?;
    }
    let client_secret = services.sealer.seal(client_secret.as_bytes()).ok_or_else(Failure::internal)?;
    Ok(Provider { issuer, client_id, client_secret, allowed_domains: domains(&allowed_domains)?, default_role })
}

/// Refuses what no provider takes (RFC 6749, appendix A) and what is too long to be kept.
fn printable(field: &'static str, text: &str, most: usize) -> Tried<()> {
    let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_printable && (1..=most).contains(&text.len()) {
        return Ok(());
    }
    Err(Failure::unacceptable(field, format!("must have 1 to {most} printable characters of ASCII")))
}

fn domains(named: &[String]) -> Tried<Vec<String>> {
    let refused = |reason: String| Failure::unacceptable("allowed_domains", reason);
    if !(1..=MAX_DOMAINS).contains(&named.len()) {
        return Err(refused(format!("must be 1 to {MAX_DOMAINS} domains")));
    }
    // A domain is what makes an address of a name.
    let domain = |domain: &String| account::normalized_email(&format!("x@{domain}")).map(|email| email[2..].to_owned());
    let domains = named.iter().map(domain).collect::<Result<Vec<_>, _>>();
    domains.map_err(|_| refused("must be domains such as example.com".into()))
}

impl poem_openapi::types::Example for ProviderRequest {
    fn example() -> Self {
        Self {
            issuer: "https://login.example.com".into(),
            client_id: "aivms".into(),
            client_secret: "3q2-7wEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJo".into(),
            allowed_domains: vec!["example.com".into()],
            default_role: Some(Role::Viewer),
        }
    }
}
