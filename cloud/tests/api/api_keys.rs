//! API keys: programs that act for people.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Owner, SOON};
use crate::device::Device;
use crate::people::join;

#[tokio::test]
async fn an_api_key_does_what_it_may_and_never_manages_people() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    let make = async |body: Value| cloud.post_as(&owner, "/api/tenant/api-keys", body).await;
    let made = make(json!({ "name": "Report", "role": "viewer" })).await;
    let key = Owner { token: made.text("key") };
    assert!(key.token.starts_with("aivms_key_"));
    let events =
        async |key: &Owner| cloud.get_as(key, "/api/events/detections").await.body["items"].as_array().map(Vec::len);
    assert_eq!(events(&key).await, Some(1));
    cloud.post_as(&key, "/api/tenant/edges", json!({ "name": "x" })).await.assert_problem(403, None);
    let admin = Owner { token: make(json!({ "name": "Admin", "role": "admin" })).await.text("key") };
    cloud.post_as(&admin, "/api/tenant/edges", json!({ "name": "x" })).await.assert_ok();
    for path in ["/api/tenant/users", "/api/tenant/api-keys", "/api/tenant/invitations", "/api/auth/sessions"] {
        cloud.get_as(&admin, path).await.assert_problem(403, None);
    }
    let elsewhere = json!([{ "edge_id": device.edge_id, "camera_id": "elsewhere" }]);
    let blind = make(json!({ "name": "Blind", "role": "viewer", "cameras": &elsewhere })).await;
    assert_eq!(events(&Owner { token: blind.text("key") }).await, Some(0));
    let listed = cloud.get_as(&owner, "/api/tenant/api-keys").await;
    assert!(!listed.body.to_string().contains(&key.token), "a key is shown once");
    assert!(key.token.ends_with(listed.body["items"][0]["hint"].as_str().unwrap()));
    // The use is noted beside the request.
    let noted = tokio::time::timeout(SOON, async {
        while !cloud.get_as(&owner, "/api/tenant/api-keys").await.body["items"][0]["last_used_at"].is_string() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    noted.await.expect("its use is shown");
    for (body, field) in [
        (json!({ "name": "x", "role": "viewer", "days": 0 }), "days"),
        (json!({ "name": " ", "role": "viewer" }), "name"),
        (json!({ "name": "x", "role": "admin", "cameras": elsewhere }), "cameras"),
    ] {
        make(body).await.assert_problem(422, Some(field));
    }
}

#[tokio::test]
async fn an_api_key_is_replaced_without_standstill_and_ends_with_its_person() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (admin, admin_id) = join(&cloud, &owner, "admin@acme.example", json!({ "role": "admin" })).await;
    let made = cloud.post_as(&admin, "/api/tenant/api-keys", json!({ "name": "Report", "role": "admin" })).await;
    let (old, id) = (Owner { token: made.text("key") }, made.body["api_key"]["key_id"].as_str().unwrap().to_owned());
    let path = format!("/api/tenant/api-keys/{id}/rotate");
    let new = cloud.post_as(&admin, &path, json!({ "overlap_hours": 1 })).await;
    let new = Owner { token: new.text("key") };
    for key in [&old, &new] {
        cloud.get_as(key, "/api/tenant/edges").await.assert_ok();
    }
    cloud.sql(&format!("update api_keys set expires_at = 1 where key_id = '{id}'"));
    cloud.get_as(&old, "/api/tenant/edges").await.assert_problem(401, None);
    // The key follows its person down.
    let person = format!("/api/tenant/users/{admin_id}");
    cloud.send_as(&owner, Method::PATCH, &person, json!({ "role": "viewer" })).await.assert_ok();
    cloud.get_as(&new, "/api/tenant/edges").await.assert_ok();
    cloud.post_as(&new, "/api/tenant/edges", json!({ "name": "x" })).await.assert_problem(403, None);
    cloud.send_as(&owner, Method::DELETE, &person, json!({})).await.assert_ok();
    cloud.get_as(&new, "/api/tenant/edges").await.assert_problem(401, None);
    let own = cloud.post_as(&owner, "/api/tenant/api-keys", json!({ "name": "Own", "role": "viewer" })).await;
    let (key, id) = (Owner { token: own.text("key") }, own.body["api_key"]["key_id"].as_str().unwrap().to_owned());
    cloud.get_as(&key, "/api/auth/me").await.assert_ok();
    cloud.send_as(&owner, Method::DELETE, &format!("/api/tenant/api-keys/{id}"), json!({})).await.assert_ok();
    cloud.get_as(&key, "/api/auth/me").await.assert_problem(401, None);
}

#[tokio::test]
async fn an_older_key_of_an_admin_that_is_limited_to_cameras_sees_no_other_camera() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    let elsewhere = json!([{ "edge_id": device.edge_id, "camera_id": "elsewhere" }]);
    let asked = json!({ "name": "Yard", "role": "operator", "cameras": elsewhere });
    let key = Owner { token: cloud.post_as(&owner, "/api/tenant/api-keys", asked).await.text("key") };
    // As they could be made before.
    cloud.sql("update api_keys set role = 'admin'");
    assert_eq!(cloud.get_as(&key, "/api/events/detections").await.body["items"], json!([]));
    for path in ["/api/audit", "/api/notifications/deliveries"] {
        cloud.get_as(&key, path).await.assert_problem(403, None);
    }
    cloud.post_as(&key, "/api/tenant/edges", json!({ "name": "x" })).await.assert_problem(403, None);
    assert_eq!(cloud.get_as(&owner, "/api/tenant/api-keys").await.body["items"][0]["role"], "operator");
}

#[tokio::test]
async fn what_would_show_alerts_and_events_after_a_key_is_withdrawn_is_not_in_its_hands() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let asked = json!({ "name": "Fleet", "role": "admin" });
    let key = Owner { token: cloud.post_as(&owner, "/api/tenant/api-keys", asked).await.text("key") };
    let operator = json!({ "name": "Night desk" });
    cloud.post_as(&key, "/api/tenant/operators", operator.clone()).await.assert_problem(403, None);
    let browser = json!({ "endpoint": "https://push.example/1", "keys": { "p256dh": "x", "auth": "x" }, "label": "x" });
    cloud.post_as(&key, "/api/notifications/push", browser).await.assert_problem(403, None);
    let preferences = cloud.get_as(&key, "/api/notifications/preferences").await.body;
    let changed = cloud.send_as(&key, Method::PUT, "/api/notifications/preferences", preferences).await;
    changed.assert_problem(403, None);
    // To withdraw one is no harm.
    let made = cloud.post_as(&owner, "/api/tenant/operators", operator).await;
    let path = format!("/api/tenant/operators/{}/revoke", made.text("operator_id"));
    cloud.post_as(&key, &path, json!({})).await.assert_ok();
}

#[tokio::test]
async fn what_a_key_made_is_found_in_the_audit_log_by_the_key_also_after_its_end() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let made = cloud.post_as(&owner, "/api/tenant/api-keys", json!({ "name": "Fleet", "role": "admin" })).await;
    let (key, id) = (Owner { token: made.text("key") }, made.body["api_key"]["key_id"].as_str().unwrap());
    let edge = cloud.post_as(&key, "/api/tenant/edges", json!({ "name": "Gate" })).await.text("edge_id");
    cloud.post_as(&key, &format!("/api/tenant/edges/{edge}/rotate-secret"), json!({})).await.assert_ok();
    let addresses = json!({ "name": "Desk", "kind": "mail", "addresses": ["desk@acme.example"] });
    cloud.post_as(&key, "/api/notifications/channels", addresses).await.assert_ok();
    cloud.send_as(&owner, Method::DELETE, &format!("/api/tenant/api-keys/{id}"), json!({})).await.assert_ok();
    let log = cloud.get_as(&owner, &format!("/api/audit?actor_id={id}")).await;
    let entries = log.body["items"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["channel.created", "edge.secret_rotated", "edge.registered"]);
    assert!(entries.iter().all(|entry| entry["actor_kind"] == "api_key" && entry["actor_name"] == "Fleet"), "{log:?}");
    assert_eq!(entries[1]["subject_id"], edge);
}
