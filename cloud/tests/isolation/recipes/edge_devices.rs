//! What appliances call.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Body, Call};
use crate::device::{at, key_and_csr};
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    Some(match operation {
        "enroll_edge" => {
            let (edge_id, edge_secret) = party.cloud.register_edge(&party.owner).await;
            Call::json(json!({ "edge_id": edge_id, "edge_secret": edge_secret, "csr_pem": key_and_csr().1 }))
        }
        "renew_edge_certificate" => Call::json(json!({ "csr_pem": key_and_csr().1 })),
        "deliver_events" => Call::json(json!({ "events": [party.device.detection(party.number())] })),
        "offer_media" => offer(party, b"a file of which nothing is sent"),
        "send_media" => {
            let bytes = party.slug("file").into_bytes();
            let offer = offer(party, &bytes);
            let Body::Json(body) = &offer.body else { unreachable!("an offer is JSON") };
            let request = party.cloud.request(reqwest::Method::POST, "/api/edge/media").json(body);
            request.bearer_auth(party.device.token()).send().await.unwrap().error_for_status().unwrap();
            let body = Body::Bytes("application/octet-stream", bytes);
            let media_id = offer.path["media_id"].clone();
            Call { body, ..Call::plain() }.path("kind", "clip").path("media_id", media_id).query("offset", "0")
        }
        _ => return None,
    })
}

fn offer(party: &Party<'_>, bytes: &[u8]) -> Call {
    let media_id = party.slug("clip");
    let body = json!({
        "kind": "clip", "media_id": media_id, "camera_id": party.thing("camera_id"), "size_bytes": bytes.len(),
        "sha256": hex(&Sha256::digest(bytes)), "content_type": "video/mp4", "captured_at": at(1), "event_id": party.thing("event_id"),
    });
    Call::json(body).path("media_id", media_id)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
