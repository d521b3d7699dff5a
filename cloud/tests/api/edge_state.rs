//! Names, labels, presence, health and certificates of edges.

use std::time::Duration;

use aivms_cloud::config::PresenceConfig;
use aivms_contract::envelope::Body;
use reqwest::Method;
use serde_json::json;

use crate::cloud::{Cloud, SOON};
use crate::device::{Device, at};
use crate::mqtt_edge::MqttEdge;

#[tokio::test]
async fn edges_are_renamed_labelled_and_found_by_their_labels() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let mut edges = Vec::new();
    for n in 0..3 {
        let (edge, _) = cloud.register_edge(&owner).await;
        let labels = json!({ "site": "Kai 3", "floor": (n % 2).to_string() });
        let change = json!({ "name": format!("Edge {n}"), "labels": labels });
        let changed = cloud.send_as(&owner, Method::PATCH, &format!("/api/tenant/edges/{edge}"), change).await;
        assert_eq!((changed.text("name"), &changed.body["labels"]), (format!("Edge {n}"), &labels));
        edges.push(edge);
    }
    let find = async |query: &str| {
        let listed = cloud.get_as(&owner, &format!("/api/tenant/edges?{query}")).await;
        let items = listed.body["items"].as_array().unwrap_or_else(|| panic!("{listed:?}")).clone();
        let ids: Vec<_> = items.iter().map(|edge| edge["edge_id"].as_str().unwrap().to_owned()).collect();
        (ids, listed.body["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(find("label=floor:0&label=site:Kai%203").await.0, [edges[0].clone(), edges[2].clone()]);
    assert!(find("label=floor:7").await.0.is_empty());
    let (first, cursor) = find("limit=2").await;
    let (rest, end) = find(&format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(([first, rest].concat(), end), (edges.clone(), None));
    cloud.get_as(&owner, "/api/tenant/edges?label=floor").await.assert_problem(400, Some("label"));
    let path = format!("/api/tenant/edges/{}", edges[0]);
    for (change, field) in [(json!({ "labels": { "A B": "x" } }), "labels"), (json!({ "name": " " }), "name")] {
        cloud.send_as(&owner, Method::PATCH, &path, change).await.assert_problem(422, Some(field));
    }
    let rival = cloud.register("rival").await;
    cloud.send_as(&rival, Method::PATCH, &path, json!({ "name": "mine" })).await.assert_problem(404, None);
}

#[tokio::test]
async fn an_edge_that_goes_and_comes_is_told_of_after_the_hold_off() {
    let mut cloud = Cloud::start().await;
    cloud.edge_timeout_seconds = 2;
    cloud.presence = PresenceConfig { offline_hold_off_seconds: 1, stable_seconds: 0 };
    cloud.restart().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let path = format!("/api/tenant/edges/{}/presence", device.edge_id);
    assert_eq!(cloud.get_as(&owner, &path).await.body["items"], json!([]));
    let kinds = async |count: usize| {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let listed = cloud.get_as(&owner, &path).await;
            let items = listed.body["items"].as_array().unwrap().clone();
            if items.len() >= count {
                return items.iter().map(|item| item["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
            }
            assert!(std::time::Instant::now() < deadline, "{listed:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    drop(MqttEdge::connect(&cloud, &device).await);
    assert_eq!(kinds(1).await, ["online"]);
    assert_eq!(kinds(2).await, ["offline", "online"]);
    let _edge = MqttEdge::connect(&cloud, &device).await;
    assert_eq!(kinds(3).await, ["online", "offline", "online"]);
}

#[tokio::test]
async fn the_newest_health_report_and_those_before_it_are_shown() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    let path = format!("/api/tenant/edges/{}/health", device.edge_id);
    cloud.get_as(&owner, &path).await.assert_problem(404, None);
    let report = |seq: u64, days: f64| {
        let camera = json!({ "camera_id": "door", "state": "streaming", "since": at(0), "detect_fps": 4.9, "recording":
            { "state": "recording", "bytes": 5, "forecast_days": days, "continuity_percent": 99.5 } });
        let report = json!({ "timestamp": at(i64::try_from(seq).unwrap()), "version": "1.2.3", "uptime_s": 7,
            "disk_total_bytes": 100, "disk_free_bytes": 40, "cameras": [camera],
            "outbox": { "entries": 3, "bytes": 300, "shed": 0 } });
        device.envelope(seq, Body::Health(serde_json::from_value(report).unwrap()))
    };
    device.deliver(&cloud, &[report(1, 12.5), report(2, 9.5)]).await.assert_ok();
    let newest = cloud.get_as(&owner, &path).await;
    assert_eq!((&newest.body["forecast_days"], &newest.body["outbox"]["entries"]), (&9.5.into(), &3.into()));
    let camera = &newest.body["cameras"][0];
    assert_eq!(
        (&camera["state"], &camera["detect_fps"], &camera["recording"]["continuity_percent"]),
        (&"streaming".into(), &4.9.into(), &99.5.into())
    );
    let history = cloud.get_as(&owner, &format!("{path}/history?start_time={}", at(0))).await;
    let forecasts: Vec<_> =
        history.body["items"].as_array().unwrap().iter().map(|r| r["forecast_days"].clone()).collect();
    assert_eq!(forecasts, [json!(9.5), json!(12.5)]);
    for path in [path.clone(), format!("{path}/history")] {
        cloud.get_as(&rival, &path).await.assert_problem(404, None);
    }
}

#[tokio::test]
async fn an_edges_certificates_are_listed_with_what_became_of_them() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    device.renew(&cloud).await;
    let path = format!("/api/tenant/edges/{}/certificates", device.edge_id);
    let states = async || {
        let listed = cloud.get_as(&owner, &path).await;
        let items = listed.body["items"].as_array().unwrap().clone();
        assert!(items.iter().all(|item| item["fingerprint"].as_str().unwrap().len() == 64), "{listed:?}");
        items.iter().map(|item| item["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states().await, ["active", "active"], "a renewed one counts until its end");
    cloud.post_as(&owner, &format!("/api/tenant/edges/{}/rotate-secret", device.edge_id), json!({})).await.assert_ok();
    assert_eq!(states().await, ["revoked", "revoked"]);
    cloud.get_as(&rival, &path).await.assert_problem(404, None);
}
