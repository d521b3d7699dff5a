//! Delivery of events over HTTPS, and the lists that show them.

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::zone_event::ZoneEventType;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Owner};
use crate::device::{Device, at, detection, zone_event};

async fn items(cloud: &Cloud, owner: &Owner, path: &str) -> Vec<Value> {
    let answer = cloud.get_as(owner, path).await;
    answer.assert_ok();
    answer.body["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_delivered_event_is_listed_once_as_it_was_seen() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let dwell = device.envelope(2, Body::ZoneEvents(zone_event(2, ZoneEventType::Dwell)));
    let batch = [device.detection(1), dwell.clone()];
    for _ in 0..2 {
        let answer = device.deliver(&cloud, &batch).await;
        assert_eq!(answer.body, json!({ "outbox": "outbox-1", "through": 2 }));
    }
    let detections = items(&cloud, &owner, "/api/events/detections").await;
    let received = detections[0]["received_at"].clone();
    let seen = json!({
        "id": batch[0].id.to_string(), "edge_id": device.edge_id, "camera_id": "door",
        "timestamp": "2026-11-22T13:05:00.001Z", "received_at": received, "object_class": "person", "confidence": 0.9,
        "bbox": [1.0, 2.5, 30.0, 40.1], "frame": { "width": 640, "height": 480 }, "track_id": "track-1",
        "phase": "start", "age_ms": 400,
    });
    assert_eq!(detections, [seen]);
    let zone_events = items(&cloud, &owner, "/api/events/zones").await;
    assert_eq!(zone_events.len(), 1);
    assert_eq!(zone_events[0]["event_type"], "dwell");
    assert_eq!(zone_events[0]["dwell_ms"], 10_000);
    assert!(zone_events[0]["exit_reason"].is_null());
}

#[tokio::test]
async fn lists_are_filtered_and_paged_by_their_parameters() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut car = detection(50);
    (car.object_class, car.confidence) = ("car".into(), 0.4);
    (car.camera_id, car.track_id) = ("yard".parse().unwrap(), "track-9".parse().unwrap());
    let mut batch: Vec<Envelope> = (1..=20).map(|seq| device.detection(seq)).collect();
    batch.push(device.envelope(21, Body::Detections(car)));
    batch.push(device.envelope(22, Body::ZoneEvents(zone_event(60, ZoneEventType::Enter))));
    batch.push(device.envelope(23, Body::ZoneEvents(zone_event(61, ZoneEventType::Exit))));
    device.deliver(&cloud, &batch).await.assert_ok();
    let edge = &device.edge_id;
    for (query, count) in [
        (String::new(), 21),
        ("?object_class=car".into(), 1),
        ("?camera_id=yard".into(), 1),
        ("?camera_id=door&object_class=car".into(), 0),
        ("?track_id=track-9".into(), 1),
        ("?min_confidence=0.5".into(), 20),
        (format!("?edge_id={edge}&limit=1000"), 21),
        ("?edge_id=edge_other".into(), 0),
        (format!("?start_time={}&end_time={}", at(5), at(10)), 5),
        ("?start_time=2026-11-22T13:05:00.020".into(), 2),
        ("?start_time=2026-11-22T14:05:00.020%2B01:00".into(), 2),
        ("?end_time=2026-11-22".into(), 0),
    ] {
        assert_eq!(items(&cloud, &owner, &format!("/api/events/detections{query}")).await.len(), count, "{query}");
    }
    for (query, count) in [("", 2), ("?event_type=exit", 1), ("?zone_id=lobby", 2), ("?zone_id=gate", 0)] {
        assert_eq!(items(&cloud, &owner, &format!("/api/events/zones{query}")).await.len(), count, "{query}");
    }
    let mut joined = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = cloud.get_as(&owner, &format!("/api/events/detections?limit=6{cursor}")).await;
        joined.extend(page.body["items"].as_array().unwrap().clone());
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(joined, items(&cloud, &owner, "/api/events/detections?limit=1000").await);
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("min_confidence=1.5", "min_confidence"),
        ("start_time=yesterday", "start_time"),
        ("camera_id=A%2FB", "camera_id"),
        ("edge_id=gate", "edge_id"),
        ("cursor=x", "cursor"),
        ("object_class=", "object_class"),
    ] {
        cloud.get_as(&owner, &format!("/api/events/detections?{query}")).await.assert_problem(400, Some(field));
    }
    cloud.get_as(&owner, "/api/events/zones?event_type=fly").await.assert_problem(400, Some("event_type"));
}

#[tokio::test]
async fn events_of_one_tenant_are_shown_to_no_other() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    for query in ["", "?camera_id=door", "?object_class=person", &format!("?edge_id={}", device.edge_id)] {
        assert!(items(&cloud, &rival, &format!("/api/events/detections{query}")).await.is_empty(), "{query}");
    }
    assert_eq!(items(&cloud, &owner, "/api/events/detections?camera_id=door").await.len(), 1);
}

#[tokio::test]
async fn a_batch_that_is_not_one_outbox_of_the_caller_in_order_is_refused_whole() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (device, other) = (Device::enrolled(&cloud, &owner).await, Device::enrolled(&cloud, &owner).await);
    let mut elsewhere = device.detection(2);
    elsewhere.outbox = "outbox-2".parse().unwrap();
    for (batch, field) in [
        (json!([]), "events"),
        (json!([device.detection(2), device.detection(1)]), "events"),
        (json!([device.detection(1), device.detection(1)]), "events"),
        (json!([device.detection(1), elsewhere]), "events"),
        (json!([device.detection(1), other.detection(2)]), "events[1]"),
        (json!([{ "kind": "status" }]), "events[0]"),
        (json!([{ "kind": "unheard-of" }]), "events[0]"),
        (json!([device.detection(1), 7]), "events[1]"),
    ] {
        device.deliver_raw(&cloud, json!({ "events": batch })).await.assert_problem(422, Some(field));
    }
    assert!(items(&cloud, &owner, "/api/events/detections").await.is_empty());
}

#[tokio::test]
async fn a_message_of_a_newer_edge_is_acknowledged_and_kept_aside() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut newer = serde_json::to_value(device.detection(2)).unwrap();
    newer["body"] = json!({ "a form": "of the future" });
    let batch = json!({ "events": [device.detection(1), newer] });
    assert_eq!(device.deliver_raw(&cloud, batch).await.body["through"], 2);
    assert_eq!(items(&cloud, &owner, "/api/events/detections").await.len(), 1);
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let kept: i64 = connection.query_row("select count(*) from quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn a_number_beyond_its_type_is_set_aside_and_spoils_no_list() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut beyond = serde_json::to_value(device.detection(2)).unwrap();
    // Read as a number of 32 bits this is infinite, and infinity has no JSON.
    beyond["body"]["confidence"] = json!(1e39);
    let batch = json!({ "events": [device.detection(1), beyond, device.detection(3)] });
    let answer = device.deliver_raw(&cloud, batch).await;
    assert_eq!(answer.body, json!({ "outbox": "outbox-1", "through": 3 }));
    assert_eq!(items(&cloud, &owner, "/api/events/detections").await.len(), 2);
}
