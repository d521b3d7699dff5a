//! Events to send and the look into the database.

use aivms_cloud::store::{EventFilter, PageRequest};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::{EdgeId, OutboxId};
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::{Cloud, Credentials, Tenant};

/// Detection number `seq` of an outbox.
pub fn detection(edge: &EdgeId, outbox: &OutboxId, seq: u64) -> Envelope {
    let body = json!({
        "camera_id": "gate", "timestamp": UtcMillis::from_millis(1_795_352_700_000 + i64::try_from(seq).unwrap()),
        "object_class": "person", "confidence": 0.9, "bbox": [1.0, 2.0, 3.0, 4.0],
        "frame": {"width": 640, "height": 480}, "track_id": format!("track-{seq}"), "phase": "update", "age_ms": 40,
    });
    let body = Body::Detections(serde_json::from_value(body).expect("a detection of this version"));
    Envelope::new(edge.clone(), outbox.clone(), seq, body, fastrand::u128(..))
}

pub fn outbox() -> OutboxId {
    OutboxId::from_random(fastrand::u128(..))
}

impl Cloud {
    /// Sequence numbers by track id of everything stored of an edge, sorted.
    pub async fn stored(&self, tenant: &Tenant, edge: &Credentials) -> Vec<u64> {
        let filter = EventFilter { edge_id: Some(edge.edge_id().clone()), ..EventFilter::default() };
        let mut sequence = Vec::new();
        let mut before = None;
        loop {
            let page = PageRequest { before, limit: 500 };
            let page = self.store.list_detections(tenant.key, filter.clone(), page).await.unwrap();
            sequence.extend(page.items.iter().map(|event| event.envelope.seq));
            before = page.next;
            if before.is_none() {
                sequence.sort_unstable();
                return sequence;
            }
        }
    }
}

/// An enter event, number `seq` of an outbox.
pub fn zone_event(edge: &EdgeId, outbox: &OutboxId, seq: u64) -> Envelope {
    let body = json!({
        "camera_id": "gate", "zone_id": "lawn", "event_type": "enter", "object_class": "person", "confidence": 0.9,
        "timestamp": UtcMillis::from_millis(1_795_352_700_000 + i64::try_from(seq).unwrap()),
        "bbox": [1.0, 2.0, 3.0, 4.0], "frame": {"width": 640, "height": 480}, "track_id": format!("track-{seq}"),
    });
    let body = Body::ZoneEvents(serde_json::from_value(body).expect("a zone event of this version"));
    Envelope::new(edge.clone(), outbox.clone(), seq, body, fastrand::u128(..))
}
