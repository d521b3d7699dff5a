//! Passwords and sessions: what ends which, and what is good once.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::cloud::{Answer, Cloud, Owner, PASSWORD};
use crate::people::{login, newest_mail};

const OTHER_PASSWORD: &str = "seven crooked lanterns over water";

/// The token at the end of a mail's paragraph.
fn token_in(mail: &str) -> String {
    let is_token =
        |word: &&str| word.len() == 43 && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    mail.split_whitespace().find(is_token).unwrap_or_else(|| panic!("no token in {mail}")).to_owned()
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
    cloud.send_as(&rival, Method::DELETE, &path, json!({})).await.assert_problem(404, None);
    let phone = Owner { token: phone.text("token") };
    cloud.get_as(&phone, "/api/auth/me").await.assert_ok();
    cloud.send_as(&owner, Method::DELETE, &path, json!({})).await.assert_ok();
    cloud.get_as(&phone, "/api/auth/me").await.assert_problem(401, None);
    let third = Owner { token: login(&cloud, "owner@acme.example", PASSWORD).await.text("token") };
    cloud.post_as(&third, "/api/auth/logout", json!({})).await.assert_ok();
    cloud.get_as(&third, "/api/auth/me").await.assert_problem(401, None);
    cloud.get_as(&owner, "/api/auth/me").await.assert_ok();
    cloud.post_as(&owner, "/api/auth/logout-everywhere", json!({})).await.assert_ok();
    cloud.get_as(&owner, "/api/auth/me").await.assert_problem(401, None);
    cloud.get_as(&rival, "/api/auth/me").await.assert_ok();
}
