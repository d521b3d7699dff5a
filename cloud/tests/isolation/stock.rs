//! One of everything: what both tenants have when the tests begin.

use std::path::Path;
use std::time::Duration;

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::media::{MediaKind, MediaOffer, MediaType, Sha256Hex};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cloud::{Answer, Cloud, SOON};
use crate::device::at;
use crate::document::Operation;
use crate::party::Party;
use crate::{footage_edge, recipes};

/// Members of events whose text an edge chooses; each gets the tenant's marker.
const CHOSEN: [&str; 12] = [
    "camera_id",
    "zone_id",
    "track_id",
    "object_class",
    "title",
    "message",
    "clip_id",
    "snapshot_id",
    "lock_id",
    "command_id",
    "version",
    "alert_type",
];

/// Two tenants, each with one of everything.
pub(crate) async fn two_tenants<'c>(cloud: &'c Cloud, operations: &[Operation]) -> [Party<'c>; 2] {
    [one_tenant(cloud, "acme", operations).await, one_tenant(cloud, "rival", operations).await]
}

/// A tenant with one of everything.
pub(crate) async fn one_tenant<'c>(cloud: &'c Cloud, name: &str, operations: &[Operation]) -> Party<'c> {
    let party = tenant_with_events(cloud, name).await;
    carry_out_everything(&party, operations).await;
    let settled = async {
        while !are_deliveries_settled(&party).await || !are_exports_settled(&party).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, settled).await.expect("each delivery is tried at once");
    check_that_everything_is_there(&party, operations);
    party
}

/// Whether each delivery has been tried: from then on only its further tries change what the log shows.
async fn are_deliveries_settled(party: &Party<'_>) -> bool {
    let log = party.cloud.get_as(&party.owner, "/api/notifications/deliveries?limit=200").await;
    log.body["items"].as_array().unwrap().iter().all(|delivery| delivery["attempts"] != 0)
}

/// Whether nothing is written for the tenant any more.
async fn are_exports_settled(party: &Party<'_>) -> bool {
    let list = party.cloud.get_as(&party.owner, "/api/tenant/exports").await;
    let is_under_way = |export: &Value| export["state"] == "waiting" || export["state"] == "running";
    !list.body["items"].as_array().unwrap().iter().any(is_under_way)
}

/// A tenant whose edge has told and sent one of each, and answers about its footage.
pub(crate) async fn tenant_with_events<'c>(cloud: &'c Cloud, name: &str) -> Party<'c> {
    let party = Party::new(cloud, name).await;
    deliver_one_of_each(&party).await;
    send_a_file(&party, MediaKind::Clip, "clip_id").await;
    send_a_file(&party, MediaKind::Snapshot, "snapshot_id").await;
    footage_edge::connect(&party).await;
    party
}

/// Each message of the contract's golden files, as this tenant's edge would send it.
pub(crate) async fn deliver_one_of_each(party: &Party<'_>) {
    let mut events = vec![party.device.detection(party.number())];
    party.add("event_id", &events[0].id.to_string());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/contract/tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let Ok(envelope) = Envelope::from_json(&std::fs::read(&file).unwrap()) else { continue };
        let mut body = serde_json::to_value(&envelope).unwrap();
        mark(party, &mut body);
        let body: Body = serde_json::from_value(json!({ "kind": body["kind"], "body": body["body"] })).unwrap();
        events.push(party.device.envelope(party.number(), body));
    }
    assert!(events.len() > 15, "only {} events in the golden files", events.len());
    party.device.deliver(party.cloud, &events).await.assert_ok();
    // `id` is the name of an event's id in lists.
    events.iter().for_each(|event| party.add("id", &event.id.to_string()));
    party.harvest(&serde_json::to_value(&events).unwrap());
}

fn mark(party: &Party<'_>, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mark(party, item)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if CHOSEN.contains(&name.as_str()) => {
                        *text = format!("{text}-{}", party.marker);
                    }
                    Value::String(text) if name == "event_id" => *text = party.thing("event_id"),
                    other => mark(party, other),
                }
            }
        }
        _ => {}
    }
}

async fn send_a_file(party: &Party<'_>, kind: MediaKind, name: &str) {
    let bytes = format!("the file of {}", party.marker).into_bytes();
    let offer = MediaOffer {
        kind,
        media_id: party.thing(name).parse().unwrap(),
        camera_id: party.thing("camera_id").parse().unwrap(),
        size_bytes: bytes.len() as u64,
        sha256: Sha256Hex::from_bytes(Sha256::digest(&bytes).into()),
        content_type: if kind == MediaKind::Clip { MediaType::Mp4 } else { MediaType::Jpeg },
        captured_at: at(1),
        event_id: None,
    };
    let request = party.cloud.request(Method::POST, "/api/edge/media").bearer_auth(party.device.token());
    Answer::of(request.json(&offer)).await.assert_ok();
    let path = format!("/api/edge/media/{kind}/{}?offset=0", offer.media_id);
    let request = party.cloud.request(Method::PATCH, &path).bearer_auth(party.device.token());
    let sent = Answer::of(request.header("content-type", "application/octet-stream").body(bytes)).await;
    assert_eq!(sent.body["stored"], true, "{sent:?}");
}

/// Every operation once as it is meant, so that a tenant has one of all that can be made; what it is told by ids is
/// kept.
async fn carry_out_everything(party: &Party<'_>, operations: &[Operation]) {
    for operation in operations {
        let mut call = recipes::call(party, operation).await;
        for (name, _) in operation.parameters.iter().filter(|(name, place)| place == "header" && name != "If-Match") {
            // Another tenant's key of a request that was carried out must be as good as a new one.
            let key = party.slug("key");
            party.add(&format!("{name} {}", operation.id), &key);
            call.headers.push((name.clone(), key));
        }
        let seen = party.send(Party::caller(operation), operation, &call).await;
        assert!(
            call.is_success(seen.status),
            "{}: its request in cloud/tests/isolation/recipes/ is not valid: {} {}\n{call:?}",
            operation.id,
            seen.status,
            seen.text
        );
        if !call.apart {
            party.harvest(&seen.json());
        }
    }
}

fn check_that_everything_is_there(party: &Party<'_>, operations: &[Operation]) {
    for operation in operations {
        for (name, place) in operation.named() {
            assert!(
                place == "header" || !party.things(name).is_empty(),
                "{}: the tenants have nothing that its {place} parameter {name} names. Have one made in \
                 cloud/tests/isolation/stock.rs, or, if it names nothing of a tenant's, add it to PLAIN in document.rs",
                operation.id
            );
        }
        for name in &operation.named_in_body {
            let is_there = !party.things(name).is_empty();
            assert!(is_there, "{}: the tenants have no {name}; have one made in stock.rs", operation.id);
        }
    }
}
