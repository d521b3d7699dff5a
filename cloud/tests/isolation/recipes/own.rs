//! Requests with which one person alone has success: about a session, a browser or a second factor of its own.

use serde_json::json;

use super::{Call, notifications, people};
use crate::cloud::{Owner, PASSWORD};
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    let made: [&str; 5] =
        ["end_session", "unsubscribe_push", "confirm_second_factor", "replace_recovery_codes", "disable_second_factor"];
    if !made.contains(&operation) {
        return None;
    }
    let person = Owner { token: party.another("viewer").await.1 };
    let call = match operation {
        "end_session" => {
            let sessions = party.cloud.get_as(&person, "/api/auth/sessions").await;
            Call::plain().path("session_id", sessions.body["items"][0]["session_id"].as_str().unwrap())
        }
        "unsubscribe_push" => {
            let made = party.cloud.post_as(&person, "/api/notifications/push", notifications::browser(party)).await;
            Call::plain().path("subscription_id", made.text("subscription_id"))
        }
        "confirm_second_factor" => {
            let begun = party.cloud.post_as(&person, "/api/auth/second-factor", json!({ "password": PASSWORD })).await;
            Call::json(json!({ "code": people::code(&begun.text("secret")) }))
        }
        _ => {
            let code = people::second_factor(party, &person).await;
            Call::json(json!({ "password": PASSWORD, "code": code }))
        }
    };
    Some(call.by(person.token))
}
