//! One's own account, the people of a tenant and the programs that act for them.

use aivms_cloud_core::second_factor::Authenticator;
use aivms_contract::time::UtcMillis;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Call;
use crate::cloud::{Answer, Owner, PASSWORD};
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    if let Some(call) = of_ones_own(party, operation).await {
        return Some(call);
    }
    let some_camera = || json!([{ "edge_id": party.thing("edge_id"), "camera_id": party.thing("camera_id") }]);
    Some(match operation {
        "list_people" | "list_invitations" | "list_api_keys" | "show_sign_in_settings" | "show_person" => Call::plain(),
        "change_person" => {
            Call::json(json!({ "role": "operator", "cameras": some_camera() })).path("user_id", new(party).await)
        }
        "remove_person" | "reset_second_factor" => Call::plain().path("user_id", new(party).await),
        "change_sign_in_settings" => Call::json(json!({ "second_factor_required": false })),
        "invite_person" => Call::json(invitation(party, &some_camera())),
        "withdraw_invitation" => {
            let made = post(party, "/api/tenant/invitations", invitation(party, &some_camera())).await;
            Call::plain().path("invitation_id", made.body["invitation"]["invitation_id"].as_str().unwrap())
        }
        "accept_invitation" => {
            let made = post(party, "/api/tenant/invitations", invitation(party, &some_camera())).await;
            let (token, name) = (made.text("token"), party.slug("Joined"));
            Call::json(json!({ "token": token, "name": name, "password": PASSWORD }))
        }
        "create_api_key" => Call::json(key(party, &some_camera())),
        "rotate_api_key" | "revoke_api_key" => {
            let made = post(party, "/api/tenant/api-keys", key(party, &some_camera())).await;
            let id = made.body["api_key"]["key_id"].as_str().unwrap();
            let call = if operation == "rotate_api_key" { Call::json(json!({})) } else { Call::plain() };
            call.path("key_id", id)
        }
        _ => return None,
    })
}

async fn of_ones_own(party: &Party<'_>, operation: &str) -> Option<Call> {
    let shown = || json!({ "password": PASSWORD, "code": "000000" });
    Some(match operation {
        "list_sessions" | "show_second_factor" => Call::plain(),
        "logout" | "logout_everywhere" => Call::plain().by_another(),
        // Everybody may, and nobody has this one.
        "end_session" => Call::plain().path("session_id", "session_00000000000000000000000000").status(404),
        "change_password" => Call::json(json!({ "current_password": PASSWORD, "password": PASSWORD })).by_another(),
        "begin_second_factor" => Call::json(json!({ "password": PASSWORD })).by_another(),
        // Who has none can confirm none and show no code of it.
        "confirm_second_factor" => Call::json(json!({ "code": "000000" })).by_another().status(409),
        "replace_recovery_codes" | "disable_second_factor" => Call::json(shown()).by_another().status(422),
        "refresh_token" => {
            let email = format!("owner@{}.example", party.marker);
            let login = party.cloud.post("/api/auth/login", json!({ "email": email, "password": PASSWORD })).await;
            Call::json(json!({ "refresh_token": login.text("refresh_token") }))
        }
        "request_password_reset" => Call::json(json!({ "email": format!("owner@{}.example", party.marker) })),
        "reset_password" => {
            let (user_id, token) = (new(party).await, party.slug("reset"));
            let hash = hex::encode(Sha256::digest(&token));
            party.cloud.sql(&format!(
                "insert into password_resets (person, token_hash, expires_at)
                 select id, x'{hash}', 1 << 60 from users where user_id = '{user_id}'"
            ));
            Call::json(json!({ "token": token, "password": PASSWORD }))
        }
        "login_second_factor" => login_with_second_factor(party).await,
        _ => return None,
    })
}

/// Sets a second factor up for `person`; a recovery code.
pub(super) async fn second_factor(party: &Party<'_>, person: &Owner) -> String {
    let begun = party.cloud.post_as(person, "/api/auth/second-factor", json!({ "password": PASSWORD })).await;
    let code = code(&begun.text("secret"));
    let confirmed = party.cloud.post_as(person, "/api/auth/second-factor/confirm", json!({ "code": code })).await;
    confirmed.body["recovery_codes"][0].as_str().unwrap().to_owned()
}

/// Sets a second factor up for somebody new and shows the password.
async fn login_with_second_factor(party: &Party<'_>) -> Call {
    let (user_id, token) = party.another("viewer").await;
    let recovery = second_factor(party, &Owner { token }).await;
    let name = user_id.trim_start_matches("user_").split('_').next().unwrap().to_owned();
    let body = json!({ "email": format!("{name}@{}.example", party.marker), "password": PASSWORD });
    let challenge = party.cloud.post("/api/auth/login", body).await;
    Call::json(json!({ "challenge": challenge.text("challenge"), "code": recovery }))
}

/// The code an app would show for this secret now.
pub(super) fn code(secret: &str) -> String {
    let bytes = totp_rs::Secret::try_from_base32(secret).unwrap().as_bytes().try_into().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    Authenticator::new(bytes, "a@b.example").unwrap().code(UtcMillis::from_millis(i64::try_from(now).unwrap()))
}

/// The id of somebody new, who may be removed.
async fn new(party: &Party<'_>) -> String {
    party.another("viewer").await.0
}

fn invitation(party: &Party<'_>, cameras: &Value) -> Value {
    let email = format!("{}@guests.example", party.slug("guest"));
    json!({ "email": email, "role": "viewer", "cameras": cameras })
}

fn key(party: &Party<'_>, cameras: &Value) -> Value {
    json!({ "name": party.slug("Key"), "role": "viewer", "cameras": cameras })
}

async fn post(party: &Party<'_>, path: &str, body: Value) -> Answer {
    let made = party.cloud.post_as(&party.owner, path, body).await;
    made.assert_ok();
    made
}
