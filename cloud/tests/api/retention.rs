//! How long what is kept, over HTTP.

use serde_json::json;

use crate::cloud::{Answer, Cloud, Owner};
use crate::device::Device;
use reqwest::Method;

async fn put(cloud: &Cloud, owner: &Owner, query: &str, body: serde_json::Value) -> Answer {
    let request = cloud.request(Method::PUT, &format!("/api/tenant/retention{query}"));
    Answer::of(request.bearer_auth(&owner.token).json(&body)).await
}

#[tokio::test]
async fn a_policy_is_previewed_set_and_told_to_the_audit_log() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let mut old = device.detection(1);
    let aivms_contract::envelope::Body::Detections(body) = &mut old.body else { panic!("a detection") };
    body.timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let old = device.envelope(1, old.body);
    device.deliver(&cloud, &[old]).await.assert_ok();
    let before = cloud.get_as(&owner, "/api/tenant/retention").await;
    assert_eq!((&before.body["policy"]["detections_days"], &before.body["deletes"]), (&json!(null), &json!([])));
    let preview = put(&cloud, &owner, "?preview=true", json!({ "detections_days": 90 })).await;
    assert_eq!(
        (&preview.body["is_set"], &preview.body["deletes"][0]["count"]),
        (&json!(false), &json!(1)),
        "{preview:?}"
    );
    assert_eq!(cloud.get_as(&owner, "/api/tenant/retention").await.body, before.body);
    let set = put(&cloud, &owner, "", json!({ "detections_days": 90, "maximum_days": 365 })).await;
    assert_eq!(set.body["is_set"], true, "{set:?}");
    let told = cloud.get_as(&owner, "/api/audit?action=retention.changed").await;
    assert_eq!(told.body["items"][0]["detail"]["detections"], 90, "{told:?}");
    let usage = cloud.get_as(&owner, "/api/tenant/usage").await;
    assert_eq!((&usage.body["edges"], &usage.body["kinds"][0]["count"]), (&json!(1), &json!(1)), "{usage:?}");
}

#[tokio::test]
async fn a_wrong_policy_is_refused_by_field_and_only_an_admin_sets_one() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    for (body, status, field) in [
        (json!({ "clips_days": 31, "maximum_days": 30 }), 422, "clips_days"),
        (json!({ "detections_days": 0 }), 422, "detections_days"),
    ] {
        put(&cloud, &owner, "", body).await.assert_problem(status, Some(field));
    }
    put(&cloud, &owner, "", json!({ "weeks": 3 })).await.assert_problem(400, None);
    cloud.sql("update users set role = 'operator'");
    put(&cloud, &owner, "", json!({})).await.assert_problem(403, None);
}
