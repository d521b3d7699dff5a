//! People of a tenant: invitations, roles, cameras.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner, PASSWORD};
use crate::device::Device;

/// Invites somebody and accepts; returns who joined and its id.
pub(crate) async fn join(cloud: &Cloud, owner: &Owner, email: &str, rights: Value) -> (Owner, String) {
    let mut body = rights;
    body["email"] = email.into();
    let made = cloud.post_as(owner, "/api/tenant/invitations", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let accept = json!({ "token": made.text("token"), "name": "Sam", "password": PASSWORD });
    let joined = cloud.post("/api/auth/invitations/accept", accept).await;
    assert_eq!(joined.status, StatusCode::CREATED, "{joined:?}");
    let id = joined.body["user"]["user_id"].as_str().unwrap().to_owned();
    (Owner { token: joined.text("token") }, id)
}

pub(crate) async fn login(cloud: &Cloud, email: &str, password: &str) -> Answer {
    cloud.post("/api/auth/login", json!({ "email": email, "password": password })).await
}

/// The body of the newest mail to an address.
pub(crate) fn newest_mail(cloud: &Cloud, to: &str) -> Option<String> {
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let sql = "select body_text from outgoing_mail where recipient = ?1 order by id desc limit 1";
    connection.query_row(sql, [to], |row| row.get(0)).ok()
}

#[tokio::test]
async fn an_invited_person_joins_once_with_the_rights_given() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let invitation = json!({ "email": "Sam@Guards.example", "role": "operator" });
    let made = cloud.post_as(&owner, "/api/tenant/invitations", invitation).await;
    let token = made.text("token");
    assert!(newest_mail(&cloud, "sam@guards.example").unwrap().contains(&token), "the mail brings it too");
    let accept = json!({ "token": token, "name": "Sam", "password": PASSWORD });
    let mut weak = accept.clone();
    weak["password"] = "sam@guards.example".into();
    cloud.post("/api/auth/invitations/accept", weak).await.assert_problem(422, Some("password"));
    let joined = cloud.post("/api/auth/invitations/accept", accept.clone()).await;
    assert_eq!((joined.status, &joined.body["user"]["role"]), (StatusCode::CREATED, &"operator".into()));
    assert_eq!(joined.body["user"]["tenant_id"], "acme");
    cloud.post("/api/auth/invitations/accept", accept).await.assert_problem(422, Some("token"));
    login(&cloud, "sam@guards.example", PASSWORD).await.assert_ok();
    let listed = cloud.get_as(&owner, "/api/tenant/invitations").await;
    assert_eq!(listed.body["items"][0]["state"], "accepted");
    let again = json!({ "email": "sam@guards.example", "role": "viewer" });
    cloud.post_as(&owner, "/api/tenant/invitations", again).await.assert_problem(409, Some("email"));
}

#[tokio::test]
async fn an_invitation_that_was_withdrawn_replaced_or_has_ended_lets_nobody_in() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let invite = async || {
        let body = json!({ "email": "sam@guards.example", "role": "viewer" });
        cloud.post_as(&owner, "/api/tenant/invitations", body).await
    };
    let refused = async |token: String| {
        let body = json!({ "token": token, "name": "Sam", "password": PASSWORD });
        cloud.post("/api/auth/invitations/accept", body).await.assert_problem(422, Some("token"));
    };
    let (first, second) = (invite().await, invite().await);
    refused(first.text("token")).await;
    let id = second.body["invitation"]["invitation_id"].as_str().unwrap().to_owned();
    let path = format!("/api/tenant/invitations/{id}");
    cloud.send_as(&owner, Method::DELETE, &path, json!({})).await.assert_ok();
    refused(second.text("token")).await;
    cloud.send_as(&owner, Method::DELETE, &path, json!({})).await.assert_problem(404, None);
    let third = invite().await;
    cloud.sql("update invitations set expires_at = 1");
    refused(third.text("token")).await;
    let states = cloud.get_as(&owner, "/api/tenant/invitations").await.body;
    let states: Vec<_> = states["items"].as_array().unwrap().iter().map(|item| item["state"].clone()).collect();
    assert_eq!(states, ["withdrawn", "withdrawn", "expired"]);
}

#[tokio::test]
async fn nobody_rises_above_the_own_role_and_the_last_owner_stays() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let owner_id = cloud.get_as(&owner, "/api/auth/me").await.text("user_id");
    let (admin, admin_id) = join(&cloud, &owner, "admin@acme.example", json!({ "role": "admin" })).await;
    let change = async |who: &Owner, id: &str, body: Value| {
        cloud.send_as(who, Method::PATCH, &format!("/api/tenant/users/{id}"), body).await
    };
    change(&admin, &admin_id, json!({ "role": "owner" })).await.assert_problem(403, None);
    change(&admin, &owner_id, json!({ "role": "viewer" })).await.assert_problem(403, None);
    let invite = json!({ "email": "x@acme.example", "role": "owner" });
    cloud.post_as(&admin, "/api/tenant/invitations", invite).await.assert_problem(403, None);
    for body in [json!({ "role": "admin" }), json!({ "disabled": true })] {
        change(&owner, &owner_id, body).await.assert_problem(409, Some("role"));
    }
    let path = format!("/api/tenant/users/{owner_id}");
    cloud.send_as(&owner, Method::DELETE, &path, json!({})).await.assert_problem(409, Some("role"));
    cloud.send_as(&admin, Method::DELETE, &path, json!({})).await.assert_problem(403, None);
    change(&owner, &admin_id, json!({ "role": "owner" })).await.assert_ok();
    change(&owner, &owner_id, json!({ "role": "viewer", "name": "Was Owner" })).await.assert_ok();
    let listed = cloud
        .get_as(
            &Owner { token: login(&cloud, "admin@acme.example", PASSWORD).await.text("token") },
            "/api/tenant/users",
        )
        .await;
    let shown: Vec<_> =
        listed.body["items"].as_array().unwrap().iter().map(|p| (p["name"].clone(), p["role"].clone())).collect();
    assert_eq!(shown, [("Was Owner".into(), "viewer".into()), ("Sam".into(), "owner".into())]);
}

#[tokio::test]
async fn a_change_of_role_a_switch_off_and_a_removal_end_tokens_at_once() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (sam, id) = join(&cloud, &owner, "sam@acme.example", json!({ "role": "operator" })).await;
    let path = format!("/api/tenant/users/{id}");
    cloud.get_as(&sam, "/api/auth/me").await.assert_ok();
    cloud.send_as(&owner, Method::PATCH, &path, json!({ "name": "Sam Guard" })).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_ok();
    cloud.send_as(&owner, Method::PATCH, &path, json!({ "role": "viewer" })).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_problem(401, None);
    let again = login(&cloud, "sam@acme.example", PASSWORD).await;
    let (sam, refresh) = (Owner { token: again.text("token") }, again.text("refresh_token"));
    cloud.send_as(&owner, Method::PATCH, &path, json!({ "disabled": true })).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_problem(401, None);
    cloud.post("/api/auth/refresh", json!({ "refresh_token": refresh })).await.assert_problem(401, None);
    let refused = login(&cloud, "sam@acme.example", PASSWORD).await;
    assert_eq!(refused.body, login(&cloud, "nobody@acme.example", PASSWORD).await.body);
    cloud.send_as(&owner, Method::PATCH, &path, json!({ "disabled": false })).await.assert_ok();
    let sam = Owner { token: login(&cloud, "sam@acme.example", PASSWORD).await.text("token") };
    cloud.send_as(&owner, Method::DELETE, &path, json!({})).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_problem(401, None);
    cloud.get_as(&owner, &path).await.assert_problem(404, None);
    join(&cloud, &owner, "sam@acme.example", json!({ "role": "viewer" })).await;
}

#[tokio::test]
async fn who_sees_some_cameras_finds_others_nowhere() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    device.deliver(&cloud, &[device.detection(1), device.detection(2)]).await.assert_ok();
    let all = cloud.get_as(&owner, "/api/events/detections").await;
    let camera = all.body["items"][0]["camera_id"].as_str().unwrap().to_owned();
    let granted =
        |camera: &str| json!({ "role": "viewer", "cameras": [{ "edge_id": device.edge_id, "camera_id": camera }] });
    let (sam, id) = join(&cloud, &owner, "sam@acme.example", granted(&camera)).await;
    let seen =
        async |who: &Owner| cloud.get_as(who, "/api/events/detections").await.body["items"].as_array().unwrap().len();
    assert_eq!(seen(&sam).await, 2);
    let (eve, _) = join(&cloud, &owner, "eve@acme.example", granted("elsewhere")).await;
    assert_eq!(seen(&eve).await, 0);
    let ticket = |camera: &str| json!({ "edge_id": device.edge_id, "camera_id": camera });
    cloud.post_as(&sam, "/api/live/tickets", ticket(&camera)).await.assert_ok();
    let hidden = cloud.post_as(&eve, "/api/live/tickets", ticket(&camera)).await;
    let unknown = cloud.post_as(&eve, "/api/live/tickets", ticket("never-was")).await;
    hidden.assert_problem(404, None);
    assert_eq!(hidden.body, unknown.body);
    let span = "from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z";
    let path = format!("/api/edges/{}/cameras/{camera}/timeline?{span}", device.edge_id);
    cloud.get_as(&eve, &path).await.assert_problem(404, None);
    // A change counts at once.
    let path = format!("/api/tenant/users/{id}");
    cloud.send_as(&owner, Method::PATCH, &path, json!({ "cameras": [] })).await.assert_ok();
    let sam = Owner { token: login(&cloud, "sam@acme.example", PASSWORD).await.text("token") };
    assert_eq!(seen(&sam).await, 0);
    let admin = json!({ "email": "a@acme.example", "role": "admin", "cameras": [] });
    cloud.post_as(&owner, "/api/tenant/invitations", admin).await.assert_problem(422, Some("cameras"));
    let foreign =
        json!({ "email": "a@acme.example", "role": "viewer", "cameras": [{ "edge_id": "edge_x", "camera_id": "a" }] });
    cloud.post_as(&owner, "/api/tenant/invitations", foreign).await.assert_problem(404, None);
}
