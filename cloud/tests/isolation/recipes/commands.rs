//! Commands, desired documents and the state of edges.

use aivms_contract::envelope::Body as Event;
use reqwest::Method;
use serde_json::{Value, json};

use super::Call;
use crate::device::at;
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    let (cloud, owner) = (party.cloud, &party.owner);
    let edge = format!("/api/tenant/edges/{}", party.device.edge_id);
    let command = async || {
        let asked = cloud.post_as(owner, &format!("{edge}/command"), json!({ "command": "update_zones" })).await;
        asked.text("command_id")
    };
    Some(match operation {
        "send_command" => Call::json(json!({ "command": "get_status", "expires_in_s": 600 + party.number() })),
        "list_commands"
        | "list_presence"
        | "list_health"
        | "list_edge_certificates"
        | "show_desired"
        | "list_desired_versions"
        | "show_desired_difference"
        | "show_reported" => Call::plain(),
        "cancel_command" => Call::plain().path("edge_id", &party.device.edge_id).path("command_id", command().await),
        "show_command" => {
            // One that lasts: looking must not change what lists show.
            let known = cloud.get_as(owner, &format!("{edge}/commands")).await.body["items"][0]["command_id"].clone();
            let id = match known.as_str() {
                Some(id) => id.to_owned(),
                None => command().await,
            };
            Call::plain().path("edge_id", &party.device.edge_id).path("command_id", id)
        }
        "show_health" => {
            if !cloud.get_as(owner, &format!("{edge}/health")).await.status.is_success() {
                party.device.deliver(cloud, &[party.device.envelope(party.number(), health(party))]).await.assert_ok();
            }
            Call::plain()
        }
        "change_edge" => {
            let labels = json!({ "site": party.marker });
            Call::json(json!({ "name": party.slug("Edge"), "labels": labels })).path("edge_id", new_edge(party).await)
        }
        "change_desired" => Call::json(document(party)).path("edge_id", new_edge(party).await),
        "change_zones" => {
            let (edge_id, document) = (new_edge(party).await, document(party));
            let path = format!("/api/tenant/edges/{edge_id}/desired");
            cloud.send_as(owner, Method::PUT, &path, document.clone()).await.assert_ok();
            let camera_id = document["cameras"][0]["id"].as_str().unwrap();
            let zone = json!({ "id": party.slug("zone"), "polygon": [[0, 0], [1, 0], [0, 1]] });
            Call::json(json!({ "zones": [zone] })).path("edge_id", edge_id).path("camera_id", camera_id)
        }
        _ => return None,
    })
}

async fn new_edge(party: &Party<'_>) -> String {
    party.cloud.register_edge(&party.owner).await.0
}

fn document(party: &Party<'_>) -> Value {
    json!({ "version": 0, "cameras": [{ "id": party.slug("camera"), "url": "rtsp://192.0.2.1/1" }] })
}

fn health(party: &Party<'_>) -> Event {
    let camera =
        json!({ "camera_id": party.thing("camera_id"), "state": "streaming", "since": at(0), "detect_fps": 5.0 });
    let report = json!({ "timestamp": at(9), "version": party.marker, "uptime_s": 1, "disk_total_bytes": 2,
        "disk_free_bytes": 1, "cameras": [camera], "outbox": { "entries": 0, "bytes": 0, "shed": 0 } });
    Event::Health(serde_json::from_value(report).unwrap())
}
