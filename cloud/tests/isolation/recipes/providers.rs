//! The provider of a tenant and sign-ins through it.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Call;
use crate::party::Party;

/// What a program draws for a sign-in.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    Some(match operation {
        "show_provider" | "remove_provider" => {
            connected(party);
            Call::plain()
        }
        // No provider runs beside these tests: the cloud says so to whoever may set one, and nothing changes.
        "set_provider" => Call::json(json!({
            "issuer": "http://127.0.0.1:1", "client_id": "x", "client_secret": "x", "allowed_domains": ["a.example"],
        }))
        .status(422),
        "start_provider_sign_in" => {
            let challenge = "x".repeat(43);
            Call::plain().path("tenant", "nobody").query("code_challenge", challenge).status(404)
        }
        // It sends everybody on to the page that says what became of it.
        "finish_provider_sign_in" => Call::plain().path("tenant", "nobody"),
        "exchange_sign_in_code" => {
            let code = party.slug("code");
            brought_back(party, &code);
            Call::json(json!({ "code": code, "code_verifier": VERIFIER }))
        }
        _ => return None,
    })
}

/// Connects the tenant's provider, as its owner would.
fn connected(party: &Party<'_>) {
    let client = format!("client-of-{}", party.marker);
    party.add("client_id", &client);
    party.cloud.sql(&format!(
        "insert into identity_providers (tenant, issuer, client_id, client_secret, allowed_domains, changed_at)
         select tenant, 'https://login.{0}.example', '{client}', x'00', '[\"{0}.example\"]', 0
         from users where email = 'owner@{0}.example'
         on conflict (tenant) do nothing",
        party.marker
    ));
}

/// Writes down what a browser brings back whose person the provider has identified.
fn brought_back(party: &Party<'_>, code: &str) {
    use base64::Engine as _;
    let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let hash = hex::encode(Sha256::digest(format!("{code}.{challenge}")));
    party.cloud.sql(&format!(
        "insert into provider_identities (tenant, issuer, subject, person, created_at)
         select tenant, 'https://login.{0}.example', 'owner', id, 0 from users where email = 'owner@{0}.example'
         on conflict do nothing;
         insert into sign_in_codes (code_hash, person, expires_at)
         select x'{hash}', id, 1 << 60 from users where email = 'owner@{0}.example'",
        party.marker
    ));
}
