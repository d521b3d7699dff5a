//! Alert rules and alerts.

use aivms_contract::alert::{Alert, Severity};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::ZoneEventType;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner};
use crate::device::{Device, now_s, zone_event};
use crate::people::join;

/// A rule for whoever enters the lobby.
pub(crate) fn lobby() -> Value {
    json!({ "name": "Lobby", "kind": "zone", "severity": "warning", "zones": ["lobby"], "event_types": ["enter"] })
}

/// Somebody enters the lobby `ago` seconds ago.
pub(crate) fn enters(device: &Device, seq: u64, ago: u64, track: &str) -> Envelope {
    let mut event = zone_event(0, ZoneEventType::Enter);
    event.timestamp = UtcMillis::from_millis(i64::try_from((now_s() - ago) * 1000).unwrap());
    event.track_id = track.parse().unwrap();
    device.envelope(seq, Body::ZoneEvents(event))
}

pub(crate) async fn items(cloud: &Cloud, owner: &Owner, path: &str) -> Vec<Value> {
    let answer = cloud.get_as(owner, path).await;
    answer.assert_ok();
    answer.body["items"].as_array().unwrap().clone()
}

async fn with_version(cloud: &Cloud, owner: &Owner, method: Method, path: &str, version: &str, body: &Value) -> Answer {
    let request = cloud.request(method, path).bearer_auth(&owner.token).header("if-match", version);
    Answer::of(request.json(body)).await
}

#[tokio::test]
async fn a_rule_is_changed_and_deleted_by_who_has_seen_its_version() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let made = cloud.post_as(&owner, "/api/rules", lobby()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    assert_eq!(cloud.get_as(&owner, &path).await.body, made.body);
    let rule = &made.body["rule"];
    assert_eq!((&rule["per"], &rule["enabled"], &rule["cooldown_s"]), (&json!("camera"), &json!(true), &json!(0)));
    let mut changed = rule.clone();
    changed["cooldown_s"] = json!(60);
    let answer = with_version(&cloud, &owner, Method::PUT, &path, "\"1\"", &changed).await;
    assert_eq!((&answer.body["version"], &answer.body["rule"]), (&json!(2), &changed));
    let late = with_version(&cloud, &owner, Method::PUT, &path, "\"1\"", rule).await;
    late.assert_problem(409, Some("If-Match"));
    with_version(&cloud, &owner, Method::DELETE, &path, "\"1\"", &json!({}))
        .await
        .assert_problem(409, Some("If-Match"));
    with_version(&cloud, &owner, Method::DELETE, &path, "2", &json!({})).await.assert_problem(400, Some("If-Match"));
    assert_eq!(with_version(&cloud, &owner, Method::DELETE, &path, "\"2\"", &json!({})).await.status, 204);
    cloud.get_as(&owner, &path).await.assert_problem(404, None);
    // Those that every tenant begins with.
    let names: Vec<_> = items(&cloud, &owner, "/api/rules").await.iter().map(|r| r["rule"]["name"].clone()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = cloud.get_as(&owner, &format!("/api/rules?limit=3{cursor}")).await;
        paged.extend(page.body["items"].as_array().unwrap().iter().map(|r| r["rule"]["name"].clone()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, names);
}

#[tokio::test]
async fn a_rule_names_no_camera_that_may_not_be_seen() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let door = json!([{ "edge_id": device.edge_id, "camera_id": "door" }]);
    let (guard, _) = join(&cloud, &owner, "g@acme.example", json!({ "role": "viewer", "cameras": door })).await;
    let make = async |cameras: Value| {
        let mut rule = lobby();
        rule["cameras"] = cameras;
        let made = cloud.post_as(&owner, "/api/rules", rule).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.header("location").to_owned()
    };
    let both = make(json!([{ "camera_id": "door" }, { "edge_id": device.edge_id, "camera_id": "yard" }])).await;
    let other = make(json!([{ "camera_id": "yard" }])).await;
    let seen = cloud.get_as(&guard, &both).await.body["rule"]["cameras"].clone();
    assert_eq!(seen, json!([{ "edge_id": null, "camera_id": "door" }]));
    cloud.get_as(&guard, &other).await.assert_problem(404, None);
    cloud.get_as(&owner, &other).await.assert_ok();
    let listed = cloud.get_as(&guard, "/api/rules").await.body;
    let all = items(&cloud, &owner, "/api/rules").await.len();
    assert!(listed["items"].as_array().unwrap().len() == all - 1 && !listed.to_string().contains("yard"), "{listed}");
}

#[tokio::test]
async fn a_rule_that_means_nothing_is_refused_by_its_member() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    for (member, value, field) in [
        ("edges", json!(["gate"]), "edges[0]"),
        ("zones", json!(["A/B"]), "zones[0]"),
        ("min_confidence", json!(7), "min_confidence"),
        ("time_zone", json!("Europe/Atlantis"), "time_zone"),
        ("schedule", json!([]), "schedule"),
        ("schedule", json!([{ "from": "25:00", "to": "06:00" }]), "schedule[0].from"),
        ("severity", json!(null), "severity"),
        ("alert_types", json!(["tamper"]), "alert_types"),
        ("repeated", json!({ "times": 1, "within_s": 5 }), "repeated.times"),
        ("escalation", json!([{ "after_minutes": 0 }]), "escalation[0].after_minutes"),
        ("targets", json!(["chn_01kb3x0v7t5m9q2r8s4w6y1z3a"]), "targets"),
        ("escalation", json!([{ "after_minutes": 5, "targets": ["boss"] }]), "escalation[0].targets"),
    ] {
        let mut rule = lobby();
        rule[member] = value;
        cloud.post_as(&owner, "/api/rules", rule).await.assert_problem(422, Some(field));
    }
    for (member, value) in [("kind", json!("thought")), ("cool_down", json!(5)), ("name", json!(7))] {
        let mut rule = lobby();
        rule[member] = value;
        cloud.post_as(&owner, "/api/rules", rule).await.assert_problem(400, None);
    }
}

#[tokio::test]
async fn an_alert_is_raised_once_and_lives_from_open_to_resolved() {
    let mut cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    let mut rule = lobby();
    rule["escalation"] = json!([{ "after_minutes": 5, "severity": "critical" }]);
    cloud.post_as(&owner, "/api/rules", rule).await.assert_ok();
    let event = enters(&device, 1, 60, "t1");
    for _ in 0..3 {
        device.deliver(&cloud, std::slice::from_ref(&event)).await.assert_ok();
    }
    cloud.restart().await;
    device.deliver(&cloud, std::slice::from_ref(&event)).await.assert_ok();
    let open = items(&cloud, &owner, "/api/events/alerts?acknowledged=false").await;
    assert_eq!(open.len(), 1, "{open:?}");
    let alert = &open[0];
    assert_eq!((&alert["event_id"], &alert["camera_id"]), (&json!(event.id.to_string()), &json!("door")));
    assert_eq!((&alert["state"], &alert["severity"]), (&json!("open"), &json!("warning")));
    assert!(alert["escalates_at"].is_string(), "{alert}");
    let path = format!("/api/events/alerts/{}", alert["alert_id"].as_str().unwrap());
    let detail = cloud.get_as(&owner, &path).await.body;
    assert_eq!(&detail["alert"], alert);
    assert!(detail["why"].as_array().unwrap().iter().any(|why| why["gate"] == "zone" && why["passed"] == true));
    assert_eq!((&detail["history"][0]["step"], &detail["clips"]), (&json!("raised"), &json!([])));
    let step = async |name: &str, body: Value| cloud.post_as(&owner, &format!("{path}/{name}"), body).await;
    let acknowledged = step("acknowledge", json!({ "comment": "on my way" })).await;
    assert_eq!(
        (&acknowledged.body["state"], &acknowledged.body["acknowledged_by"]),
        (&json!("acknowledged"), &json!("Owner"))
    );
    assert_eq!(acknowledged.body["escalates_at"], Value::Null);
    assert_eq!(step("acknowledge", json!({})).await.body, acknowledged.body);
    step("assign", json!({ "email": "owner@rival.example" })).await.assert_problem(422, Some("email"));
    step("assign", json!({ "email": "nobody@acme.example" })).await.assert_problem(422, Some("email"));
    let assigned = step("assign", json!({ "email": "Owner@acme.example" })).await;
    assert_eq!(assigned.body["assigned_to"], "Owner");
    step("comment", json!({ "comment": "" })).await.assert_problem(422, Some("comment"));
    step("comment", json!({ "comment": "a\u{0}b" })).await.assert_problem(422, Some("comment"));
    step("comment", json!({ "comment": "it was the cat" })).await.assert_ok();
    assert_eq!(step("resolve", json!({})).await.body["state"], "resolved");
    step("acknowledge", json!({})).await.assert_problem(409, None);
    assert_eq!(step("reopen", json!({})).await.body["state"], "open");
    let history = cloud.get_as(&owner, &path).await.body["history"].clone();
    let told: Vec<_> =
        history.as_array().unwrap().iter().map(|s| (s["step"].as_str().unwrap(), s["note"].as_str())).collect();
    assert_eq!(
        told,
        [
            ("raised", None),
            ("acknowledged", Some("on my way")),
            ("assigned", Some("Owner")),
            ("commented", Some("it was the cat")),
            ("resolved", None),
            ("reopened", None),
        ]
    );
    let never = "/api/events/alerts/01KB3X0V7T5M9Q2R8S4W6Y1Z3A";
    assert_eq!(cloud.get_as(&rival, &path).await.status, 404);
    assert_eq!(cloud.get_as(&owner, never).await.status, 404);
    cloud.post_as(&rival, &format!("{path}/acknowledge"), json!({})).await.assert_problem(404, None);
    assert!(items(&cloud, &rival, "/api/events/alerts").await.is_empty());
}

#[tokio::test]
async fn alerts_are_filtered_and_folded_to_incidents() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let rule = cloud.post_as(&owner, "/api/rules", lobby()).await.text("rule_id");
    let now = UtcMillis::from_millis(i64::try_from(now_s() * 1000).unwrap());
    let told = Alert {
        camera_id: "yard".parse().unwrap(),
        timestamp: now,
        alert_type: "tamper".into(),
        severity: Severity::Critical,
        title: "Camera covered".into(),
        clip_id: None,
        event_id: None,
    };
    let batch = [
        enters(&device, 1, 4_000, "t1"),
        enters(&device, 2, 120, "t2"),
        enters(&device, 3, 60, "t3"),
        device.envelope(4, Body::Alerts(told)),
    ];
    device.deliver(&cloud, &batch).await.assert_ok();
    for (query, count) in [
        (String::new(), 4),
        ("?acknowledged=true".into(), 0),
        ("?acknowledged=true&state=open".into(), 0),
        ("?acknowledged=false&state=open".into(), 4),
        ("?severity=critical".into(), 1),
        ("?severity=warning".into(), 4),
        (format!("?rule_id={rule}"), 3),
        ("?camera_id=yard".into(), 1),
        (format!("?edge_id={}", device.edge_id), 4),
        ("?edge_id=edge_other".into(), 0),
        ("?assigned_to_me=true".into(), 0),
        (format!("?end_time={}", batch[1].at), 1),
        (format!("?start_time={}", batch[1].at), 3),
    ] {
        assert_eq!(items(&cloud, &owner, &format!("/api/events/alerts{query}")).await.len(), count, "{query}");
    }
    let incidents = items(&cloud, &owner, "/api/events/incidents").await;
    let sizes: Vec<_> = incidents.iter().map(|i| (i["open"].clone(), i["severity"].clone())).collect();
    assert_eq!(sizes, [(json!(3), json!("critical")), (json!(1), json!("warning"))]);
    let id = incidents[0]["incident_id"].as_str().unwrap();
    assert_eq!(cloud.get_as(&owner, &format!("/api/events/incidents/{id}")).await.body, incidents[0]);
    assert_eq!(items(&cloud, &owner, &format!("/api/events/alerts?incident_id={id}")).await.len(), 3);
    assert!(items(&cloud, &owner, "/api/events/incidents?state=resolved").await.is_empty());
    let first = cloud.get_as(&owner, "/api/events/alerts?limit=3").await;
    let cursor = first.text("next_cursor");
    assert_eq!(items(&cloud, &owner, &format!("/api/events/alerts?cursor={cursor}")).await.len(), 1);
}

#[tokio::test]
async fn what_was_stopped_says_by_what() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut rule = lobby();
    (rule["min_confidence"], rule["cooldown_s"]) = (json!(0.5), json!(600));
    cloud.post_as(&owner, "/api/rules", rule).await.assert_ok();
    device.deliver(&cloud, &[enters(&device, 1, 90, "t1"), enters(&device, 2, 60, "t2")]).await.assert_ok();
    let stopped = items(&cloud, &owner, "/api/events/alerts/suppressed").await;
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    assert_eq!((&stopped[0]["stopped_by"], &stopped[0]["times"]), (&json!("cooldown"), &json!(1)));
    assert_eq!(stopped[0]["rule_name"], "Lobby");
    let why = stopped[0]["why"].as_array().unwrap();
    assert_eq!(
        why.last().unwrap(),
        &json!({ "gate": "cooldown", "passed": false, "value": "30 s", "wanted": ">= 600 s" })
    );
    assert!(
        why.contains(&json!({ "gate": "confidence", "passed": true, "value": "0.9", "wanted": ">= 0.5" })),
        "{why:?}"
    );
}

#[tokio::test]
async fn a_trial_says_what_a_rule_would_have_raised_and_raises_nothing() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    let mut today = lobby();
    today["cooldown_s"] = json!(600);
    let rule_id = cloud.post_as(&owner, "/api/rules", today).await.text("rule_id");
    let batch: Vec<_> = (1..=5).map(|seq| enters(&device, seq, 3_600 - seq * 60, &format!("t{seq}"))).collect();
    device.deliver(&cloud, &batch).await.assert_ok();
    let trial = async |body: Value| cloud.post_as(&owner, "/api/rules/backtest", body).await;
    let report = trial(json!({ "rule": lobby(), "rule_id": rule_id, "days": 7 })).await;
    report.assert_ok();
    let counts = ["looked_at", "both", "only_new", "only_old"].map(|member| report.body[member].clone());
    assert_eq!(counts, [5, 1, 4, 0].map(Value::from), "{:?}", report.body);
    assert_eq!(report.body["alerts"][0]["raised_by"], "both");
    assert_eq!(report.body["alerts"][0]["event_id"], batch[0].id.to_string());
    let alone = trial(json!({ "rule_id": rule_id, "days": 1 })).await;
    assert_eq!(
        (&alone.body["only_new"], &alone.body["stopped_by"]),
        (&json!(1), &json!([{ "gate": "cooldown", "times": 4 }]))
    );
    assert_eq!(items(&cloud, &owner, "/api/events/alerts").await.len(), 1, "a trial raises nothing");
    trial(json!({ "days": 1 })).await.assert_problem(422, Some("rule"));
    trial(json!({ "rule": lobby(), "days": 32 })).await.assert_problem(422, Some("days"));
    trial(json!({ "rule_id": "x", "days": 1 })).await.assert_problem(422, Some("rule_id"));
    let foreign = cloud.post_as(&rival, "/api/rules/backtest", json!({ "rule_id": rule_id, "days": 1 })).await;
    foreign.assert_problem(404, None);
}
