//! Trials of rules through the running cloud: on edges that really went and came, and one at a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aivms_cloud::config::PresenceConfig;
use serde_json::{Value, json};

use crate::alerts::{enters, lobby};
use crate::cloud::{Answer, Cloud, Owner, SOON};
use crate::device::Device;
use crate::mqtt_edge::MqttEdge;

const KINDS: [&str; 3] = ["edge_offline", "edge_online", "take_over"];

/// Alerts by what they are of: time, edge and line.
type Raised = BTreeSet<[String; 3]>;

fn raised(alerts: &Value) -> Raised {
    let text = |alert: &Value, member: &str| alert[member].as_str().unwrap().to_owned();
    let of = |alert: &Value| ["timestamp", "edge_id", "title"].map(|member| text(alert, member));
    alerts.as_array().unwrap().iter().map(of).collect()
}

/// What each rule has raised live.
async fn live(cloud: &Cloud, owner: &Owner, rules: &[String]) -> Vec<Raised> {
    let mut all = Vec::new();
    for rule in rules {
        let answer = cloud.get_as(owner, &format!("/api/events/alerts?rule_id={rule}&limit=1000")).await;
        answer.assert_ok();
        all.push(raised(&answer.body["items"]));
    }
    all
}

async fn trial(cloud: &Cloud, owner: &Owner, body: Value) -> Answer {
    cloud.post_as(owner, "/api/rules/backtest", body).await
}

/// What a trial of each rule says it raises.
async fn tried(cloud: &Cloud, owner: &Owner, rules: &[String]) -> Vec<Raised> {
    let mut all = Vec::new();
    for rule in rules {
        let report = trial(cloud, owner, json!({ "rule_id": rule, "days": 1 })).await;
        report.assert_ok();
        let alerts = report.body["alerts"].as_array().unwrap();
        assert!(alerts.iter().all(|alert| alert["event_id"].is_null() && alert["raised_by"] == "new"), "{report:?}");
        all.push(raised(&report.body["alerts"]));
    }
    all
}

/// An edge comes, goes, comes four times at once, and goes.
async fn go_and_come(cloud: &Cloud, owner: &Owner, device: &Device) {
    let told = async |kind: &str, count: usize| {
        let deadline = Instant::now() + SOON;
        loop {
            let path = format!("/api/tenant/edges/{}/presence", device.edge_id);
            let listed = cloud.get_as(owner, &path).await;
            let items = listed.body["items"].as_array().unwrap();
            if items.iter().filter(|item| item["kind"] == kind).count() >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{listed:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    drop(MqttEdge::connect(cloud, device).await);
    told("offline", 1).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(MqttEdge::connect(cloud, device).await);
    }
    told("take_over", 1).await;
    told("online", 2).await;
    drop(connections);
    told("offline", 2).await;
}

#[tokio::test]
async fn a_trial_on_an_edge_that_went_came_and_was_replaced_says_what_was_raised_live() {
    let mut cloud = Cloud::start().await;
    cloud.edge_timeout_seconds = 2;
    cloud.presence = PresenceConfig { offline_hold_off_seconds: 1, stable_seconds: 0 };
    cloud.restart().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let mut rules = Vec::new();
    for kind in KINDS {
        let rule = json!({ "name": kind, "kind": kind, "severity": "info", "per": "edge" });
        rules.push(cloud.post_as(&owner, "/api/rules", rule).await.text("rule_id"));
    }
    let device = Device::enrolled(&cloud, &owner).await;
    go_and_come(&cloud, &owner, &device).await;
    let deadline = Instant::now() + SOON;
    loop {
        let (before, tried) = (live(&cloud, &owner, &rules).await, tried(&cloud, &owner, &rules).await);
        // What is told between the two questions is in one answer only.
        if before == live(&cloud, &owner, &rules).await {
            assert_eq!(tried, before);
            let counts: Vec<_> = before.iter().map(BTreeSet::len).collect();
            assert!(counts[0] >= 2 && counts[1] >= 1 && counts[2] == 1, "{before:?}");
            break;
        }
        assert!(Instant::now() < deadline, "the edge does not come to rest: {before:?}");
    }
    let calm = json!({ "name": "x", "kind": "edge_offline", "severity": "info", "cooldown_s": 3_600, "per": "edge" });
    let beside = trial(&cloud, &owner, json!({ "rule": calm, "rule_id": rules[0], "days": 31 })).await;
    assert_eq!((&beside.body["both"], &beside.body["only_new"]), (&json!(1), &json!(0)), "{beside:?}");
    assert!(beside.body["only_old"].as_u64().unwrap() >= 1, "{beside:?}");
    let foreign = trial(&cloud, &rival, json!({ "rule": calm, "days": 31 })).await;
    assert_eq!(foreign.body["looked_at"], 0, "{foreign:?}");
}

#[tokio::test]
async fn of_two_trials_of_a_tenant_at_once_one_is_told_to_come_back() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    for batch in 0..6 {
        let seqs = batch * 500 + 1..=batch * 500 + 500;
        let events: Vec<_> = seqs.map(|seq| enters(&device, seq, 3_600, &format!("t{seq}"))).collect();
        device.deliver(&cloud, &events).await.assert_ok();
    }
    let body = json!({ "rule": lobby(), "days": 1 });
    let ask = |owner| trial(&cloud, owner, body.clone());
    let (deadline, mut refused) = (Instant::now() + SOON, 0);
    while refused == 0 {
        assert!(Instant::now() < deadline, "trials run beside each other");
        let (one, two, three, theirs) = tokio::join!(ask(&owner), ask(&owner), ask(&owner), ask(&rival));
        theirs.assert_ok();
        let answers = [one, two, three];
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.assert_problem(429, None);
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=45).contains(&wait), "{answer:?}");
            refused += 1;
        }
        let whole = answers.iter().find(|answer| answer.status == 200).expect("one of them runs");
        assert_eq!(whole.body["looked_at"], 3_000, "{whole:?}");
    }
    let alone = ask(&owner).await;
    alone.assert_ok();
}
