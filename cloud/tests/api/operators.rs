//! Operators' certificates.

use reqwest::StatusCode;
use serde_json::json;

use crate::cloud::Cloud;

#[tokio::test]
async fn an_operator_gets_everything_an_mqtt_client_needs_once() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let made = cloud.post_as(&owner, "/api/tenant/operators", json!({ "name": "Night desk" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert!(made.text("certificate_pem").contains("BEGIN CERTIFICATE"));
    assert!(made.text("private_key_pem").contains("BEGIN PRIVATE KEY"));
    assert!(made.text("ca_pem").contains("BEGIN CERTIFICATE"));
    assert_eq!(made.body["mqtt_port"], cloud.mqtt_port());
    assert_eq!(made.body["topic_examples"][0], "aivms/v1/acme/+/up/+");
    let listed = cloud.get_as(&owner, "/api/tenant/operators").await;
    let first = &listed.body["items"][0];
    assert_eq!((&first["name"], &first["revoked"]), (&json!("Night desk"), &json!(false)));
    assert!(!listed.body.to_string().contains("PRIVATE"));
}

#[tokio::test]
async fn an_operator_is_revoked_by_its_own_tenant_only() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let made = cloud.post_as(&owner, "/api/tenant/operators", json!({ "name": "Night desk" })).await;
    let path = format!("/api/tenant/operators/{}/revoke", made.text("operator_id"));
    cloud.post_as(&rival, &path, json!({})).await.assert_problem(404, None);
    assert_eq!(cloud.get_as(&rival, "/api/tenant/operators").await.body, json!({ "items": [] }));
    assert_eq!(cloud.post_as(&owner, &path, json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(cloud.get_as(&owner, "/api/tenant/operators").await.body["items"][0]["revoked"], true);
}
