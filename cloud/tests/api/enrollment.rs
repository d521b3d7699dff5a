//! Enrolment, renewal and the tokens of edges.

use aivms_contract::time::UtcMillis;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::device::{Device, key_and_csr, now_s};

fn request(edge_id: &str, edge_secret: &str, csr_pem: &str) -> Value {
    json!({ "edge_id": edge_id, "edge_secret": edge_secret, "csr_pem": csr_pem })
}

#[tokio::test]
async fn an_edge_enrols_once_with_its_secret() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (edge_id, secret) = cloud.register_edge(&owner).await;
    let (_, csr) = key_and_csr();
    let wrong = cloud.post("/api/edge/enroll", request(&edge_id, "wrong", &csr)).await;
    wrong.assert_problem(401, None);
    let unknown = cloud.post("/api/edge/enroll", request("edge_unknown", &secret, &csr)).await;
    assert_eq!(unknown.body, wrong.body);
    cloud.post("/api/edge/enroll", request(&edge_id, &secret, "no csr")).await.assert_problem(422, Some("csr_pem"));
    cloud.post("/api/edge/enroll", request("Edge", &secret, &csr)).await.assert_problem(400, None);

    let enrolled = cloud.post("/api/edge/enroll", request(&edge_id, &secret, &csr)).await;
    enrolled.assert_ok();
    assert_eq!((enrolled.text("tenant_id"), enrolled.text("edge_id")), ("acme".into(), edge_id.clone()));
    assert_eq!(enrolled.text("mqtt_host"), "localhost");
    assert_eq!(enrolled.body["mqtt_port"], cloud.mqtt_port());
    assert!(enrolled.text("ca_pem").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(enrolled.text("not_after").parse::<UtcMillis>().is_ok());

    let again = cloud.post("/api/edge/enroll", request(&edge_id, &secret, &csr)).await;
    again.assert_problem(409, Some("edge_secret"));
    assert!(again.text("detail").contains("rotate"), "{again:?}");
}

#[tokio::test]
async fn a_rotated_secret_puts_the_old_device_out_and_lets_the_new_one_in() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let path = format!("/api/tenant/edges/{}/rotate-secret", device.edge_id);
    let rotated = cloud.post_as(&owner, &path, json!({})).await;
    rotated.assert_ok();
    device.deliver(&cloud, &[device.detection(1)]).await.assert_problem(401, None);
    let (_, csr) = key_and_csr();
    let enrolled = cloud.post("/api/edge/enroll", request(&device.edge_id, &rotated.text("edge_secret"), &csr)).await;
    enrolled.assert_ok();
}

#[tokio::test]
async fn a_revoked_edge_is_told_so_when_it_enrols() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (edge_id, secret) = cloud.register_edge(&owner).await;
    cloud.post_as(&owner, &format!("/api/tenant/edges/{edge_id}/revoke"), json!({})).await.assert_ok();
    let (_, csr) = key_and_csr();
    cloud.post("/api/edge/enroll", request(&edge_id, &secret, &csr)).await.assert_problem(403, None);
}

#[tokio::test]
async fn a_renewed_certificate_counts_beside_the_one_before() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let (answer, renewed) = device.renew(&cloud).await;
    assert_eq!(answer.text("edge_id"), device.edge_id);
    renewed.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
    device.deliver(&cloud, &[device.detection(2)]).await.assert_ok();
    cloud.post_as(&owner, &format!("/api/tenant/edges/{}/revoke", device.edge_id), json!({})).await.assert_ok();
    for device in [&device, &renewed] {
        device.deliver(&cloud, &[device.detection(3)]).await.assert_problem(401, None);
    }
}

#[tokio::test]
async fn only_a_fresh_token_signed_with_the_key_of_its_certificate_counts() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let (device, other) = (Device::enrolled(&cloud, &owner).await, Device::enrolled(&cloud, &owner).await);
    let wrong = [
        ("a user's token", owner.token.clone()),
        ("no certificate named", device.token_with(|header, _| header.x5t_s256 = None)),
        ("another edge's certificate", {
            let thumbprint = jsonwebtoken::decode_header(other.token()).unwrap().x5t_s256;
            device.token_with(|header, _| header.x5t_s256 = thumbprint)
        }),
        ("another subject", device.token_with(|_, claims| claims.sub = claims.sub.replace("acme", "rival"))),
        ("another audience", device.token_with(|_, claims| claims.aud = "aivms-api".into())),
        ("ended", device.token_with(|_, claims| (claims.iat, claims.exp) = (now_s() - 400, now_s() - 100))),
        ("too long", device.token_with(|_, claims| claims.exp = claims.iat + 301)),
        ("from the future", device.token_with(|_, claims| (claims.iat, claims.exp) = (now_s() + 600, now_s() + 900))),
    ];
    for (case, token) in wrong {
        let request = cloud.request(reqwest::Method::POST, "/api/edge/events").bearer_auth(token);
        let answer = crate::cloud::Answer::of(request.json(&json!({ "events": [device.detection(1)] }))).await;
        assert_eq!(answer.status, 401, "{case}: {answer:?}");
        answer.assert_problem(401, None);
    }
    // The public key as a shared secret: the classic confusion of algorithms.
    let confused = {
        let mut header = jsonwebtoken::decode_header(device.token()).unwrap();
        header.alg = Algorithm::HS256;
        let key = jsonwebtoken::EncodingKey::from_secret(b"anything");
        jsonwebtoken::encode(&header, &json!({ "sub": "x", "aud": "aivms-cloud", "exp": now_s() + 100 }), &key).unwrap()
    };
    let request = cloud.request(reqwest::Method::POST, "/api/edge/renew").bearer_auth(confused);
    crate::cloud::Answer::of(request.json(&json!({ "csr_pem": key_and_csr().1 }))).await.assert_problem(401, None);
    device.deliver(&cloud, &[device.detection(1)]).await.assert_ok();
}
