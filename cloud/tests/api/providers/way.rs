//! The way of somebody through a provider into the cloud.

use aivms_cloud::config::NotificationsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::server::{Provider, RETURN, SECRET, browser};
use crate::cloud::{Answer, Cloud, Owner};

/// What a program draws for a sign-in.
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Where everybody ends whom the provider or the cloud does not want.
pub(super) const FAILED: &str = "http://cloud.example/sign-in#sign-in-failed=";

/// A cloud that may call the provider, with an owner whose organisation uses it.
pub(super) async fn cloud_with(provider: &Provider, settings: Value) -> (Cloud, Owner) {
    let mut cloud = Cloud::start().await;
    cloud.notifications = NotificationsConfig {
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        allowed_ports: vec![provider.port],
        allow_http: true,
        ..NotificationsConfig::default()
    };
    cloud.public_url = Some("http://cloud.example".parse().unwrap());
    cloud.restart().await;
    let owner = cloud.register("acme").await;
    let mut body = settings_of(&provider.issuer);
    for (name, value) in settings.as_object().unwrap() {
        body[name] = value.clone();
    }
    let set = put(&cloud, &owner, body).await;
    set.assert_ok();
    assert_eq!(set.body["redirect_url"], RETURN);
    assert!(!set.body.to_string().contains(SECRET));
    (cloud, owner)
}

pub(super) fn settings_of(issuer: &str) -> Value {
    json!({ "issuer": issuer, "client_id": "aivms", "client_secret": SECRET, "allowed_domains": ["Acme.example"] })
}

pub(super) async fn put(cloud: &Cloud, who: &Owner, body: Value) -> Answer {
    cloud.send_as(who, Method::PUT, "/api/tenant/provider", body).await
}

pub(super) async fn remove(cloud: &Cloud, who: &Owner) {
    let removed = cloud.request(Method::DELETE, "/api/tenant/provider").bearer_auth(&who.token);
    Answer::of(removed).await.assert_ok();
}

/// Where a sign-in to `tenant` begins.
pub(super) fn start_path(tenant: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    format!("/api/auth/provider/{tenant}/start?code_challenge={challenge}")
}

/// Where `start` sends the browser, and the cookie it keeps.
pub(super) async fn start(cloud: &Cloud, tenant: &str) -> (String, String) {
    let url = cloud.request(Method::GET, &start_path(tenant)).build().unwrap().url().clone();
    let answer = browser().get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (answer.headers()[LOCATION].to_str().unwrap().to_owned(), cookie)
}

/// Where the callback sends the browser.
pub(super) async fn come_back(cloud: &Cloud, back: &Url, cookie: &str) -> String {
    let path = format!("{}?{}", back.path(), back.query().unwrap());
    let url = cloud.request(Method::GET, &path).build().unwrap().url().clone();
    let answer = browser().get(url).header(COOKIE, cookie).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()[LOCATION].to_str().unwrap().to_owned()
}

/// The whole way of somebody whom the easy-going provider knows; the page the browser ends on.
pub(super) async fn whole_way(cloud: &Cloud, provider: &Provider, subject: &str) -> String {
    let (page, cookie) = start(cloud, "acme").await;
    let back = provider.sign_in(&page, subject).await;
    come_back(cloud, &back, &cookie).await
}

/// The same at the certified provider.
pub(super) async fn strict_way(cloud: &Cloud, provider: &Provider, who: Option<&str>) -> String {
    let (page, cookie) = start(cloud, "acme").await;
    let back = provider.walk(&page, who).await;
    come_back(cloud, &back, &cookie).await
}

pub(super) fn code_on(page: &str) -> &str {
    let code = page.strip_prefix("http://cloud.example/sign-in#sign-in-code=");
    code.unwrap_or_else(|| panic!("{page}"))
}

pub(super) async fn exchange(cloud: &Cloud, page: &str) -> Answer {
    exchange_with(cloud, page, VERIFIER).await
}

pub(super) async fn exchange_with(cloud: &Cloud, page: &str, verifier: &str) -> Answer {
    cloud.post("/api/auth/provider/exchange", json!({ "code": code_on(page), "code_verifier": verifier })).await
}

pub(super) fn claims(email: &str, verified: bool) -> Value {
    json!({ "email": email, "email_verified": verified, "name": "Sam Guard" })
}
