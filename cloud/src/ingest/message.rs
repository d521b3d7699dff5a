//! Reads what an edge says on a durable topic.

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::health::CameraHealth;
use aivms_contract::id::{EdgeId, OutboxId};
use aivms_contract::topic::UpKind;
use serde::Deserialize;

use crate::store::Message;

/// Highest sequence number: databases keep it as a signed 64-bit number.
const MAX_SEQ: u64 = i64::MAX as u64;

/// Longest label of a class; those of models are words.
const MAX_CLASS_BYTES: usize = 256;

/// Says why a payload on a durable topic can be neither stored nor set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not an envelope with edge, outbox and sequence number.
    #[error("not an envelope: {0}")]
    Unreadable(String),
    /// The envelope names another edge than the sender.
    #[error("edge: is {0}, which is not the sender")]
    ForeignEdge(EdgeId),
}

/// Reads what `edge` published on `kind`.
///
/// A message whose body, version or time this program can't accept is set aside whole, with the reason, as long as
/// its place in the outbox can be read: refusing it would make the edge send it for ever.
///
/// # Errors
/// It can't be told whose message it is and where in an outbox it belongs.
pub fn read_message(kind: UpKind, payload: &[u8], edge: &EdgeId) -> Result<Message, MessageError> {
    let reason = match Envelope::from_json(payload) {
        Ok(envelope) if envelope.edge != *edge => return Err(MessageError::ForeignEdge(envelope.edge)),
        Ok(envelope) if envelope.body.kind() == kind && envelope.seq <= MAX_SEQ => match check_values(&envelope.body) {
            Ok(()) => return Ok(Message::Known(Box::new(envelope))),
            Err(reason) => reason,
        },
        Ok(envelope) => format!("kind: is {}, sent as {}", envelope.body.kind().as_str(), kind.as_str()),
        Err(error) => error.to_string(),
    };
    let place = read_place(payload)?;
    if place.edge != *edge {
        return Err(MessageError::ForeignEdge(place.edge));
    }
    Ok(Message::Unreadable { outbox: place.outbox, seq: place.seq, kind, payload: payload.to_vec(), reason })
}

/// Checks what the types of the contract let through and the database can't give back or should not remember: a number
/// beyond 32 bits is read as infinite, which JSON can't say, so that every list with it would fail; and names are kept
/// in memory.
fn check_values(body: &Body) -> Result<(), String> {
    let seen = |class: &str, confidence: f32| match (class.len(), confidence.is_finite()) {
        (..=MAX_CLASS_BYTES, true) => Ok(()),
        (..=MAX_CLASS_BYTES, false) => Err("confidence: is out of range".to_owned()),
        _ => Err(format!("object_class: is longer than {MAX_CLASS_BYTES} bytes")),
    };
    match body {
        Body::Detections(body) => seen(&body.object_class, body.confidence),
        Body::ZoneEvents(body) if !body.speed_kmh.is_none_or(f32::is_finite) => {
            Err("speed_kmh: is out of range".to_owned())
        }
        Body::ZoneEvents(body) => seen(&body.object_class, body.confidence),
        Body::Health(body) if !body.cameras.iter().all(|camera| camera.detect_fps.is_finite()) => {
            Err("cameras: a detect_fps is out of range".to_owned())
        }
        Body::Health(body) if !body.cameras.iter().all(has_finite_recording) => {
            Err("cameras: a figure of its recording is out of range".to_owned())
        }
        Body::Snapshots(body) => match &body.object {
            Some(object) => seen(&object.object_class, object.confidence),
            None => Ok(()),
        },
        Body::Health(_) | Body::Alerts(_) | Body::Clips(_) | Body::Footage(_) => Ok(()),
    }
}

fn has_finite_recording(camera: &CameraHealth) -> bool {
    camera.recording.as_ref().is_none_or(|recording| {
        [recording.forecast_days, recording.continuity_percent].into_iter().flatten().all(f32::is_finite)
    })
}

/// The least an envelope of any version must hold.
#[derive(Deserialize)]
struct OutboxPlace {
    edge: EdgeId,
    outbox: OutboxId,
    seq: u64,
}

fn read_place(payload: &[u8]) -> Result<OutboxPlace, MessageError> {
    let place: OutboxPlace =
        serde_json::from_slice(payload).map_err(|error| MessageError::Unreadable(error.to_string()))?;
    if !(1..=MAX_SEQ).contains(&place.seq) {
        return Err(MessageError::Unreadable(format!("seq: must be 1 to {MAX_SEQ}")));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use aivms_contract::health::Health;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn edge() -> EdgeId {
        EdgeId::from_random(1)
    }

    fn envelope() -> Value {
        let health: Health = serde_json::from_value(json!({
            "timestamp": "2026-11-22T13:05:00.250Z", "version": "0.1.0", "uptime_s": 1, "disk_total_bytes": 2, "disk_free_bytes": 1, "cameras": [],
            "outbox": {"entries": 0, "bytes": 0, "shed": 0},
        }))
        .unwrap();
        let envelope = Envelope::new(edge(), OutboxId::from_random(2), 7, Body::Health(health), 3);
        serde_json::from_slice(&envelope.to_json()).unwrap()
    }

    fn read(kind: UpKind, change: impl Fn(&mut Value)) -> Result<Message, MessageError> {
        let mut value = envelope();
        change(&mut value);
        read_message(kind, value.to_string().as_bytes(), &edge())
    }

    fn set_aside(result: Result<Message, MessageError>, part: &str) {
        let Ok(Message::Unreadable { seq: 7, payload, reason, .. }) = result else { panic!("{result:?}") };
        assert!(reason.contains(part), "{reason}");
        assert!(!payload.is_empty());
    }

    #[test]
    fn a_whole_envelope_is_known() {
        assert!(matches!(read(UpKind::Health, |_| ()), Ok(Message::Known(_))));
    }

    #[test]
    fn what_a_newer_edge_says_is_set_aside_whole() {
        set_aside(read(UpKind::Health, |e| e["v"] = json!(2)), "v:");
        set_aside(read(UpKind::Health, |e| e["body"] = json!({"new": true})), "not an envelope");
        set_aside(read(UpKind::Health, |e| e["kind"] = json!("thoughts")), "not an envelope");
        set_aside(read(UpKind::Health, |e| e["at"] = json!("2020-01-01T00:00:00.000Z")), "id:");
        set_aside(read(UpKind::Alerts, |_| ()), "kind: is health, sent as alerts");
    }

    #[test]
    fn a_message_without_its_place_or_of_another_edge_is_refused() {
        let other = EdgeId::from_random(9);
        let foreign = Err(MessageError::ForeignEdge(other.clone()));
        let name_other = |e: &mut Value| e["edge"] = json!(other);
        assert_eq!(read(UpKind::Health, name_other).map(drop), foreign);
        let unreadable_too = |e: &mut Value| {
            name_other(e);
            e["body"] = json!(null);
        };
        assert_eq!(read(UpKind::Health, unreadable_too).map(drop), foreign);
        for key in ["edge", "outbox", "seq"] {
            let result = read(UpKind::Health, |e| e[key] = json!(null));
            assert!(matches!(result, Err(MessageError::Unreadable(_))), "{key}");
        }
        for seq in [json!(0), json!(-1), json!(u64::MAX), json!(1u64 << 63)] {
            let result = read(UpKind::Health, |e| e["seq"] = seq.clone());
            assert!(matches!(result, Err(MessageError::Unreadable(_))), "{seq}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_panic(payload: Vec<u8>, cut in 0usize..400) {
            drop(read_message(UpKind::Health, &payload, &edge()));
            let whole = envelope().to_string().into_bytes();
            drop(read_message(UpKind::Health, &whole[..cut.min(whole.len())], &edge()));
        }
    }
}
