//! Creating once: the header `Idempotency-Key`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner};

async fn create(cloud: &Cloud, owner: &Owner, path: &str, key: &str, body: Value) -> Answer {
    let request = cloud.request(Method::POST, path).bearer_auth(&owner.token);
    Answer::of(request.header("idempotency-key", key).json(&body)).await
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_again_with_its_secret_and_makes_nothing() {
    let mut cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    for (path, member) in [("/api/tenant/edges", "edge_secret"), ("/api/tenant/operators", "private_key_pem")] {
        // A key belongs to its operation.
        let key = "a-key-of-the-caller";
        let first = create(&cloud, &owner, path, key, json!({ "name": "Gate" })).await;
        assert_eq!(first.status, 201, "{first:?}");
        cloud.restart().await;
        let again = create(&cloud, &owner, path, key, json!({ "name": "Gate" })).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("location"), first.header("location"));
        let other = create(&cloud, &owner, path, key, json!({ "name": "Yard" })).await;
        other.assert_problem(422, Some("Idempotency-Key"));
        let kept = std::fs::read(cloud.database()).unwrap();
        let secret = first.text(member);
        assert!(!kept.windows(20).any(|part| part == &secret.as_bytes()[secret.len() / 2..][..20]));
    }
    assert_eq!(cloud.get_as(&owner, "/api/tenant/edges").await.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(cloud.get_as(&owner, "/api/tenant/operators").await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn one_callers_key_says_nothing_to_another() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let ours = create(&cloud, &owner, "/api/tenant/edges", "key", json!({ "name": "Gate" })).await;
    let theirs = create(&cloud, &rival, "/api/tenant/edges", "key", json!({ "name": "Gate" })).await;
    assert_eq!((ours.status.as_u16(), theirs.status.as_u16()), (201, 201));
    assert_ne!(ours.text("edge_id"), theirs.text("edge_id"));
}

#[tokio::test]
async fn repeats_at_once_make_one_and_a_failure_may_be_tried_again() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let wrong = create(&cloud, &owner, "/api/tenant/edges", "key", json!({ "name": "\u{7}" })).await;
    assert!(wrong.status.is_client_error(), "{wrong:?}");
    let repeats = (0..8).map(|_| create(&cloud, &owner, "/api/tenant/edges", "key", json!({ "name": "Gate" })));
    for answer in futures_util::future::join_all(repeats).await {
        if answer.status != 201 {
            answer.assert_problem(409, Some("Idempotency-Key"));
        }
    }
    assert_eq!(cloud.get_as(&owner, "/api/tenant/edges").await.body["items"].as_array().unwrap().len(), 1);
    let bad = create(&cloud, &owner, "/api/tenant/edges", "two words", json!({ "name": "Gate" })).await;
    bad.assert_problem(400, Some("Idempotency-Key"));
}
