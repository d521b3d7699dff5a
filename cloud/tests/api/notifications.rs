//! Channels, the log of deliveries, preferences and browsers by the API.

use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner, SOON};

const CHANNELS: &str = "/api/notifications/channels";
const PUSH: &str = "/api/notifications/push";
const PREFERENCES: &str = "/api/notifications/preferences";

fn webhook() -> Value {
    json!({ "name": "Hook", "kind": "webhook", "url": "https://hooks.example.invalid/secret-path" })
}

async fn send(cloud: &Cloud, owner: &Owner, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = cloud.request(method, path).bearer_auth(&owner.token);
    Answer::of(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_webhook_shows_its_secret_once_and_is_changed_tried_and_deleted() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let made = cloud.post_as(&owner, CHANNELS, webhook()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let secret = made.text("secret");
    assert!(secret.starts_with("whsec_"));
    let path = made.header("location").to_owned();
    let shown = cloud.get_as(&owner, &path).await;
    assert_eq!((&shown.body["kind"], &shown.body["least_severity"]), (&"webhook".into(), &"warning".into()));
    let list = cloud.get_as(&owner, CHANNELS).await;
    assert!(!shown.body.to_string().contains(&secret) && !list.body.to_string().contains(&secret));
    let rotated = cloud.post_as(&owner, &format!("{path}/rotate-secret"), json!({})).await;
    assert!(rotated.text("secret") != secret && rotated.body["channel"]["old_secret_until"].is_string());
    // It is tried although it takes critical alerts only; its host is nobody's, so the log says what went wrong.
    let changed = json!({ "name": "Hook 2", "kind": "webhook", "url": "https://hooks.example.invalid/", "least_severity": "critical" });
    send(&cloud, &owner, Method::PUT, &path, Some(changed)).await.assert_ok();
    let tested = cloud.post_as(&owner, &format!("{path}/test"), json!({})).await;
    assert_eq!(tested.status, StatusCode::ACCEPTED, "{tested:?}");
    let delivery = format!("/api/notifications/deliveries/{}", tested.body["delivery_ids"][0].as_str().unwrap());
    let begun = Instant::now();
    let tried = loop {
        let shown = cloud.get_as(&owner, &delivery).await;
        if shown.body["attempts"].as_array().is_some_and(|attempts| !attempts.is_empty()) {
            break shown;
        }
        assert!(begun.elapsed() < SOON, "{shown:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(
        (&tried.body["delivery"]["state"], &tried.body["delivery"]["reason"]),
        (&"waiting".into(), &"notification.test".into())
    );
    assert!(tried.body["attempts"][0]["error"].is_string(), "{tried:?}");
    let again = cloud.post_as(&owner, &format!("{delivery}/redeliver"), json!({})).await;
    assert_eq!(again.body["attempts"], 0, "{again:?}");
    assert_eq!(send(&cloud, &owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    cloud.get_as(&owner, &path).await.assert_problem(404, None);
    let channel_id = path.rsplit('/').next().unwrap();
    let log =
        cloud.get_as(&owner, &format!("/api/notifications/deliveries?channel_id={channel_id}&state=failed")).await;
    assert_eq!(log.body["items"].as_array().unwrap().len(), 1, "{log:?}");
}

#[tokio::test]
async fn a_channel_that_can_not_be_is_refused_by_the_name_of_the_member() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    for (body, field) in [
        (json!({ "name": "x", "kind": "webhook", "url": "http://example.com/" }), "url"),
        (json!({ "name": "x", "kind": "webhook", "url": "https://127.0.0.1/" }), "url"),
        (json!({ "name": "x", "kind": "webhook", "url": "https://[fd00::1]/" }), "url"),
        (json!({ "name": "x", "kind": "webhook", "url": "https://example.com:8443/" }), "url"),
        (json!({ "name": "x", "kind": "webhook", "url": "https://me:pass@example.com/" }), "url"),
        (json!({ "name": "x", "kind": "webhook", "url": "nowhere" }), "url"),
        (json!({ "name": "x", "kind": "webhook", "addresses": ["a@example.com"] }), "url"),
        (json!({ "name": "x", "kind": "mail", "addresses": [] }), "addresses"),
        (json!({ "name": "x", "kind": "mail", "addresses": ["a@example.com\r\nBcc: b@example.com"] }), "addresses"),
        (json!({ "name": "x", "kind": "user", "email": "owner@rival.example" }), "email"),
        (json!({ "name": "x", "kind": "user", "email": "nobody@acme.example" }), "email"),
    ] {
        let refused = cloud.post_as(&owner, CHANNELS, body.clone()).await;
        refused.assert_problem(422, Some(field));
    }
    let user = json!({ "name": "Rival", "kind": "user", "email": "Owner@Rival.example" });
    let made = cloud.post_as(&rival, CHANNELS, user).await;
    assert_eq!(made.body["channel"]["email"], "owner@rival.example", "{made:?}");
    let path = made.header("location").to_owned();
    send(&cloud, &rival, Method::PUT, &path, Some(webhook())).await.assert_problem(422, Some("kind"));
    cloud.post_as(&rival, &format!("{path}/rotate-secret"), json!({})).await.assert_problem(409, Some("channel_id"));
}

#[tokio::test]
async fn a_person_changes_what_it_is_told_of() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let shown = cloud.get_as(&owner, PREFERENCES).await;
    assert_eq!((&shown.body["mail"], &shown.body["quiet_hours"]), (&false.into(), &json!([])));
    let wanted = json!({
        "mail": true, "push": false, "least_severity": "critical", "time_zone": "Europe/Berlin",
        "quiet_hours": [{ "days": ["mon", "sun"], "from": "22:00", "to": "06:30" }], "break_through": null,
    });
    let changed = send(&cloud, &owner, Method::PUT, PREFERENCES, Some(wanted.clone())).await;
    assert_eq!(
        (&changed.body["quiet_hours"], &changed.body["mail"]),
        (&wanted["quiet_hours"], &true.into()),
        "{changed:?}"
    );
    assert_eq!(cloud.get_as(&owner, PREFERENCES).await.body, changed.body);
    for (member, value, field) in [
        ("time_zone", json!("Europe/Atlantis"), "time_zone"),
        ("quiet_hours", json!([{ "days": [], "from": "24:00", "to": "06:00" }]), "quiet_hours"),
        ("quiet_hours", json!([{ "days": [], "from": "late", "to": "06:00" }]), "quiet_hours"),
    ] {
        let mut wrong = wanted.clone();
        wrong[member] = value;
        let refused = send(&cloud, &owner, Method::PUT, PREFERENCES, Some(wrong)).await;
        assert!(
            matches!(refused.status.as_u16(), 400 | 422) && refused.body.to_string().contains(field),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_browser_subscribes_with_the_clouds_key_and_leaves_again() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let key = cloud.get_as(&owner, PUSH).await.text("public_key");
    let subscription = |endpoint: &str, p256dh: &str| json!({ "endpoint": endpoint, "label": "Phone", "keys": { "p256dh": p256dh, "auth": "BTBZMqHH6r4Tts7J_aSIgg" } });
    // Any public key of the curve does; the cloud's own is one.
    let made = cloud.post_as(&owner, PUSH, subscription("https://push.example.net/abc", &key)).await;
    assert_eq!((made.status, &made.body["service"]), (StatusCode::CREATED, &"push.example.net".into()), "{made:?}");
    assert!(!cloud.get_as(&owner, PUSH).await.body.to_string().contains("/abc"), "an endpoint is as good as a key");
    for (endpoint, p256dh, field) in [
        ("https://10.0.0.1/", key.as_str(), "endpoint"),
        ("http://push.example.net/", key.as_str(), "endpoint"),
        ("https://push.example.net/", "AAAA", "keys.p256dh"),
    ] {
        cloud.post_as(&owner, PUSH, subscription(endpoint, p256dh)).await.assert_problem(422, Some(field));
    }
    let path = made.header("location").to_owned();
    assert_eq!(send(&cloud, &owner, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    send(&cloud, &owner, Method::DELETE, &path, None).await.assert_problem(404, None);
}

#[tokio::test]
async fn a_link_that_was_not_made_here_ends_nobodys_mails() {
    let cloud = Cloud::start().await;
    for method in [Method::GET, Method::POST] {
        for query in ["", "?token=", "?token=AAAA"] {
            let path = format!("/api/notifications/unsubscribe{query}");
            Answer::of(cloud.request(method.clone(), &path)).await.assert_problem(404, None);
        }
    }
}
