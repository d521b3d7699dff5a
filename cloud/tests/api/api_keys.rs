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
    let blind = make(json!({ "name": "Blind", "role": "viewer", "cameras": elsewhere })).await;
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
