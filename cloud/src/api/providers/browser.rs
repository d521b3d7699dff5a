//! The way of a browser: to the provider, back, and with a code to its tokens.

use std::sync::Arc;

use aivms_cloud_core::audit::{Action, Actor, ActorKind};
use aivms_contract::id::TenantId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{AuthorizationCode, CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier, Scope};
use poem::Request;
use poem::http::header::COOKIE;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::super::failure::Failure;
use super::super::sign_in::{self, Challenge, SignedInAnswer};
use super::super::values::{Body, Text};
use super::super::{Services, Tags, Tried, address, secrets};
use super::calls::{self, ProviderCalls, ProviderClient};
use super::identity::{self, Expected};
use super::page::PAGE;
use super::redirect_url;
use super::refusal::Refusal;
use crate::clock;
use crate::store::{Arrival, FLOW_LIFE, Flow, Identified, NewAudit, THROUGH_PROVIDER, TakenFlow};

/// How long a browser waits before it asks again for a provider that does not answer.
const PROVIDER_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);
/// Most characters kept of a provider's word for what went wrong.
const MAX_WORD: usize = 64;

pub(in super::super) struct ProviderSignInApi(pub Arc<Services>);

/// A code that a browser brought back.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct CodeRequest {
    /// What stood behind `#sign-in-code=`.
    #[oai(validator(max_length = 100))]
    code: String,
    /// The text whose `code_challenge` began the sign-in.
    #[oai(validator(min_length = 43, max_length = 128))]
    code_verifier: String,
}

#[derive(ApiResponse)]
enum Away {
    /// On to another page.
    #[oai(status = 303)]
    To(#[oai(header = "Location")] String, #[oai(header = "Set-Cookie")] String),
}

#[derive(ApiResponse)]
enum Exchanged {
    /// Signed in.
    #[oai(status = 200)]
    Done(Json<SignedInAnswer>),
    /// The person has a second factor: send a code with the challenge.
    #[oai(status = 202)]
    SecondFactor(Json<Challenge>),
}

/// What a provider had the browser bring.
struct CameBack {
    tenant: TenantId,
    code: Option<String>,
    state: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
    browser: Option<String>,
    address: String,
}

#[OpenApi(prefix_path = "/api/auth/provider", tag = "Tags::Accounts")]
impl ProviderSignInApi {
    /// Sign in through a provider
    ///
    /// For browsers: sends them to the provider of the organisation. They come back to the page `/sign-in`, with a code
    /// behind `#sign-in-code=` or with `#sign-in-failed=` and one of `declined` (the person or the provider broke it
    /// off), `expired`, `provider` (it did not answer as it should), `unverified` (the person's address),
    /// `not-admitted` and `internal`.
    #[oai(path = "/:tenant/start", method = "get", operation_id = "start_provider_sign_in")]
    async fn start(
        &self,
        request: &Request,
        /// The organisation.
        tenant: Path<Text<TenantId>>,
        /// Base64url without padding of the SHA-256 of a text that you draw for this sign-in and keep (RFC 7636, S256):
        /// 43 to 128 characters, at least 256 random bits.
        #[oai(validator(pattern = "^[A-Za-z0-9_-]{43}$"))]
        code_challenge: Query<String>,
    ) -> Result<Away, Failure> {
        let services = &self.0;
        let _counted = services.brakes.provider_start(&address(request, services)).await?;
        let none = || Failure::not_found("there is no such organisation, or it has no provider");
        let (key, provider) = services.store.provider_of(tenant.0.0.clone()).await?.ok_or_else(none)?;
        let redirect = redirect_url(services, &tenant.0.0).ok_or_else(unknown_address)?;
        let client = calls::client(services, &provider, redirect).await.map_err(|reason| {
            tracing::warn!(tenant.id = %tenant.0.0, %reason, "a provider can't be used for signing in");
            Failure::unavailable("the organisation's provider does not answer as it should", PROVIDER_PAUSE)
        })?;
        let browser = secrets::random_text()?;
        let (url, flow) = begin(services, &client, &browser, &code_challenge.0)?;
        services.store.begin_flow(key, flow, clock::now()).await?;
        Ok(Away::To(url, self.cookie(&browser, FLOW_LIFE.as_secs())))
    }

    /// Come back from a provider
    ///
    /// Only browsers that a provider sends come here.
    #[oai(path = "/:tenant/callback", method = "get", operation_id = "finish_provider_sign_in")]
    async fn callback(
        &self,
        request: &Request,
        /// The organisation.
        tenant: Path<Text<TenantId>>,
        /// What the provider gave.
        #[oai(validator(max_length = 8192))]
        code: Query<Option<String>>,
        /// What the cloud gave to the provider.
        #[oai(validator(max_length = 256))]
        state: Query<Option<String>>,
        /// The provider's name for itself (RFC 9207).
        #[oai(validator(max_length = 300))]
        iss: Query<Option<String>>,
        /// Why the provider gave nothing.
        #[oai(validator(max_length = 256))]
        error: Query<Option<String>>,
    ) -> Result<Away, Failure> {
        let services = &self.0;
        let address = address(request, services);
        let counted = services.brakes.token(&address).await?;
        let browser = browser_cookie(request, self.cookie_name());
        let (code, state, issuer, error) = (code.0, state.0, iss.0, error.0);
        let back = CameBack { tenant: tenant.0.0, code, state, issuer, error, browser, address };
        let fragment = match self.come_back(back).await {
            Ok(code) => {
                services.brakes.honest(counted).await?;
                format!("sign-in-code={code}")
            }
            Err(refusal) => format!("sign-in-failed={}", refusal.reason()),
        };
        let base = services.public_url().unwrap_or_default().trim_end_matches('/');
        Ok(Away::To(format!("{base}{PAGE}#{fragment}"), self.cookie("", 0)))
    }

    /// Exchange the code of a browser that came back
    ///
    /// It is good once, for a minute, and for who began the sign-in.
    #[oai(path = "/exchange", method = "post", operation_id = "exchange_sign_in_code")]
    async fn exchange(&self, request: &Request, body: Body<CodeRequest>) -> Result<Exchanged, Failure> {
        let services = &self.0;
        let counted = services.brakes.token(&address(request, services)).await?;
        let challenge = URL_SAFE_NO_PAD.encode(secrets::hash(&body.0.code_verifier));
        let user = services.store.take_sign_in_code(code_hash(&body.0.code, &challenge), clock::now()).await?;
        let gone = || Failure::unacceptable("code", "is not good, was used or has ended; sign in again");
        let user = user.ok_or_else(gone)?;
        services.brakes.honest(counted).await?;
        if user.second_factor {
            let issuer = services.store.provider(user.tenant).await?.ok_or_else(gone)?.issuer;
            return Ok(Exchanged::SecondFactor(Json(Challenge::of(services, &user, Some(issuer))?)));
        }
        Ok(Exchanged::Done(Json(sign_in::begin(services, &user, THROUGH_PROVIDER, request).await?)))
    }
}

impl ProviderSignInApi {
    /// Takes the flow that a browser comes back from and tells log and audit log when nobody comes in by it.
    async fn come_back(&self, back: CameBack) -> Result<String, Refusal> {
        let (store, now) = (&self.0.store, clock::now());
        let taken = async {
            let state = back.state.as_deref().ok_or(Refusal::Stale("the browser brings no state"))?;
            let taken = store.take_flow(secrets::hash(state), now).await?;
            taken.ok_or(Refusal::Stale("the state is not known, was used or has ended"))
        };
        let taken = taken.await.inspect_err(|refusal| {
            tracing::info!(reason = %refusal, "a sign-in through a provider failed");
        })?;
        let (tenant, tenant_id, from) = (taken.tenant, taken.tenant_id.clone(), back.address.clone());
        let code = self.let_in(taken, back).await;
        if let Err(refusal) = &code {
            tracing::info!(tenant.id = %tenant_id, reason = %refusal, "a sign-in through a provider failed");
            let email = refusal.email().map(str::to_owned);
            let actor = email.clone().map_or_else(Actor::system, |email| Actor {
                kind: ActorKind::User,
                id: email.clone(),
                name: email,
            });
            let detail = serde_json::json!({ "method": THROUGH_PROVIDER, "reason": refusal.reason() });
            let action = Action::UserSignInFailed;
            let entry = NewAudit { tenant, actor, address: Some(from), action, subject: email, detail, at: now };
            store.audit(entry).await?;
        }
        code
    }

    /// Checks all that a browser brings back; gives the code with which its person signs in.
    async fn let_in(&self, taken: TakenFlow, back: CameBack) -> Result<String, Refusal> {
        let services = &self.0;
        let TakenFlow { tenant, flow, provider, .. } = &taken;
        check_whence(&taken, &back)?;
        let code = back.code.ok_or(Refusal::Stale("the browser brings no code"))?;
        let gone = || Refusal::Internal("the flow was sealed with a secret that is gone".into());
        let (verifier, challenge) = opened(services, flow).ok_or_else(gone)?;
        let redirect = redirect_url(services, &taken.tenant_id);
        let redirect = redirect.ok_or_else(|| Refusal::Internal("http.public_url is not set".into()))?;
        let client = calls::client(services, provider, redirect).await.map_err(Refusal::Provider)?;
        let expected = Expected { nonce: Nonce::new(flow.nonce.clone()), verifier };
        let calls = ProviderCalls::of(services);
        let who = identity::identify(&client, &calls, AuthorizationCode::new(code), expected).await?;
        check_domain(&provider.allowed_domains, &who)?;
        let code = secrets::random_text().map_err(|_| Refusal::Internal("no random numbers".into()))?;
        let code_hash = code_hash(&code, &challenge);
        let arrival = Arrival { tenant: *tenant, provider: provider.clone(), address: back.address, code_hash };
        let admitted = services.store.identify(arrival, who.clone(), clock::now()).await?;
        admitted.map(|_| code).map_err(|why| Refusal::not_admitted(&who.email, why))
    }

    fn is_https(&self) -> bool {
        self.0.public_url().is_some_and(|url| url.starts_with("https:"))
    }

    /// The name by which browsers take the cookie from this host alone, where they keep to HTTPS (RFC 6265bis, 4.1.3).
    fn cookie_name(&self) -> &'static str {
        if self.is_https() { "__Host-aivms_sign_in" } else { "aivms_sign_in" }
    }

    /// The cookie that binds a flow to its browser. `Lax`: it must come along when the provider sends the browser back.
    fn cookie(&self, value: &str, seconds: u64) -> String {
        let (name, secure) = (self.cookie_name(), if self.is_https() { "; Secure" } else { "" });
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// Where the browser goes, and what is written down until it comes back.
fn begin(services: &Services, client: &ProviderClient, browser: &str, code_challenge: &str) -> Tried<(String, Flow)> {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("email".into()))
        .add_scope(Scope::new("profile".into()))
        .set_pkce_challenge(challenge)
        .url();
    let both = format!("{}.{code_challenge}", verifier.secret());
    let flow = Flow {
        state_hash: secrets::hash(state.secret()),
        browser_hash: secrets::hash(browser),
        nonce: nonce.secret().clone(),
        verifier: services.sealer.seal(both.as_bytes()).ok_or_else(Failure::internal)?,
    };
    Ok((url.into(), flow))
}

/// The verifier of the provider's code, and the challenge of ours.
fn opened(services: &Services, flow: &Flow) -> Option<(PkceCodeVerifier, String)> {
    let both = String::from_utf8(services.sealer.open(&flow.verifier)?).ok()?;
    let (verifier, challenge) = both.split_once('.')?;
    Some((PkceCodeVerifier::new(verifier.to_owned()), challenge.to_owned()))
}

/// Whether the browser that began the flow comes back from the provider that it was sent to.
fn check_whence(taken: &TakenFlow, back: &CameBack) -> Result<(), Refusal> {
    let browser = back.browser.as_deref().ok_or(Refusal::Stale("the browser has no cookie of this sign-in"))?;
    if secrets::hash(browser) != taken.flow.browser_hash {
        return Err(Refusal::Stale("another browser began this sign-in"));
    }
    if back.tenant != taken.tenant_id {
        return Err(Refusal::Stale("another organisation's provider was asked"));
    }
    if back.issuer.as_ref().is_some_and(|issuer| *issuer != taken.provider.issuer) {
        return Err(Refusal::Provider("another provider answers than the one that was asked (iss)".into()));
    }
    let word = |error: &String| error.chars().filter(char::is_ascii_graphic).take(MAX_WORD).collect();
    back.error.as_ref().map_or(Ok(()), |error| Err(Refusal::Declined(word(error))))
}

fn check_domain(allowed: &[String], who: &Identified) -> Result<(), Refusal> {
    let domain = who.email.rsplit_once('@').map_or("", |(_, domain)| domain);
    if allowed.iter().any(|known| known == domain) {
        return Ok(());
    }
    Err(Refusal::NotAdmitted { email: who.email.clone(), why: format!("addresses of {domain} may not come in") })
}

/// What the database keeps of a code: with the challenge in it, so that only who knows its verifier can use the code.
fn code_hash(code: &str, challenge: &str) -> [u8; 32] {
    secrets::hash(&format!("{code}.{challenge}"))
}

fn browser_cookie(request: &Request, name: &str) -> Option<String> {
    let cookies = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

fn unknown_address() -> Failure {
    Failure::conflict(None, "the cloud does not know its own address: its operator must set http.public_url")
}

impl poem_openapi::types::Example for CodeRequest {
    fn example() -> Self {
        Self {
            code: "3q2-7wEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJo".into(),
            code_verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
        }
    }
}
