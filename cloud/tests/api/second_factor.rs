//! Second factors.

use aivms_cloud_core::second_factor::Authenticator;
use aivms_contract::time::UtcMillis;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::cloud::{Answer, Cloud, Owner, PASSWORD};
use crate::people::{join, login};

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
    cloud.send_as(&sam, Method::PUT, "/api/tenant/sign-in", settings.clone()).await.assert_problem(403, None);
    cloud.send_as(&owner, Method::PUT, "/api/tenant/sign-in", settings).await.assert_ok();
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
