//! Registration and withdrawal of edges, and who sees them.

use reqwest::StatusCode;
use serde_json::json;

use crate::cloud::Cloud;
use crate::device::Device;

#[tokio::test]
async fn an_edge_is_registered_shown_enrolled_and_heard() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let registered = cloud.post_as(&owner, "/api/tenant/edges", json!({ "name": " North gate " })).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    let path = format!("/api/tenant/edges/{}", registered.text("edge_id"));
    assert_eq!(registered.header("location"), path);
    let shown = cloud.get_as(&owner, &path).await;
    assert_eq!((shown.text("name"), shown.text("status")), ("North gate".into(), "registered".into()));
    assert!(shown.body["last_seen"].is_null() && shown.body["enrolled_at"].is_null());
    assert!(!shown.body.to_string().contains(&registered.text("edge_secret")), "the secret is shown once");

    let device = Device::enrolled(&cloud, &owner).await;
    let path = format!("/api/tenant/edges/{}", device.edge_id);
    assert_eq!(cloud.get_as(&owner, &path).await.text("status"), "offline");
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    let heard = cloud.get_as(&owner, &path).await;
    assert_eq!((heard.text("status"), heard.body["connected"].as_bool()), ("online".into(), Some(false)));
    let listed = cloud.get_as(&owner, "/api/tenant/edges").await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);
    assert_eq!(listed.body["items"][1], heard.body);
}

#[tokio::test]
async fn edges_of_others_are_as_if_they_did_not_exist() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    for edge_id in [device.edge_id.as_str(), "edge_that-never-was"] {
        let path = format!("/api/tenant/edges/{edge_id}");
        let shown = cloud.get_as(&rival, &path).await;
        shown.assert_problem(404, None);
        for action in ["rotate-secret", "revoke"] {
            let refused = cloud.post_as(&rival, &format!("{path}/{action}"), json!({})).await;
            refused.assert_problem(404, None);
            assert_eq!(refused.body, shown.body, "the answer tells nothing");
        }
    }
    assert_eq!(cloud.get_as(&rival, "/api/tenant/edges").await.body, json!({ "items": [], "next_cursor": null }));
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
}

#[tokio::test]
async fn a_revoked_edge_is_out_at_once_and_for_good() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    let path = format!("/api/tenant/edges/{}", device.edge_id);
    let revoked = cloud.post_as(&owner, &format!("{path}/revoke"), json!({})).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    device.deliver(&cloud, &[device.detection(2)]).await.assert_problem(401, None);
    assert_eq!(cloud.get_as(&owner, &path).await.text("status"), "revoked");
    let rotated = cloud.post_as(&owner, &format!("{path}/rotate-secret"), json!({})).await;
    rotated.assert_problem(409, Some("edge_id"));
    let events = cloud.get_as(&owner, "/api/events/detections").await;
    assert_eq!(events.body["items"].as_array().unwrap().len(), 1, "its events stay");
}
