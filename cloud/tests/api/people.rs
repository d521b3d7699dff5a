//! People of a tenant: invitations, roles, cameras, sessions, second factors and API keys.

use aivms_cloud_core::second_factor::Authenticator;
use aivms_contract::time::UtcMillis;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner, PASSWORD, SOON};
use crate::device::Device;

const OTHER_PASSWORD: &str = "seven crooked lanterns over water";

async fn send(cloud: &Cloud, who: &Owner, method: Method, path: &str, body: Value) -> Answer {
    Answer::of(cloud.request(method, path).bearer_auth(&who.token).json(&body)).await
}

/// Invites somebody and accepts; returns who joined and its id.
async fn join(cloud: &Cloud, owner: &Owner, email: &str, rights: Value) -> (Owner, String) {
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
fn newest_mail(cloud: &Cloud, to: &str) -> Option<String> {
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let sql = "select body_text from outgoing_mail where recipient = ?1 order by id desc limit 1";
    connection.query_row(sql, [to], |row| row.get(0)).ok()
}

/// The token at the end of a mail's paragraph.
fn token_in(mail: &str) -> String {
    let is_token =
        |word: &&str| word.len() == 43 && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    mail.split_whitespace().find(is_token).unwrap_or_else(|| panic!("no token in {mail}")).to_owned()
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
    send(&cloud, &owner, Method::DELETE, &path, json!({})).await.assert_ok();
    refused(second.text("token")).await;
    send(&cloud, &owner, Method::DELETE, &path, json!({})).await.assert_problem(404, None);
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
        send(&cloud, who, Method::PATCH, &format!("/api/tenant/users/{id}"), body).await
    };
    change(&admin, &admin_id, json!({ "role": "owner" })).await.assert_problem(403, None);
    change(&admin, &owner_id, json!({ "role": "viewer" })).await.assert_problem(403, None);
    let invite = json!({ "email": "x@acme.example", "role": "owner" });
    cloud.post_as(&admin, "/api/tenant/invitations", invite).await.assert_problem(403, None);
    for body in [json!({ "role": "admin" }), json!({ "disabled": true })] {
        change(&owner, &owner_id, body).await.assert_problem(409, Some("role"));
    }
    let path = format!("/api/tenant/users/{owner_id}");
    send(&cloud, &owner, Method::DELETE, &path, json!({})).await.assert_problem(409, Some("role"));
    send(&cloud, &admin, Method::DELETE, &path, json!({})).await.assert_problem(403, None);
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
    send(&cloud, &owner, Method::PATCH, &path, json!({ "name": "Sam Guard" })).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_ok();
    send(&cloud, &owner, Method::PATCH, &path, json!({ "role": "viewer" })).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_problem(401, None);
    let again = login(&cloud, "sam@acme.example", PASSWORD).await;
    let (sam, refresh) = (Owner { token: again.text("token") }, again.text("refresh_token"));
    send(&cloud, &owner, Method::PATCH, &path, json!({ "disabled": true })).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_problem(401, None);
    cloud.post("/api/auth/refresh", json!({ "refresh_token": refresh })).await.assert_problem(401, None);
    let refused = login(&cloud, "sam@acme.example", PASSWORD).await;
    assert_eq!(refused.body, login(&cloud, "nobody@acme.example", PASSWORD).await.body);
    send(&cloud, &owner, Method::PATCH, &path, json!({ "disabled": false })).await.assert_ok();
    let sam = Owner { token: login(&cloud, "sam@acme.example", PASSWORD).await.text("token") };
    send(&cloud, &owner, Method::DELETE, &path, json!({})).await.assert_ok();
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
    send(&cloud, &owner, Method::PATCH, &path, json!({ "cameras": [] })).await.assert_ok();
    let sam = Owner { token: login(&cloud, "sam@acme.example", PASSWORD).await.text("token") };
    assert_eq!(seen(&sam).await, 0);
    let admin = json!({ "email": "a@acme.example", "role": "admin", "cameras": [] });
    cloud.post_as(&owner, "/api/tenant/invitations", admin).await.assert_problem(422, Some("cameras"));
    let foreign =
        json!({ "email": "a@acme.example", "role": "viewer", "cameras": [{ "edge_id": "edge_x", "camera_id": "a" }] });
    cloud.post_as(&owner, "/api/tenant/invitations", foreign).await.assert_problem(404, None);
}

#[tokio::test]
async fn a_changed_password_ends_every_other_session() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let other = login(&cloud, "owner@acme.example", PASSWORD).await;
    let change = |current: &str, password: &str| json!({ "current_password": current, "password": password });
    let path = "/api/auth/password";
    cloud.post_as(&owner, path, change("wrong", OTHER_PASSWORD)).await.assert_problem(422, Some("current_password"));
    cloud.post_as(&owner, path, change(PASSWORD, "acme acme acme")).await.assert_problem(422, Some("password"));
    let changed = cloud.post_as(&owner, path, change(PASSWORD, OTHER_PASSWORD)).await;
    changed.assert_ok();
    for token in [&owner.token, &other.text("token")] {
        cloud.get_as(&Owner { token: token.clone() }, "/api/auth/me").await.assert_problem(401, None);
    }
    let refresh = json!({ "refresh_token": other.text("refresh_token") });
    cloud.post("/api/auth/refresh", refresh).await.assert_problem(401, None);
    cloud.get_as(&Owner { token: changed.text("token") }, "/api/auth/me").await.assert_ok();
    login(&cloud, "owner@acme.example", PASSWORD).await.assert_problem(401, None);
    login(&cloud, "owner@acme.example", OTHER_PASSWORD).await.assert_ok();
}

#[tokio::test]
async fn a_password_is_reset_by_mail_once_and_nobody_learns_who_has_an_account() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let ask = async |email: &str| cloud.post("/api/auth/password/reset-request", json!({ "email": email })).await;
    let (known, unknown) = (ask("Owner@acme.example").await, ask("nobody@acme.example").await);
    assert_eq!((known.status, &known.body), (StatusCode::ACCEPTED, &unknown.body));
    assert_eq!(unknown.status, StatusCode::ACCEPTED);
    assert_eq!(newest_mail(&cloud, "nobody@acme.example"), None);
    let token = token_in(&newest_mail(&cloud, "owner@acme.example").unwrap());
    let reset = async |token: &str, password: &str| {
        cloud.post("/api/auth/password/reset", json!({ "token": token, "password": password })).await
    };
    reset("wrong", OTHER_PASSWORD).await.assert_problem(422, Some("token"));
    reset(&token, "password1234").await.assert_problem(422, Some("password"));
    reset(&token, OTHER_PASSWORD).await.assert_ok();
    reset(&token, OTHER_PASSWORD).await.assert_problem(422, Some("token"));
    cloud.get_as(&owner, "/api/auth/me").await.assert_problem(401, None);
    login(&cloud, "owner@acme.example", OTHER_PASSWORD).await.assert_ok();
    ask("owner@acme.example").await;
    let late = token_in(&newest_mail(&cloud, "owner@acme.example").unwrap());
    cloud.sql("update password_resets set expires_at = 1");
    reset(&late, PASSWORD).await.assert_problem(422, Some("token"));
    // Whoever asks again and again fills no mailbox.
    for _ in 0..5 {
        assert_eq!(ask("owner@acme.example").await.status, StatusCode::ACCEPTED);
    }
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let mails: u32 = connection.query_row("select count(*) from outgoing_mail", [], |row| row.get(0)).unwrap();
    assert_eq!(mails, 3);
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_copied_one_ends_the_session() {
    let mut cloud = Cloud::start().await;
    cloud.register("acme").await;
    let first = login(&cloud, "owner@acme.example", PASSWORD).await;
    let refresh =
        async |cloud: &Cloud, token: &str| cloud.post("/api/auth/refresh", json!({ "refresh_token": token })).await;
    cloud.restart().await;
    let second = refresh(&cloud, &first.text("refresh_token")).await;
    second.assert_ok();
    let second_owner = Owner { token: second.text("token") };
    cloud.get_as(&second_owner, "/api/auth/me").await.assert_ok();
    // Somebody had copied the first one.
    refresh(&cloud, &first.text("refresh_token")).await.assert_problem(401, None);
    refresh(&cloud, &second.text("refresh_token")).await.assert_problem(401, None);
    cloud.get_as(&second_owner, "/api/auth/me").await.assert_problem(401, None);
    refresh(&cloud, "nonsense").await.assert_problem(401, None);
}

#[tokio::test]
async fn one_sees_and_ends_the_own_sessions() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let request = cloud.request(Method::POST, "/api/auth/login").header("user-agent", "Guard Phone 1");
    let phone = Answer::of(request.json(&json!({ "email": "owner@acme.example", "password": PASSWORD }))).await;
    let listed = cloud.get_as(&owner, "/api/auth/sessions").await;
    let sessions = listed.body["items"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 2);
    assert_eq!((&sessions[0]["current"], &sessions[1]["current"]), (&true.into(), &false.into()));
    assert_eq!((&sessions[1]["agent"], &sessions[1]["address"]), (&"Guard Phone 1".into(), &"127.0.0.1".into()));
    let rival = cloud.register("rival").await;
    let path = format!("/api/auth/sessions/{}", sessions[1]["session_id"].as_str().unwrap());
    send(&cloud, &rival, Method::DELETE, &path, json!({})).await.assert_problem(404, None);
    let phone = Owner { token: phone.text("token") };
    cloud.get_as(&phone, "/api/auth/me").await.assert_ok();
    send(&cloud, &owner, Method::DELETE, &path, json!({})).await.assert_ok();
    cloud.get_as(&phone, "/api/auth/me").await.assert_problem(401, None);
    let third = Owner { token: login(&cloud, "owner@acme.example", PASSWORD).await.text("token") };
    cloud.post_as(&third, "/api/auth/logout", json!({})).await.assert_ok();
    cloud.get_as(&third, "/api/auth/me").await.assert_problem(401, None);
    cloud.get_as(&owner, "/api/auth/me").await.assert_ok();
    cloud.post_as(&owner, "/api/auth/logout-everywhere", json!({})).await.assert_ok();
    cloud.get_as(&owner, "/api/auth/me").await.assert_problem(401, None);
    cloud.get_as(&rival, "/api/auth/me").await.assert_ok();
}

/// The code an app shows `steps` of 30 seconds from now.
pub(crate) fn code(secret: &str, steps: i64) -> String {
    let bytes = totp_rs::Secret::try_from_base32(secret).unwrap().as_bytes().try_into().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let at = UtcMillis::from_millis(i64::try_from(now).unwrap() + steps * 30_000);
    Authenticator::new(bytes, "a@b.example").unwrap().code(at)
}

/// Sets a second factor up; returns its secret and the recovery codes.
async fn enrol(cloud: &Cloud, who: &Owner) -> (String, Vec<String>) {
    let path = "/api/auth/second-factor";
    cloud.post_as(who, path, json!({ "password": "wrong" })).await.assert_problem(422, Some("password"));
    let begun = cloud.post_as(who, path, json!({ "password": PASSWORD })).await;
    let secret = begun.text("secret");
    assert!(begun.text("otpauth_uri").contains(&secret));
    let confirm = format!("{path}/confirm");
    let wrong = code(&secret, 40);
    cloud.post_as(who, &confirm, json!({ "code": wrong })).await.assert_problem(422, Some("code"));
    let confirmed = cloud.post_as(who, &confirm, json!({ "code": code(&secret, -1) })).await;
    confirmed.assert_ok();
    let codes = confirmed.body["recovery_codes"].as_array().unwrap().iter();
    (secret, codes.map(|code| code.as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_no_code_counts_twice() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (secret, recovery) = enrol(&cloud, &owner).await;
    let challenge = login(&cloud, "owner@acme.example", PASSWORD).await;
    assert_eq!(challenge.status, StatusCode::ACCEPTED);
    assert!(challenge.body["token"].is_null() && challenge.body["user"].is_null());
    let challenge = challenge.text("challenge");
    cloud.get_as(&Owner { token: challenge.clone() }, "/api/auth/me").await.assert_problem(401, None);
    let show = async |code: &str| {
        let body = json!({ "challenge": challenge, "code": code });
        cloud.post("/api/auth/login/second-factor", body).await
    };
    show(&code(&secret, -1)).await.assert_problem(401, None);
    let now = code(&secret, 0);
    show(&now).await.assert_ok();
    show(&now).await.assert_problem(401, None);
    show(&recovery[3].to_uppercase().replace('-', " ")).await.assert_ok();
    show(&recovery[3]).await.assert_problem(401, None);
    let left = cloud.get_as(&owner, "/api/auth/second-factor").await;
    assert_eq!((&left.body["enabled"], &left.body["recovery_codes_left"]), (&true.into(), &9.into()));
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let sealed: Vec<u8> = connection.query_row("select secret from second_factors", [], |row| row.get(0)).unwrap();
    let plain = totp_rs::Secret::try_from_base32(&secret).unwrap();
    assert!(!sealed.windows(20).any(|part| part == plain.as_bytes()), "it is sealed at rest");
    let disable = async |password: &str, code: &str| {
        cloud.post_as(&owner, "/api/auth/second-factor/disable", json!({ "password": password, "code": code })).await
    };
    disable("wrong", &recovery[0]).await.assert_problem(422, Some("password"));
    disable(PASSWORD, "000000").await.assert_problem(422, Some("code"));
    disable(PASSWORD, &recovery[0]).await.assert_ok();
    assert_eq!(login(&cloud, "owner@acme.example", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn codes_can_not_be_tried_through() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (secret, _) = enrol(&cloud, &owner).await;
    let challenge = login(&cloud, "owner@acme.example", PASSWORD).await.text("challenge");
    let tries = (0..30).map(|n| {
        let body = json!({ "challenge": challenge, "code": format!("{:06}", n * 7) });
        Answer::of(cloud.request(Method::POST, "/api/auth/login/second-factor").json(&body))
    });
    let answers = futures_util::future::join_all(tries).await;
    let tried = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    assert!((1..=10).contains(&tried), "{tried}");
    let right = json!({ "challenge": challenge, "code": code(&secret, 0) });
    cloud.post("/api/auth/login/second-factor", right).await.assert_problem(429, None);
}

#[tokio::test]
async fn where_a_second_factor_is_asked_of_all_nobody_without_one_does_anything_else() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (sam, sam_id) = join(&cloud, &owner, "sam@acme.example", json!({ "role": "admin" })).await;
    let settings = json!({ "second_factor_required": true });
    send(&cloud, &sam, Method::PUT, "/api/tenant/sign-in", settings.clone()).await.assert_problem(403, None);
    send(&cloud, &owner, Method::PUT, "/api/tenant/sign-in", settings).await.assert_ok();
    cloud.get_as(&sam, "/api/tenant/edges").await.assert_problem(403, None);
    let live = cloud.request(Method::GET, "/api/events/live").bearer_auth(&sam.token);
    Answer::of(live).await.assert_problem(403, None);
    assert_eq!(cloud.get_as(&sam, "/api/auth/me").await.body["second_factor_required"], true);
    enrol(&cloud, &sam).await;
    cloud.get_as(&sam, "/api/tenant/edges").await.assert_ok();
    cloud.get_as(&owner, "/api/tenant/edges").await.assert_problem(403, None);
    let (_, recovery) = enrol(&cloud, &owner).await;
    let disable = json!({ "password": PASSWORD, "code": recovery[0] });
    cloud.post_as(&owner, "/api/auth/second-factor/disable", disable).await.assert_problem(409, None);
    // Sam has lost the phone.
    let reset = format!("/api/tenant/users/{sam_id}/reset-second-factor");
    cloud.post_as(&owner, &reset, json!({})).await.assert_ok();
    cloud.get_as(&sam, "/api/auth/me").await.assert_problem(401, None);
    assert_eq!(login(&cloud, "sam@acme.example", PASSWORD).await.status, StatusCode::OK);
}

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
    send(&cloud, &owner, Method::PATCH, &person, json!({ "role": "viewer" })).await.assert_ok();
    cloud.get_as(&new, "/api/tenant/edges").await.assert_ok();
    cloud.post_as(&new, "/api/tenant/edges", json!({ "name": "x" })).await.assert_problem(403, None);
    send(&cloud, &owner, Method::DELETE, &person, json!({})).await.assert_ok();
    cloud.get_as(&new, "/api/tenant/edges").await.assert_problem(401, None);
    let own = cloud.post_as(&owner, "/api/tenant/api-keys", json!({ "name": "Own", "role": "viewer" })).await;
    let (key, id) = (Owner { token: own.text("key") }, own.body["api_key"]["key_id"].as_str().unwrap().to_owned());
    cloud.get_as(&key, "/api/auth/me").await.assert_ok();
    send(&cloud, &owner, Method::DELETE, &format!("/api/tenant/api-keys/{id}"), json!({})).await.assert_ok();
    cloud.get_as(&key, "/api/auth/me").await.assert_problem(401, None);
}
