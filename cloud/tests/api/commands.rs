//! Commands by API, answered by an edge over MQTT.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Owner};
use crate::device::Device;
use crate::mqtt_edge::MqttEdge;

async fn scene() -> (Cloud, Owner, Device) {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    (cloud, owner, device)
}

fn path(device: &Device) -> String {
    format!("/api/tenant/edges/{}", device.edge_id)
}

#[tokio::test]
async fn a_command_given_while_the_edge_is_away_is_carried_out_when_it_comes() {
    let (cloud, owner, device) = scene().await;
    let body = json!({ "command": "request_clip", "payload":
        { "camera_id": "gate", "start": "2026-11-22T13:05:00Z", "duration_ms": 5000 } });
    let asked = cloud.post_as(&owner, &format!("{}/command", path(&device)), body.clone()).await;
    assert_eq!(asked.status, StatusCode::CREATED, "{asked:?}");
    assert_eq!((asked.text("state"), asked.text("camera_id")), ("queued".into(), "gate".into()));
    let place = format!("{}/commands/{}", path(&device), asked.text("command_id"));
    assert_eq!(asked.header("location"), place);

    let mut edge = MqttEdge::connect(&cloud, &device).await;
    let told = edge.told("commands").await;
    assert_eq!(
        (&told["id"], &told["command"], &told["payload"]),
        (&asked.body["command_id"], &body["command"], &body["payload"])
    );
    assert_eq!(cloud.get_as(&owner, &place).await.text("state"), "sent");
    edge.answer(&told, "succeeded", json!({ "clip_id": "c-1" })).await;
    let ended = cloud.get_as(&owner, &place).await;
    assert_eq!((ended.text("state"), &ended.body["data"]), ("succeeded".into(), &json!({ "clip_id": "c-1" })));
    edge.answer(&told, "failed", json!({})).await;
    assert_eq!(cloud.get_as(&owner, &place).await.body, ended.body, "the first answer stays");
}

#[tokio::test]
async fn whoever_waits_has_the_answer_as_soon_as_it_comes() {
    let (cloud, owner, device) = scene().await;
    let mut edge = MqttEdge::connect(&cloud, &device).await;
    let waiting = async {
        let body = json!({ "command": "get_status", "wait_s": 60 });
        let began = Instant::now();
        (cloud.post_as(&owner, &format!("{}/command", path(&device)), body).await, began.elapsed())
    };
    let answering = async {
        let told = edge.told("commands").await;
        edge.answer(&told, "rejected", json!({})).await;
    };
    let ((answered, took), ()) = tokio::join!(waiting, answering);
    assert_eq!((answered.text("state"), answered.text("reason")), ("rejected".into(), "as told".into()));
    assert!(took < Duration::from_secs(20), "{took:?}");

    let began = Instant::now();
    let body = json!({ "command": "get_status", "wait_s": 1 });
    let unanswered = cloud.post_as(&owner, &format!("{}/command", path(&device)), body).await;
    assert_eq!(unanswered.text("state"), "sent");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let place = format!("{}/commands/{}", path(&device), unanswered.text("command_id"));
    let place = format!("{place}?wait_s=60");
    let answering = async {
        let first = edge.told("commands").await;
        edge.answer(&first, "failed", json!({})).await;
    };
    let (looked, ()) = tokio::join!(cloud.get_as(&owner, &place), answering);
    assert_eq!(looked.text("state"), "failed");
}

#[tokio::test]
async fn what_an_edge_would_refuse_is_refused_by_name_of_its_member_before_it_is_stored() {
    let (cloud, owner, device) = scene().await;
    let send = |body: Value| {
        let path = format!("{}/command", path(&device));
        let (cloud, owner) = (&cloud, &owner);
        async move { cloud.post_as(owner, &path, body).await }
    };
    for (body, status, field) in [
        (json!({ "command": "make_coffee" }), 422, Some("command")),
        (json!({ "command": "open_relay" }), 422, Some("command")),
        (
            json!({ "command": "request_clip", "payload": { "camera_id": "a", "start": "2026-11-22T13:05:00Z" } }),
            422,
            Some("payload.duration_ms"),
        ),
        (
            json!({ "command": "request_clip", "payload": { "camera_id": "a", "start": "now", "duration_ms": 1 } }),
            422,
            Some("payload.start"),
        ),
        (json!({ "command": "restart_detection", "payload": { "camera_id": "A B" } }), 422, Some("payload.camera_id")),
        (json!({ "command": "get_status", "payload": { "verbose": true } }), 422, Some("payload.verbose")),
        (
            json!({ "command": "lock_footage", "payload": { "lock_id": "l", "camera_id": "a",
            "start": "2026-11-22T13:05:00Z", "end": "2026-11-22T13:05:00Z" } }),
            422,
            Some("payload.end"),
        ),
        (json!({ "command": "get_status", "expires_in_s": 0 }), 422, Some("expires_in_s")),
        (json!({ "command": "get_status", "expires_in_s": 604_801 }), 422, Some("expires_in_s")),
        (json!({ "command": "get_status", "wait_s": 61 }), 422, Some("wait_s")),
        (json!({ "command": "get_status", "priority": 1 }), 400, None),
        (json!({}), 400, None),
    ] {
        send(body).await.assert_problem(status, field);
    }
    let listed = cloud.get_as(&owner, &format!("{}/commands", path(&device))).await;
    assert_eq!(listed.body, json!({ "items": [], "next_cursor": null }));
}

#[tokio::test]
async fn a_command_can_be_taken_back_until_the_edge_is_told() {
    let (cloud, owner, device) = scene().await;
    let mut places = Vec::new();
    for _ in 0..3 {
        let body = json!({ "command": "restart_detection" });
        places.push(
            cloud.post_as(&owner, &format!("{}/command", path(&device)), body).await.header("location").to_owned(),
        );
    }
    let cancelled = cloud.post_as(&owner, &format!("{}/cancel", places[1]), json!({})).await;
    assert_eq!(cancelled.text("state"), "cancelled");
    let mut edge = MqttEdge::connect(&cloud, &device).await;
    let told = [edge.told("commands").await, edge.told("commands").await];
    for (told, place) in told.iter().zip([&places[0], &places[2]]) {
        assert!(place.ends_with(told["id"].as_str().unwrap()), "{told} {place}");
    }
    for place in [&places[0], &places[1]] {
        cloud.post_as(&owner, &format!("{place}/cancel"), json!({})).await.assert_problem(409, None);
    }
    let page = cloud.get_as(&owner, &format!("{}/commands?limit=2", path(&device))).await;
    assert_eq!(page.body["items"].as_array().unwrap().len(), 2);
    let rest = format!("{}/commands?limit=2&cursor={}", path(&device), page.text("next_cursor"));
    let rest = cloud.get_as(&owner, &rest).await;
    assert!(places[0].ends_with(rest.body["items"][0]["command_id"].as_str().unwrap()), "{rest:?}");
    assert!(rest.body["next_cursor"].is_null());
}

#[tokio::test]
async fn a_stopped_cloud_tells_the_edge_again_and_takes_the_answer_after_its_start() {
    let (mut cloud, owner, device) = scene().await;
    let mut edge = MqttEdge::connect(&cloud, &device).await;
    let body = json!({ "command": "update_zones" });
    let asked = cloud.post_as(&owner, &format!("{}/command", path(&device)), body).await;
    let first = edge.told("commands").await;
    drop(edge);
    cloud.restart().await;
    let mut edge = MqttEdge::connect(&cloud, &device).await;
    assert_eq!(edge.told("commands").await, first, "told again under the same id");
    edge.answer(&first, "succeeded", json!({})).await;
    assert_eq!(cloud.get_as(&owner, asked.header("location")).await.text("state"), "succeeded");
}

#[tokio::test]
async fn commands_of_others_and_of_revoked_edges_are_refused() {
    let (cloud, owner, device) = scene().await;
    let rival = cloud.register("rival").await;
    let body = || json!({ "command": "get_status" });
    let place =
        cloud.post_as(&owner, &format!("{}/command", path(&device)), body()).await.header("location").to_owned();
    cloud.post_as(&rival, &format!("{}/command", path(&device)), body()).await.assert_problem(404, None);
    cloud.get_as(&rival, &place).await.assert_problem(404, None);
    cloud.post_as(&rival, &format!("{place}/cancel"), json!({})).await.assert_problem(404, None);
    cloud.get_as(&rival, &format!("{}/commands", path(&device))).await.assert_problem(404, None);
    cloud.post_as(&owner, &format!("{}/revoke", path(&device)), json!({})).await.assert_ok();
    let refused = cloud.post_as(&owner, &format!("{}/command", path(&device)), body()).await;
    refused.assert_problem(409, Some("edge_id"));
}
