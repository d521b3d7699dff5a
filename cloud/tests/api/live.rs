//! The live feed.

use std::collections::VecDeque;

use aivms_contract::envelope::Body;
use aivms_contract::zone_event::ZoneEventType;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::alerts::{enters, lobby};
use crate::cloud::{Answer, Cloud, Owner, SOON};
use crate::device::{Device, at, zone_event};
use crate::people::join;

/// One event of the stream.
#[derive(Debug, Default, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// A client that reads as a browser's `EventSource` does.
struct Watcher {
    bytes: BoxStream<'static, String>,
    text: String,
    ready: VecDeque<Event>,
    /// What it would send as `Last-Event-ID`.
    last_id: String,
}

impl Watcher {
    async fn connect(cloud: &Cloud, owner: &Owner, last_id: Option<&str>) -> Self {
        let mut request = cloud.request(Method::GET, "/api/events/live").bearer_auth(&owner.token);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let bytes = response.bytes_stream().map(|piece| String::from_utf8(piece.unwrap().into()).unwrap()).boxed();
        let mut watcher = Self { bytes, text: String::new(), ready: VecDeque::new(), last_id: String::new() };
        // The stream is open when the first id has come.
        while watcher.last_id.is_empty() {
            watcher.read().await;
        }
        watcher
    }

    async fn next(&mut self) -> Event {
        while self.ready.is_empty() {
            self.read().await;
        }
        self.ready.pop_front().unwrap()
    }

    async fn read(&mut self) {
        let piece = tokio::time::timeout(SOON, self.bytes.next()).await.expect("something in time");
        self.text.push_str(&piece.expect("an open stream"));
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let mut event = Event { name: "message".into(), ..Event::default() };
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => (event.id, self.last_id) = (id.into(), id.into()),
                    Some(("event", name)) => event.name = name.into(),
                    Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                    _ => {}
                }
            }
            if !event.data.is_null() {
                self.ready.push_back(event);
            }
            self.text = rest.to_owned();
        }
    }
}

#[tokio::test]
async fn events_arrive_as_they_are_stored_in_the_shape_of_the_lists() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let (device, theirs) = (Device::enrolled(&cloud, &owner).await, Device::enrolled(&cloud, &rival).await);
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    let mut watcher = Watcher::connect(&cloud, &owner, None).await;
    theirs.deliver(&cloud, &[theirs.detection(1)]).await.assert_ok();
    let enter = device.envelope(3, Body::ZoneEvents(zone_event(3, ZoneEventType::Enter)));
    device.deliver(&cloud, &[device.detection(2), enter]).await.assert_ok();
    let (first, second) = (watcher.next().await, watcher.next().await);
    assert_eq!((first.name.as_str(), second.name.as_str()), ("detections", "zone-events"));
    let listed = cloud.get_as(&owner, "/api/events/detections?limit=1").await;
    assert_eq!(first.data, listed.body["items"][0], "what was stored before, and others' events, are not sent");
    let listed = cloud.get_as(&owner, "/api/events/zones?limit=1").await;
    assert_eq!(second.data, listed.body["items"][0]);
    assert!(first.id != second.id && first.id.len() == second.id.len(), "ids are sealed: they count nothing");
}

#[tokio::test]
async fn a_watcher_that_comes_back_gets_what_it_missed() {
    let mut cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut watcher = Watcher::connect(&cloud, &owner, None).await;
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    assert_eq!(watcher.next().await.data["age_ms"], 400);
    let id = watcher.last_id.clone();
    drop(watcher);
    let missed: Vec<_> = (2..=301).map(|seq| device.detection(seq)).collect();
    device.deliver(&cloud, &missed).await.assert_ok();
    cloud.restart().await;
    let mut watcher = Watcher::connect(&cloud, &owner, Some(&id)).await;
    for envelope in &missed {
        assert_eq!(watcher.next().await.data["id"], envelope.id.to_string());
    }
    let next = device.detection(302);
    device.deliver(&cloud, std::slice::from_ref(&next)).await.assert_ok();
    assert_eq!(watcher.next().await.data["id"], next.id.to_string());
}

#[tokio::test]
async fn a_watcher_that_missed_too_much_is_sent_to_the_lists() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut watcher = Watcher::connect(&cloud, &owner, None).await;
    let beginning = watcher.last_id.clone();
    let sent: Vec<_> = (1..=1_200).map(|seq| device.detection(seq)).collect();
    for batch in sent.chunks(400) {
        device.deliver(&cloud, batch).await.assert_ok();
    }
    let mut ids = Vec::new();
    for _ in 0..1_200 {
        ids.push(watcher.next().await.id);
    }
    let mut late = Watcher::connect(&cloud, &owner, Some(&beginning)).await;
    assert_eq!(late.next().await.name, "reset");
    let mut watcher = Watcher::connect(&cloud, &owner, Some(&ids[199])).await;
    assert_eq!(watcher.next().await.data["id"], sent[200].id.to_string());
}

#[tokio::test]
async fn who_is_limited_to_a_camera_hears_nothing_of_another_one() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let door = json!([{ "edge_id": device.edge_id, "camera_id": "door" }]);
    let rights = json!({ "role": "viewer", "cameras": door });
    let (guard, _) = join(&cloud, &owner, "guard@acme.example", rights).await;
    let mut watcher = Watcher::connect(&cloud, &guard, None).await;
    let camera = |id: &str| json!({ "camera_id": id, "state": "streaming", "since": at(0), "detect_fps": 5.0 });
    let chain = |id: &str| json!({ "camera_id": id, "seq": 1, "sha256": "00".repeat(32) });
    let notice = |id: Option<&str>| json!({ "code": "x", "message": "x", "camera_id": id });
    let report = json!({ "timestamp": at(1), "version": "1.2.3", "uptime_s": 7, "disk_total_bytes": 100,
        "disk_free_bytes": 40, "cameras": [camera("door"), camera("yard")], "chains": [chain("door"), chain("yard")],
        "notices": [notice(Some("door")), notice(Some("yard")), notice(None)],
        "outbox": { "entries": 3, "bytes": 300, "shed": 0 } });
    let mut elsewhere = zone_event(2, ZoneEventType::Enter);
    elsewhere.camera_id = "yard".parse().unwrap();
    let report = device.envelope(1, Body::Health(serde_json::from_value(report).unwrap()));
    let elsewhere = device.envelope(2, Body::ZoneEvents(elsewhere));
    device.deliver(&cloud, &[report, elsewhere, device.detection(3)]).await.assert_ok();
    let (health, next) = (watcher.next().await, watcher.next().await);
    assert_eq!((health.name.as_str(), next.name.as_str()), ("health", "detections"));
    assert!(!health.data.to_string().contains("yard"), "{}", health.data);
    for (member, items) in [("cameras", 1), ("chains", 1), ("notices", 2)] {
        assert_eq!(health.data[member].as_array().map(Vec::len), Some(items), "{member}");
    }
}

#[tokio::test]
async fn a_wrong_last_event_id_is_named() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let rival = cloud.register("rival").await;
    let foreign = Watcher::connect(&cloud, &rival, None).await.last_id;
    for id in ["x", "-1", "7", &foreign] {
        let request = cloud.request(Method::GET, "/api/events/live").bearer_auth(&owner.token);
        Answer::of(request.header("last-event-id", id)).await.assert_problem(400, Some("Last-Event-ID"));
    }
}

#[tokio::test]
async fn alerts_arrive_as_they_are_raised_and_changed_also_after_a_break() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let (device, theirs) = (Device::enrolled(&cloud, &owner).await, Device::enrolled(&cloud, &rival).await);
    for owner in [&owner, &rival] {
        cloud.post_as(owner, "/api/rules", lobby()).await.assert_ok();
    }
    let mut watcher = Watcher::connect(&cloud, &owner, None).await;
    theirs.deliver(&cloud, &[enters(&theirs, 1, 60, "t1")]).await.assert_ok();
    device.deliver(&cloud, &[enters(&device, 1, 60, "t1")]).await.assert_ok();
    let (event, alert) = (watcher.next().await, watcher.next().await);
    assert_eq!((event.name.as_str(), alert.name.as_str()), ("zone-events", "alert"));
    assert_eq!((&alert.data["state"], &alert.data["event_id"]), (&"open".into(), &event.data["id"]));
    let path = format!("/api/events/alerts/{}", alert.data["alert_id"].as_str().unwrap());
    let step = async |name: &str| cloud.post_as(&owner, &format!("{path}/{name}"), serde_json::json!({})).await;
    step("acknowledge").await.assert_ok();
    assert_eq!(watcher.next().await.data["state"], "acknowledged");
    let seen = watcher.last_id.clone();
    drop(watcher);
    step("resolve").await.assert_ok();
    device.deliver(&cloud, &[enters(&device, 2, 30, "t2")]).await.assert_ok();
    let mut watcher = Watcher::connect(&cloud, &owner, Some(&seen)).await;
    let missed = [watcher.next().await, watcher.next().await, watcher.next().await];
    let told = missed.map(|event| (event.name, event.data["state"].as_str().unwrap_or_default().to_owned()));
    let expected = [("zone-events", ""), ("alert", "resolved"), ("alert", "open")];
    assert_eq!(told, expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
}
