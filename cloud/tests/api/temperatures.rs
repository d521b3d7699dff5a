//! From the temperatures of an edge's health to an alert.

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::time::UtcMillis;
use serde_json::{Value, json};

use crate::alerts::items;
use crate::cloud::Cloud;
use crate::device::{Device, now_s};
use crate::mqtt_edge::MqttEdge;

/// A health report of `minute` minutes after two hours ago, by an edge whose processor is so warm and whose graphics are
/// at 40 degrees, and whose footage will last for `days`.
fn report(device: &Device, minute: u64, celsius: f64, days: f64) -> Envelope {
    let at = UtcMillis::from_millis(i64::try_from((now_s() - 7_200 + minute * 60) * 1000).unwrap());
    let recording = json!({ "state": "recording", "bytes": 5, "forecast_days": days });
    let camera =
        json!({ "camera_id": "door", "state": "streaming", "since": at, "detect_fps": 5.0, "recording": recording });
    let report = json!({ "timestamp": at, "version": "0.1.0", "uptime_s": minute * 60, "disk_total_bytes": 100,
        "disk_free_bytes": 40, "cameras": [camera], "outbox": { "entries": 0, "bytes": 0, "shed": 0 },
        "temperatures": [{ "name": "CPU-therm", "celsius": celsius }, { "name": "GPU-therm", "celsius": 40.0 }] });
    device.envelope(minute, Body::Health(serde_json::from_value(report).unwrap()))
}

fn hot() -> Value {
    json!({ "name": "Too hot", "kind": "temperature", "severity": "warning", "above_celsius": 85.0 })
}

#[tokio::test]
async fn an_edge_that_gets_hot_is_alerted_of_once_and_again_after_it_has_cooled() {
    let mut cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let raised =
        format!("/api/events/alerts?rule_id={}", cloud.post_as(&owner, "/api/rules", hot()).await.text("rule_id"));
    let device = Device::enrolled(&cloud, &owner).await;
    let mut edge = MqttEdge::connect(&cloud, &device).await;
    let mut titles: Vec<String> = Vec::new();
    let minutes = [84.9, 85.1, 91.0, 84.0, 86.0, 79.9, 85.0, 87.3, 88.0].into_iter().zip(1..);
    for (celsius, minute) in minutes {
        if minute == 3 {
            // What a rule remembers of an excursion outlives the process.
            drop(edge);
            cloud.restart().await;
            edge = MqttEdge::connect(&cloud, &device).await;
        }
        edge.say("health", &serde_json::to_value(report(&device, minute, celsius, 30.0)).unwrap()).await;
        let alerts = items(&cloud, &owner, &raised).await;
        titles = alerts.iter().map(|alert| alert["title"].as_str().unwrap().to_owned()).collect();
        let expected = usize::from(minute >= 2) + usize::from(minute >= 8);
        assert_eq!(titles.len(), expected, "after {celsius} in minute {minute}: {titles:?}");
    }
    assert_eq!(titles, ["CPU-therm is at 87.3 °C", "CPU-therm is at 85.1 °C"]);
    let health = cloud.get_as(&owner, &format!("/api/tenant/edges/{}/health", device.edge_id)).await;
    let expected = json!([{ "name": "CPU-therm", "celsius": 88.0 }, { "name": "GPU-therm", "celsius": 40.0 }]);
    assert_eq!(health.body["temperatures"], expected);
    let stopped = items(&cloud, &owner, "/api/events/alerts/suppressed").await;
    assert!(stopped.is_empty(), "that it is warm, or still hot, is no surprise: {stopped:?}");
}

#[tokio::test]
async fn footage_that_will_be_short_is_alerted_of_once_too_and_a_trial_says_the_same() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let forecast = json!({ "name": "Short", "kind": "disk_forecast", "severity": "warning", "below_days": 7.0 });
    let device = Device::enrolled(&cloud, &owner).await;
    let mut rules = Vec::new();
    for rule in [forecast, hot()] {
        rules.push(cloud.post_as(&owner, "/api/rules", rule).await.text("rule_id"));
    }
    let hours = [(84.0, 6.5), (90.0, 6.4), (90.0, 7.5), (70.0, 6.5), (90.0, 8.0), (90.0, 6.9)].into_iter().zip(1..);
    let reports: Vec<_> = hours.map(|((celsius, days), minute)| report(&device, minute, celsius, days)).collect();
    device.deliver(&cloud, &reports).await.assert_ok();
    for rule_id in rules {
        let raised = items(&cloud, &owner, &format!("/api/events/alerts?rule_id={rule_id}")).await;
        let mut raised: Vec<_> = raised.iter().map(|alert| alert["event_id"].clone()).collect();
        raised.reverse();
        assert_eq!(raised.len(), 2, "{raised:?}");
        let trial = cloud.post_as(&owner, "/api/rules/backtest", json!({ "rule_id": rule_id, "days": 1 })).await;
        trial.assert_ok();
        let tried = trial.body["alerts"].as_array().unwrap();
        assert_eq!(tried.iter().map(|alert| alert["event_id"].clone()).collect::<Vec<_>>(), raised);
    }
}

#[tokio::test]
async fn an_edge_that_tells_no_temperatures_has_none_and_raises_nothing() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    cloud.post_as(&owner, "/api/rules", hot()).await.assert_ok();
    let device = Device::enrolled(&cloud, &owner).await;
    let mut old = serde_json::to_value(report(&device, 1, 90.0, 30.0)).unwrap();
    old["body"].as_object_mut().unwrap().remove("temperatures").unwrap();
    MqttEdge::connect(&cloud, &device).await.say("health", &old).await;
    let health = cloud.get_as(&owner, &format!("/api/tenant/edges/{}/health", device.edge_id)).await;
    assert_eq!((&health.body["temperatures"], &health.body["uptime_s"]), (&json!([]), &json!(60)));
    assert!(items(&cloud, &owner, "/api/events/alerts").await.is_empty());
}
