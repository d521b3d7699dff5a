//! Charts over HTTP.

use aivms_contract::envelope::Body;
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::ZoneEventType;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::device::{Device, detection, zone_event};

fn time(text: &str) -> UtcMillis {
    text.parse().unwrap()
}

#[tokio::test]
async fn detections_are_counted_by_the_hours_of_the_stated_time_zone() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    // 00:30, 01:30 and 01:45 in UTC are 02:30 summer time, and 02:30 and 02:45 winter time in Berlin.
    let times = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:45:00Z"];
    let envelopes: Vec<_> = (1..)
        .zip(times)
        .map(|(seq, text)| {
            let mut seen = detection(0);
            seen.timestamp = time(text);
            device.envelope(seq, Body::Detections(seen))
        })
        .collect();
    device.deliver(&cloud, &envelopes).await.assert_ok();
    let range = "start_time=2026-10-24T22:00:00Z&end_time=2026-10-25T23:00:00Z&tz=Europe/Berlin";
    let hours = cloud.get_as(&owner, &format!("/api/events/analytics/detections?group_by=hour&{range}")).await;
    hours.assert_ok();
    let items = hours.body["items"].as_array().unwrap();
    assert_eq!((items.len(), &hours.body["total"]), (25, &json!(3)));
    let twice: Vec<_> = items[2..4].iter().map(|item| (item["start"].as_str().unwrap(), &item["count"])).collect();
    assert_eq!(twice, [("2026-10-25T02:00:00+02:00", &json!(1)), ("2026-10-25T02:00:00+01:00", &json!(2))]);
    let days = cloud.get_as(&owner, &format!("/api/events/analytics/detections?group_by=day&{range}")).await;
    assert_eq!(days.body["items"].as_array().unwrap().len(), 1);
    let class = cloud.get_as(&owner, &format!("/api/events/analytics/detections?group_by=class&{range}")).await;
    assert_eq!(class.body["items"][0]["object_class"], "person");
    let camera = cloud.get_as(&owner, &format!("/api/events/analytics/detections?group_by=camera&{range}")).await;
    assert_eq!(
        (&camera.body["items"][0]["edge_id"], &camera.body["items"][0]["count"]),
        (&json!(device.edge_id), &json!(3))
    );
}

#[tokio::test]
async fn zones_are_counted_and_wrong_questions_are_refused_by_field() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut event = zone_event(0, ZoneEventType::Enter);
    event.timestamp = time("2026-10-25T00:30:00Z");
    device.deliver(&cloud, &[device.envelope(1, Body::ZoneEvents(event))]).await.assert_ok();
    let range = "start_time=2026-10-25&end_time=2026-10-26";
    let zones = cloud.get_as(&owner, &format!("/api/events/analytics/zones?{range}")).await;
    zones.assert_ok();
    let items = zones.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!((&items[0]["enters"], &items[0]["stays"]["mean_ms"]), (&json!(1), &Value::Null));
    let path = "/api/events/analytics/detections";
    for (query, status, field) in [
        ("tz=Mars/Olympus", 422, "tz"),
        ("start_time=2026-10-26&end_time=2026-10-25", 422, "end_time"),
        ("start_time=2020-01-01&end_time=2026-01-01", 422, "end_time"),
        ("group_by=week", 400, "group_by"),
    ] {
        cloud.get_as(&owner, &format!("{path}?{query}")).await.assert_problem(status, Some(field));
    }
    assert_eq!(cloud.get_as(&owner, path).await.status, StatusCode::OK);
}
