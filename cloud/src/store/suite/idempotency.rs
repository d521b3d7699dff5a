//! Requests that create: once, whoever repeats them, also over a restart.

use std::time::Duration;

use aivms_cloud_core::idempotency::{AT_WORK, KEPT};

use super::super::{Claim, Claimed, KeyedRequest, SharedStore, StoreError, User};
use super::{Open, at, tenant};

fn request(owner: &User, key: u8, body: u8) -> KeyedRequest {
    KeyedRequest { tenant: Some(owner.tenant), key_hash: [key; 32], fingerprint: [body; 32] }
}

async fn claimed(store: &SharedStore, request: KeyedRequest, after: Duration) -> Claimed {
    store.claim_request(request, at(0) + after).await.unwrap()
}

async fn claim(store: &SharedStore, request: KeyedRequest, after: Duration) -> Claim {
    match claimed(store, request, after).await {
        Claimed::CarryOut(claim) => claim,
        other => panic!("{other:?}"),
    }
}

async fn make(store: &SharedStore, claim: Claim, owner: &User, edge_id: &str) -> Result<(), StoreError> {
    let edge_id = edge_id.parse().unwrap();
    store.claimed(claim).create_edge(owner.tenant, &edge_id, "Gate", [1; 32], at(0)).await.map(drop)
}

pub(crate) async fn a_repeat_gets_the_kept_answer_for_a_day_also_after_a_restart(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let first = claim(&store, request(&owner, 1, 1), Duration::ZERO).await;
    assert_eq!(claimed(&store, request(&owner, 1, 1), Duration::ZERO).await, Claimed::AtWork);
    make(&store, first, &owner, "edge_a").await.unwrap();
    store.keep_answer(first, vec![7, 8]).await.unwrap();
    drop(store);
    let store = open();
    let day = KEPT - Duration::from_secs(1);
    assert_eq!(claimed(&store, request(&owner, 1, 1), day).await, Claimed::Answered(vec![7, 8]));
    assert_eq!(claimed(&store, request(&owner, 1, 2), day).await, Claimed::OtherRequest);
    // Another key is another request, and after a day the key is free.
    claim(&store, request(&owner, 2, 1), Duration::ZERO).await;
    claim(&store, request(&owner, 1, 2), KEPT).await;
}

pub(crate) async fn a_request_whose_answer_was_lost_is_not_carried_out_again(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let first = claim(&store, request(&owner, 1, 1), Duration::ZERO).await;
    make(&store, first, &owner, "edge_a").await.unwrap();
    // The process ended here; giving the claim up does not undo what was done.
    store.give_up_claim(first).await.unwrap();
    assert_eq!(claimed(&store, request(&owner, 1, 1), Duration::from_secs(1)).await, Claimed::AtWork);
    assert_eq!(claimed(&store, request(&owner, 1, 1), AT_WORK).await, Claimed::AnswerLost);
}

pub(crate) async fn of_a_request_and_its_repeat_only_one_happens(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let slow = claim(&store, request(&owner, 1, 1), Duration::ZERO).await;
    let repeat = claim(&store, request(&owner, 1, 1), AT_WORK).await;
    make(&store, repeat, &owner, "edge_a").await.unwrap();
    assert!(matches!(make(&store, slow, &owner, "edge_b").await, Err(StoreError::Overtaken)));
    assert_eq!(store.list_edges(owner.tenant).await.unwrap().len(), 1);
}

pub(crate) async fn a_request_that_failed_may_be_tried_again(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let first = claim(&store, request(&owner, 1, 1), Duration::ZERO).await;
    make(&store, first, &owner, "edge_a").await.unwrap();
    let second = claim(&store, request(&owner, 2, 1), Duration::ZERO).await;
    assert!(matches!(make(&store, second, &owner, "edge_a").await, Err(StoreError::Taken("edge_id"))));
    store.give_up_claim(second).await.unwrap();
    claim(&store, request(&owner, 2, 1), Duration::from_secs(1)).await;
}

pub(crate) async fn of_repeats_at_once_one_is_carried_out(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, request) = (store.clone(), request(&owner, 1, 1));
            tokio::spawn(async move { store.claim_request(request, at(0)).await.unwrap() })
        })
        .collect();
    let mut carried_out = 0;
    for task in tasks {
        match task.await.unwrap() {
            Claimed::CarryOut(_) => carried_out += 1,
            other => assert_eq!(other, Claimed::AtWork),
        }
    }
    assert_eq!(carried_out, 1);
}
