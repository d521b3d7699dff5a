//! Alert rules, alerts and incidents. The edges' own alerts raise some by the rules that a tenant begins with.

use serde_json::{Value, json};

use super::Call;
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    Some(match operation {
        "list_alerts"
        | "list_suppressed_alerts"
        | "show_alert"
        | "list_incidents"
        | "show_incident"
        | "list_rules"
        | "show_rule" => Call::plain(),
        "create_rule" => Call::json(rule(party)),
        "change_rule" => versioned(Call::json(rule(party)).path("rule_id", new_rule(party).await)),
        "delete_rule" => versioned(Call::plain().path("rule_id", new_rule(party).await)),
        "back_test_rule" => Call::json(json!({ "rule": rule(party), "rule_id": new_rule(party).await, "days": 31 })),
        "acknowledge_alert" | "resolve_alert" => {
            Call::json(json!({})).path("alert_id", alert_after(party, &["resolve", "reopen"]).await)
        }
        "reopen_alert" => Call::json(json!({})).path("alert_id", alert_after(party, &["resolve"]).await),
        "assign_alert" => {
            let email = format!("owner@{}.example", party.marker);
            Call::json(json!({ "email": email })).path("alert_id", alert_after(party, &[]).await)
        }
        "comment_on_alert" => {
            Call::json(json!({ "comment": party.slug("Seen") })).path("alert_id", alert_after(party, &[]).await)
        }
        _ => return None,
    })
}

fn versioned(mut call: Call) -> Call {
    call.headers.push(("if-match".to_owned(), "\"1\"".to_owned()));
    call
}

fn rule(party: &Party<'_>) -> Value {
    let camera = json!({ "edge_id": party.device.edge_id, "camera_id": party.thing("camera_id") });
    json!({ "name": party.slug("Rule"), "kind": "zone", "severity": "warning", "cameras": [camera] })
}

async fn new_rule(party: &Party<'_>) -> String {
    let made = party.cloud.post_as(&party.owner, "/api/rules", rule(party)).await;
    made.text("rule_id")
}

/// An alert with which these things were done before.
async fn alert_after(party: &Party<'_>, steps: &[&str]) -> String {
    let alerts = party.cloud.get_as(&party.owner, "/api/events/alerts").await;
    let alert = alerts.body["items"][0]["alert_id"].as_str().unwrap().to_owned();
    for step in steps {
        party.cloud.post_as(&party.owner, &format!("/api/events/alerts/{alert}/{step}"), json!({})).await.assert_ok();
    }
    alert
}
