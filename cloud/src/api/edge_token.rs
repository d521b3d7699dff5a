//! Tokens of edges: JWTs signed with the device key, checked with the key of the certificate they name.
//!
//! They stand in for the TLS client certificate where a load balancer ends TLS.

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::edge_api::{TOKEN_AUDIENCE, TOKEN_LIFETIME_S, TokenClaims};
use aivms_contract::id::EdgeId;
use aivms_contract::identity::Role;
use aivms_contract::time::UtcMillis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use super::Services;
use super::failure::Failure;
use super::signed_in::INVALID_TOKEN;
use crate::clock;
use crate::store::{ActiveCertificate, EdgeKey, Fingerprint, TenantKey};

/// How far an edge's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// An enrolled edge. The token is a JWT, ES256 by the device key; its header's `x5t#S256` names the certificate.
#[derive(SecurityScheme)]
#[oai(rename = "EdgeToken", ty = "bearer", bearer_format = "JWT", checker = "check")]
pub(super) struct SignedByEdge(pub EdgeCaller);

/// The edge a token speaks for.
#[derive(Debug, Clone)]
pub(super) struct EdgeCaller {
    pub tenant: TenantKey,
    pub edge: EdgeKey,
    pub edge_id: EdgeId,
    pub fingerprint: Fingerprint,
    pub certificate: ActiveCertificate,
}

async fn check(request: &Request, bearer: Bearer) -> poem::Result<EdgeCaller> {
    let services = request.data::<Arc<Services>>().ok_or_else(Failure::internal)?;
    Ok(caller(services, &bearer.token, clock::now()).await?)
}

pub(super) async fn caller(services: &Services, token: &str, now: UtcMillis) -> Result<EdgeCaller, Failure> {
    let fingerprint = named_certificate(token)
        .ok_or_else(|| refused("the token must be a JWT with the header x5t#S256, the SHA-256 of the certificate"))?;
    let certificate = services.store.active_certificate(&fingerprint, now).await?;
    let certificate = certificate.ok_or_else(no_longer_counts)?;
    let (Some(edge), Role::Edge(edge_id)) = (certificate.edge, certificate.identity.role.clone()) else {
        return Err(refused("the certificate is not one of an edge"));
    };
    check_claims(token, &certificate, now)?;
    let span = tracing::Span::current();
    span.record("tenant.id", certificate.identity.tenant.as_str()).record("edge.id", edge_id.as_str());
    Ok(EdgeCaller { tenant: certificate.tenant, edge, edge_id, fingerprint, certificate })
}

fn check_claims(token: &str, certificate: &ActiveCertificate, now: UtcMillis) -> Result<(), Failure> {
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[TOKEN_AUDIENCE]);
    rules.set_required_spec_claims(&["sub", "aud", "exp"]);
    rules.sub = Some(certificate.identity.to_string());
    rules.leeway = 0;
    let key = DecodingKey::from_ec_der(&certificate.public_key_der);
    let claims = jsonwebtoken::decode::<TokenClaims>(token, &key, &rules)
        .map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => refused("the token has ended; if it is new, set the edge's clock"),
            other => refused(&format!("the token is not valid: {other:?}")),
        })?
        .claims;
    let latest_start = u64::try_from((now + CLOCK_SKEW).as_millis() / 1_000).unwrap_or(0);
    if claims.iat > latest_start {
        return Err(refused("the token is from the future: set the edge's clock"));
    }
    if claims.exp.saturating_sub(claims.iat) > TOKEN_LIFETIME_S {
        return Err(refused(&format!("the token may live {TOKEN_LIFETIME_S} seconds at most")));
    }
    Ok(())
}

/// The certificate that an unchecked token claims to be signed for.
fn named_certificate(token: &str) -> Option<Fingerprint> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    URL_SAFE_NO_PAD.decode(header.x5t_s256?).ok()?.try_into().ok()
}

/// The certificate a token names is not an active one.
pub(super) fn no_longer_counts() -> Failure {
    refused("the certificate is unknown, has ended or was withdrawn")
}

fn refused(detail: &str) -> Failure {
    Failure::unauthorized(detail, INVALID_TOKEN)
}
