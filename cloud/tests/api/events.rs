//! Delivery of events over HTTPS, and the lists that show them.

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::why::{Check, Gate};
use aivms_contract::zone_event::{ExitReason, ZoneEventType};
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
        "phase": "start", "age_ms": 400, "stationary": false,
    });
    assert_eq!(detections, [seen]);
    let zone_events = items(&cloud, &owner, "/api/events/zones").await;
    assert_eq!(zone_events.len(), 1);
    assert_eq!(zone_events[0]["event_type"], "dwell");
    assert_eq!(zone_events[0]["dwell_ms"], 10_000);
    assert!(zone_events[0]["exit_reason"].is_null());
    assert_eq!((&zone_events[0]["count"], &zone_events[0]["speed_kmh"]), (&Value::Null, &Value::Null));
    assert_eq!(zone_events[0]["why"], json!([]));
}

#[tokio::test]
async fn counts_speeds_rest_and_reasons_are_shown_as_the_edge_said_them() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut parked = detection(1);
    parked.stationary = true;
    let mut occupied = zone_event(2, ZoneEventType::Occupied);
    let check = |gate, value| Check { gate, passed: true, value, limit: value };
    (occupied.count, occupied.why) = (Some(3), vec![check(Gate::Occupancy, Some(3.0)), check(Gate::Schedule, None)]);
    let mut cleared = zone_event(3, ZoneEventType::Cleared);
    (cleared.count, cleared.speed_kmh) = (Some(2), Some(4.7));
    let mut ended = zone_event(4, ZoneEventType::Exit);
    ended.exit_reason = Some(ExitReason::ScheduleEnded);
    let bodies =
        [Body::Detections(parked), Body::ZoneEvents(occupied), Body::ZoneEvents(cleared), Body::ZoneEvents(ended)];
    let batch: Vec<_> = (1..).zip(bodies).map(|(seq, body)| device.envelope(seq, body)).collect();
    device.deliver(&cloud, &batch).await.assert_ok();
    assert_eq!(items(&cloud, &owner, "/api/events/detections").await[0]["stationary"], true);

    let of_type = async |name: &str| {
        let found = items(&cloud, &owner, &format!("/api/events/zones?event_type={name}")).await;
        assert_eq!((found.len(), found[0]["event_type"].as_str()), (1, Some(name)));
        found[0].clone()
    };
    let occupied = of_type("occupied").await;
    assert_eq!(occupied["count"], 3);
    let why = json!([{ "gate": "occupancy", "passed": true, "value": 3.0, "limit": 3.0 },
        { "gate": "schedule", "passed": true, "value": null, "limit": null }]);
    assert_eq!(occupied["why"], why);
    let cleared = of_type("cleared").await;
    assert_eq!((&cleared["count"], &cleared["speed_kmh"]), (&json!(2), &json!(4.7)));
    assert_eq!(of_type("exit").await["exit_reason"], "schedule_ended");
    assert_eq!(items(&cloud, &owner, "/api/events/zones").await.len(), 3);
}

/// Bodies in the words of the first edges, which said nothing of counts, speeds, rest and reasons.
#[tokio::test]
async fn events_of_an_older_edge_and_rows_stored_before_are_still_shown() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let enter = device.envelope(2, Body::ZoneEvents(zone_event(2, ZoneEventType::Enter)));
    device.deliver(&cloud, &[device.detection(1), enter]).await.assert_ok();
    // A body is stored without what was not said: byte for byte what the first version stored.
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let bodies: Vec<String> = connection
        .prepare("select body from events order by seq")
        .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
        .unwrap();
    let seen = r#"{"camera_id":"door","timestamp":"2026-11-22T13:05:00.001Z","object_class":"person","confidence":0.9,"bbox":[1.0,2.5,30.0,40.1],"frame":{"width":640,"height":480},"track_id":"track-1","phase":"start","age_ms":400}"#;
    let entered = r#"{"camera_id":"door","zone_id":"lobby","timestamp":"2026-11-22T13:05:00.002Z","event_type":"enter","object_class":"person","confidence":0.9,"track_id":"track-1","bbox":[1.0,2.5,30.0,40.1],"frame":{"width":640,"height":480}}"#;
    assert_eq!(bodies, [seen, entered]);
    assert_eq!(items(&cloud, &owner, "/api/events/detections").await[0]["stationary"], false);
    let shown = &items(&cloud, &owner, "/api/events/zones").await[0];
    assert_eq!((&shown["count"], &shown["speed_kmh"], &shown["why"]), (&Value::Null, &Value::Null, &json!([])));
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
    let enter = device.envelope(4, Body::ZoneEvents(zone_event(4, ZoneEventType::Enter)));
    let mut fast = serde_json::to_value(enter).unwrap();
    fast["body"]["speed_kmh"] = json!(1e39);
    let batch = json!({ "events": [device.detection(1), beyond, device.detection(3), fast] });
    let answer = device.deliver_raw(&cloud, batch).await;
    assert_eq!(answer.body, json!({ "outbox": "outbox-1", "through": 4 }));
    assert_eq!(items(&cloud, &owner, "/api/events/detections").await.len(), 2);
    assert!(items(&cloud, &owner, "/api/events/zones").await.is_empty());
}
