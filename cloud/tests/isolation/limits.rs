//! What is too large, too deep, too much or not known is refused by every operation, and costs the cloud nothing.

use serde_json::json;

use crate::cloud::Cloud;
use crate::document::{Operation, operations};
use crate::party::{Party, Seen};
use crate::recipes::{self, Body};
use crate::stock::one_tenant;

/// Memory that the process may gain while it is sent megabytes that mean nothing, in bytes.
const MOST_GAINED: u64 = 96 << 20;

#[tokio::test]
async fn a_member_that_is_not_known_is_refused_by_its_name_in_every_body_of_people() {
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    let mut tried = 0;
    // Edges may be newer than the cloud: what they say beyond its knowledge is kept and not refused.
    for operation in operations.iter().filter(|operation| operation.schemes != ["EdgeToken"]) {
        let mut call = recipes::call(&party, operation).await;
        let Body::Json(body) = &mut call.body else { continue };
        if operation.id == "enroll_edge" || !body.is_object() {
            continue;
        }
        for (name, value) in [("surprise", json!(1)), ("role_", json!("owner")), ("tenant_", json!("mk7rival"))] {
            let mut more = call.clone();
            let Body::Json(body) = &mut more.body else { unreachable!("it is JSON") };
            body[name] = value;
            let seen = party.send(Party::caller(operation), operation, &more).await;
            assert_eq!(seen.status, 400, "{} takes {name}: {}", operation.id, seen.text);
            assert!(seen.text.contains(name), "{} does not name {name}: {}", operation.id, seen.text);
        }
        tried += 1;
    }
    assert!(tried >= 5, "only {tried} bodies were tried");
}

#[tokio::test]
async fn json_that_is_deep_wide_or_endless_is_refused_by_every_operation_and_takes_no_memory() {
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    let most = 1024 * 1024;
    let bombs = [
        ("deep lists", "[".repeat(most)),
        ("deep members", "{\"a\":".repeat(most / 5)),
        ("lists that close", "[".repeat(most / 2) + &"]".repeat(most / 2)),
        ("many members", format!("{{{}\"a\":0}}", "\"a\":0,".repeat(most / 6 - 2))),
        ("a long number", "9".repeat(most)),
        ("escapes", format!("\"{}\"", "\\u0000".repeat(most / 6 - 1))),
    ];
    let before = memory();
    for operation in operations.iter().filter(|operation| !operation.reads()) {
        let call = recipes::call(&party, operation).await;
        if !matches!(call.body, Body::Json(_)) {
            continue;
        }
        for (name, bomb) in &bombs {
            let mut call = call.clone();
            call.body = Body::Bytes("application/json", bomb.clone().into_bytes());
            let seen = party.send(Party::caller(operation), operation, &call).await;
            assert!([400, 413, 422].contains(&seen.status), "{} with {name}: {}", operation.id, seen.status);
            assert!(seen.text.len() < 2_000, "{} with {name} is answered at length", operation.id);
        }
    }
    let gained = memory().saturating_sub(before);
    assert!(gained < MOST_GAINED, "{} MiB more than before", gained >> 20);
}

#[tokio::test]
async fn every_list_has_a_largest_page() {
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    let lists: Vec<_> = operations.iter().filter(|o| has_limit(o)).collect();
    assert!(lists.len() >= 4);
    for operation in lists {
        for limit in ["0", "1001", "4294967296", "-1", "many"] {
            let mut call = recipes::call(&party, operation).await;
            call.query.retain(|(name, _)| name != "limit");
            let seen: Seen = party.send(Party::caller(operation), operation, &call.query("limit", limit)).await;
            assert_eq!(seen.status, 400, "{} with a limit of {limit}: {}", operation.id, seen.text);
            assert_eq!(seen.json()["field"], "limit", "{}: {}", operation.id, seen.text);
        }
    }
}

fn has_limit(operation: &Operation) -> bool {
    operation.reads() && operation.parameters.iter().any(|(name, _)| name == "limit")
}

/// What this process, and so the cloud in it, holds of the machine's memory, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
