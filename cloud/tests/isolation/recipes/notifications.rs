//! Channels, deliveries, preferences and browsers.

use serde_json::{Value, json};

use super::Call;
use crate::party::Party;

const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    // Mail without a mail server: the delivery fails at once and stays as it is.
    let channel = || {
        let address = format!("{}@example.com", party.slug("desk"));
        json!({ "name": party.slug("Desk"), "kind": "mail", "addresses": [address.to_lowercase()] })
    };
    let webhook = || json!({ "name": party.slug("Hook"), "kind": "webhook", "url": "https://hooks.example.invalid/" });
    let made = async |body: Value| {
        let made = party.cloud.post_as(&party.owner, "/api/notifications/channels", body).await;
        made.body["channel"]["channel_id"].as_str().unwrap().to_owned()
    };
    let told = async || {
        let path = format!("/api/notifications/channels/{}/test", made(channel()).await);
        let told = party.cloud.post_as(&party.owner, &path, json!({})).await;
        told.body["delivery_ids"][0].as_str().unwrap().to_owned()
    };
    if matches!(operation, "show_delivery" | "redeliver") && party.things("delivery_id").is_empty() {
        party.add("delivery_id", &told().await);
    }
    Some(match operation {
        "list_channels" | "show_channel" | "list_deliveries" | "show_delivery" | "redeliver" => Call::plain(),
        "show_preferences" | "show_push" => Call::plain(),
        // Each person has browsers of its own, and here none.
        "unsubscribe_push" => Call::plain().path("subscription_id", "psh_00000000000000000000000000").status(404),
        "create_channel" => Call::json(channel()),
        "change_channel" => Call::json(channel()).path("channel_id", made(channel()).await),
        "delete_channel" | "test_channel" => Call::plain().path("channel_id", made(channel()).await),
        "rotate_channel_secret" => Call::plain().path("channel_id", made(webhook()).await),
        "change_preferences" => Call::json(json!({
            "mail": false, "push": true, "least_severity": "warning", "time_zone": "Europe/Berlin",
            "quiet_hours": [{ "days": ["sat"], "from": "22:00", "to": "06:00" }], "break_through": "critical",
        })),
        "subscribe_push" => Call::json(browser(party)),
        _ => return None,
    })
}

/// A browser to be subscribed.
pub(super) fn browser(party: &Party<'_>) -> Value {
    let endpoint = format!("https://push.example.net/{}-{}", party.slug("browser"), party.number());
    json!({ "endpoint": endpoint, "label": party.slug("Phone"), "keys": { "p256dh": KEY, "auth": "BTBZMqHH6r4Tts7J_aSIgg" } })
}
