//! Every failure is a problem document; every answer has its safety headers.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::cloud::{Answer, Cloud, SOON};

#[tokio::test]
async fn every_failure_is_a_problem_document() {
    let cloud = Cloud::start().await;
    let register = "/api/auth/register";
    let cases = [
        (Method::GET, "/nothing", None, 404),
        (Method::GET, "/api/nothing", None, 404),
        (Method::GET, "/api/auth/me", None, 401),
        (Method::GET, "/api/events/live", None, 401),
        (Method::POST, register, Some(("application/json", "{")), 400),
        (Method::POST, register, Some(("application/json", "null")), 400),
        (Method::POST, register, Some(("application/json", "")), 400),
        (Method::POST, register, Some(("application/json", r#"{"name": 7}"#)), 400),
        (Method::POST, register, Some(("text/plain", "{}")), 415),
        (Method::DELETE, "/api/auth/me", None, 405),
        (Method::POST, "/healthz", None, 405),
        (Method::TRACE, "/api/tenant/edges/edge_x", None, 405),
    ];
    for (method, path, body, status) in cases {
        let mut request = cloud.request(method.clone(), path);
        if let Some((content_type, text)) = body {
            request = request.header(CONTENT_TYPE, content_type).body(text);
        }
        let answer = Answer::of(request).await;
        answer.assert_problem(status, None);
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{method} {path}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
    }
    let answer = Answer::of(cloud.request(Method::PUT, "/api/tenant/edges")).await;
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
}

#[tokio::test]
async fn a_wrong_member_is_named_in_the_detail() {
    let cloud = Cloud::start().await;
    for (body, name) in [
        (json!({ "email": 7, "password": "x" }), "email"),
        (json!({ "email": "a@example.com" }), "password"),
        (json!({ "email": "a@example.com", "password": "x", "pasword": "x" }), "pasword"),
    ] {
        let answer = cloud.post("/api/auth/login", body).await;
        answer.assert_problem(400, None);
        assert!(answer.text("detail").contains(name), "{answer:?}");
    }
}

#[tokio::test]
async fn a_parameter_that_there_is_not_is_named_and_lets_nothing_through() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("Acme").await;
    let answer = cloud.get_as(&owner, "/api/events/detections?limit=1&object_clas=person").await;
    answer.assert_problem(400, Some("object_clas"));
    assert!(answer.text("detail").contains("object_class"), "{answer:?}");
    cloud.get_as(&owner, "/api/auth/me?verbose=1").await.assert_problem(400, Some("verbose"));
    assert_eq!(cloud.get_as(&owner, "/api/events/detections?limit=1&object_class=person").await.status, 200);
    assert_eq!(Answer::of(cloud.request(Method::GET, "/docs?from=a-bookmark")).await.status, 200);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let cloud = Cloud::start().await;
    let request = || cloud.request(Method::POST, "/api/auth/login").header(CONTENT_TYPE, "application/json");
    let large = vec![b' '; 1024 * 1024 + 1];
    Answer::of(request().body(large.clone())).await.assert_problem(413, None);
    let pieces = futures_util::stream::iter(
        large.chunks(16 * 1024).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>(),
    );
    Answer::of(request().body(reqwest::Body::wrap_stream(pieces))).await.assert_problem(413, None);
}

#[tokio::test]
async fn every_answer_has_its_safety_headers() {
    let cloud = Cloud::start().await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs", "/api/auth/me", "/nothing"] {
        let answer = Answer::of(cloud.request(Method::GET, path)).await;
        for name in
            ["content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy", "cache-control"]
        {
            assert!(answer.headers.contains_key(name), "{name} of {path}");
        }
    }
    let health = Answer::of(cloud.request(Method::GET, "/healthz")).await;
    assert_eq!((health.status.as_u16(), health.body.as_str()), (200, Some("ok")));
    assert_eq!(health.headers["x-content-type-options"], HeaderValue::from_static("nosniff"));
}

#[tokio::test]
async fn the_cloud_stops_in_time_with_live_streams_open() {
    let mut cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let request = cloud.request(Method::GET, "/api/events/live").bearer_auth(&owner.token);
        streams.push(request.send().await.unwrap());
    }
    tokio::time::timeout(SOON, cloud.stop()).await.expect("stops without waiting for its watchers");
}
