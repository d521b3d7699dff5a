//! What makes something makes it once, however often the request arrives: tried with every operation of the API's
//! document that takes the header `Idempotency-Key`, and every operation that makes something takes it.

use crate::cloud::{Cloud, Owner};
use crate::document::{Operation, operations};
use crate::party::{Caller, Party, Seen};
use crate::recipes::{self, Call};
use crate::stock::one_tenant;

const HEADER: &str = "Idempotency-Key";

/// Operations that answer 201 and take no key, and why.
const WITHOUT: [(&str, &str); 1] =
    [("buy_live_ticket", "a ticket is good once and for half a minute; a lost one costs nothing")];

fn takes_key(operation: &Operation) -> bool {
    operation.parameters.iter().any(|(name, place)| name == HEADER && place == "header")
}

#[tokio::test]
async fn every_operation_that_makes_something_takes_an_idempotency_key() {
    let cloud = Cloud::start().await;
    for operation in operations(&cloud).await {
        let reason = WITHOUT.iter().find(|(id, _)| *id == operation.id);
        assert!(
            !operation.makes || takes_key(&operation) != reason.is_some(),
            "{} ({} {}) answers 201: let it take the header {HEADER} and work by Services::once; or say in WITHOUT why \
             it needs none ({reason:?})",
            operation.id,
            operation.method,
            operation.path
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_takes_an_idempotency_key_is_done_once_for_each() {
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    let keyed: Vec<_> = operations.iter().filter(|operation| takes_key(operation)).collect();
    assert!(keyed.len() >= 12, "only {} operations take a key", keyed.len());
    for operation in keyed {
        let call = keyed_call(&party, operation, None).await;
        let first = twice_at_once(&party, operation, &call).await;
        a_repeat_changes_nothing(&party, operation, &call, &first).await;
        another_request_never_gets_the_answer(&party, operation, &call).await;
    }
}

/// A request with a key, by somebody of its own; the key and who sends it may be those of another one.
async fn keyed_call(party: &Party<'_>, operation: &Operation, of: Option<&Call>) -> Call {
    let mut call = recipes::call_with_success(party, operation).await;
    match of {
        Some(of) => (call.token, call.headers) = (of.token.clone(), of.headers.clone()),
        None => {
            call.headers.push((HEADER.to_owned(), party.slug("key")));
            if matches!(Party::caller(operation), Caller::Person(_)) {
                call.token = Some(party.another("owner").await.1);
            }
        }
    }
    call
}

/// Sends the same request twice at the same time: one is carried out, the other gets its answer or is told to wait.
async fn twice_at_once(party: &Party<'_>, operation: &Operation, call: &Call) -> Seen {
    let caller = Party::caller(operation);
    let both = tokio::join!(party.send(caller, operation, call), party.send(caller, operation, call));
    let (first, second) = if call.is_success(both.0.status) { both } else { (both.1, both.0) };
    assert!(call.is_success(first.status), "{}: {} {}", operation.id, first.status, first.text);
    if second.status != 409 {
        assert_eq!(same(&second), same(&first), "{}", operation.id);
    }
    first
}

/// A repeat gets the first answer, and neither it nor the one at the same time has done anything.
async fn a_repeat_changes_nothing(party: &Party<'_>, operation: &Operation, call: &Call, first: &Seen) {
    let reader = match call.apart {
        true => Owner { token: first.json()["token"].as_str().unwrap().to_owned() },
        false => party.owner.clone(),
    };
    let written = async || party.cloud.get_as(&reader, "/api/audit?limit=200").await.body;
    let before = written().await;
    let again = party.send(Party::caller(operation), operation, call).await;
    assert_eq!(same(&again), same(first), "{}", operation.id);
    assert_eq!(written().await, before, "{}: a repeat did something", operation.id);
    if let Some(token) = &call.token {
        assert_eq!(times_done_by(party, token).await, 1, "{}: {before}", operation.id);
    }
}

/// How often somebody of the tenant has done something, as the audit log tells.
async fn times_done_by(party: &Party<'_>, token: &str) -> usize {
    let email = party.cloud.get_as(&Owner { token: token.to_owned() }, "/api/auth/me").await.text("email");
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("actor_id", &email).finish();
    let log = party.cloud.get_as(&party.owner, &format!("/api/audit?{query}")).await;
    log.body["items"].as_array().unwrap().iter().filter(|item| item["action"] != "user.signed_in").count()
}

/// Another body under the same key is refused, and the same key of somebody else is another key.
async fn another_request_never_gets_the_answer(party: &Party<'_>, operation: &Operation, call: &Call) {
    let caller = Party::caller(operation);
    let other = keyed_call(party, operation, Some(call)).await;
    let seen = party.send(caller, operation, &other).await;
    if operation.schemes.is_empty() {
        // Strangers are told apart by what they ask for.
        assert!(other.is_success(seen.status), "{}: {} {}", operation.id, seen.status, seen.text);
    } else {
        assert_eq!((seen.status, &seen.json()["field"]), (422, &HEADER.into()), "{}: {}", operation.id, seen.text);
        let token = party.another("owner").await.1;
        let theirs = Call { token: Some(token.clone()), ..call.clone() };
        let seen = party.send(caller, operation, &theirs).await;
        assert!(call.is_success(seen.status), "{}: {} {}", operation.id, seen.status, seen.text);
        assert_eq!(times_done_by(party, &token).await, 1, "{}: somebody else's answer", operation.id);
    }
}

/// What two answers to one request have in common.
fn same(seen: &Seen) -> (u16, &str, Option<&reqwest::header::HeaderValue>) {
    (seen.status, &seen.text, seen.headers.get("location"))
}
