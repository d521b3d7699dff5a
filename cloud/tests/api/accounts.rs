//! Registration, signing in, tokens and roles.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner, PASSWORD};

fn account(tenant_name: &str, email: &str) -> Value {
    json!({ "tenant_name": tenant_name, "email": email, "password": PASSWORD, "name": "Jane" })
}

#[tokio::test]
async fn a_registered_owner_signs_in_however_the_address_is_typed() {
    let cloud = Cloud::start().await;
    let registered = cloud.post("/api/auth/register", account("Acme Corp", "Jane@Acme.example")).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    assert_eq!(registered.header("location"), "/api/auth/me");
    let user = json!({
        "user_id": registered.body["user"]["user_id"], "email": "jane@acme.example", "name": "Jane", "role": "owner",
        "all_cameras": true, "cameras": [], "second_factor": false, "second_factor_required": false,
        "tenant_id": "acme-corp", "tenant_name": "Acme Corp",
    });
    assert_eq!(registered.body["user"], user);
    let login = cloud.post("/api/auth/login", json!({ "email": " JANE@acme.EXAMPLE", "password": PASSWORD })).await;
    login.assert_ok();
    let me = cloud.get_as(&Owner { token: login.text("token") }, "/api/auth/me").await;
    assert_eq!((me.status, &me.body), (StatusCode::OK, &user));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let cloud = Cloud::start().await;
    cloud.register("acme").await;
    let wrong =
        cloud.post("/api/auth/login", json!({ "email": "owner@acme.example", "password": "not the one" })).await;
    let unknown = cloud.post("/api/auth/login", json!({ "email": "x@acme.example", "password": PASSWORD })).await;
    let no_address = cloud.post("/api/auth/login", json!({ "email": "owner", "password": PASSWORD })).await;
    let too_long = json!({ "email": "owner@acme.example", "password": PASSWORD.repeat(100) });
    let too_long = cloud.post("/api/auth/login", too_long).await;
    for answer in [&wrong, &unknown, &no_address, &too_long] {
        answer.assert_problem(401, None);
        assert_eq!(answer.body, wrong.body);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn each_rule_of_registration_names_its_field() {
    let cloud = Cloud::start().await;
    for (field, value) in [
        ("tenant_name", "!!"),
        ("tenant_name", "Admin"),
        ("email", "nobody"),
        ("password", "short"),
        ("password", "password1234"),
        ("name", " "),
    ] {
        let mut body = account("Acme", "jane@acme.example");
        body[field] = value.into();
        cloud.post("/api/auth/register", body).await.assert_problem(422, Some(field));
    }
    cloud.post("/api/auth/register", account("Acme", "jane@acme.example")).await.assert_ok();
    let same_slug = cloud.post("/api/auth/register", account("ACME!", "other@acme.example")).await;
    same_slug.assert_problem(409, Some("tenant_name"));
    let same_address = cloud.post("/api/auth/register", account("Other", "JANE@acme.example")).await;
    same_address.assert_problem(409, Some("email"));
}

#[tokio::test]
async fn a_withdrawn_token_ends_at_once_and_a_restart_ends_none() {
    let mut cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    cloud.restart().await;
    cloud.get_as(&owner, "/api/auth/me").await.assert_ok();
    cloud.sql("update users set token_generation = token_generation + 1");
    let refused = cloud.get_as(&owner, "/api/auth/me").await;
    refused.assert_problem(401, None);
    assert_eq!(refused.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    cloud.get_as(&Owner { token: "e30.e30.e30".into() }, "/api/auth/me").await.assert_problem(401, None);
}

#[tokio::test]
async fn people_who_may_only_look_change_nothing() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (edge_id, _) = cloud.register_edge(&owner).await;
    for role in ["viewer", "operator"] {
        cloud.sql(&format!("update users set role = '{role}'"));
        for path in ["/api/tenant/edges", "/api/tenant/operators"] {
            cloud.get_as(&owner, path).await.assert_ok();
            cloud.post_as(&owner, path, json!({ "name": "x" })).await.assert_problem(403, None);
        }
        for action in ["rotate-secret", "revoke"] {
            let path = format!("/api/tenant/edges/{edge_id}/{action}");
            cloud.post_as(&owner, &path, json!({})).await.assert_problem(403, None);
        }
        cloud.post_as(&owner, "/api/tenant/operators/op_x/revoke", json!({})).await.assert_problem(403, None);
    }
    cloud.sql("update users set role = 'admin'");
    cloud.post_as(&owner, "/api/tenant/edges", json!({ "name": "x" })).await.assert_ok();
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down_for_that_account_only() {
    let cloud = Cloud::start().await;
    cloud.register("acme").await;
    cloud.register("other").await;
    let guess = async |email: &str, password: &str| {
        cloud.post("/api/auth/login", json!({ "email": email, "password": password })).await
    };
    for _ in 0..3 {
        guess("owner@acme.example", PASSWORD).await.assert_ok();
    }
    for n in 0..10 {
        guess("owner@acme.example", &format!("guess number {n}")).await.assert_problem(401, None);
    }
    let refused = guess("owner@acme.example", PASSWORD).await;
    refused.assert_problem(429, None);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    guess("owner@other.example", PASSWORD).await.assert_ok();
}

#[tokio::test]
async fn parallel_guesses_count_each() {
    let cloud = Cloud::start().await;
    cloud.register("acme").await;
    let guesses = (0..30).map(|n| {
        let body = json!({ "email": "owner@acme.example", "password": format!("guess number {n}") });
        Answer::of(cloud.request(Method::POST, "/api/auth/login").json(&body))
    });
    let answers = futures_util::future::join_all(guesses).await;
    let tried = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    assert!((1..=10).contains(&tried), "{tried}");
    assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status.as_u16())));
}
