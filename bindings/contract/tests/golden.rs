//! Golden files: one message of every kind and version, decoded for ever.
//!
//! A file is never changed once released; a new version gets new files beside the old ones.

#![expect(clippy::panic, reason = "a test ends by panicking")]

use std::fmt::Debug;
use std::path::PathBuf;

use aivms_contract::ack::Ack;
use aivms_contract::command::{Action, Command, CommandResult};
use aivms_contract::desired::{CamerasFile, Desired, Reported};
use aivms_contract::envelope::Envelope;
use aivms_contract::relay::{BoxesAt, FromEdge, ToEdge};
use aivms_contract::status::Status;
use aivms_contract::topic::UpKind;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Decodes a golden file and checks that printing it again loses nothing.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str) -> T {
    let text = read(name);
    let value: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let printed = serde_json::to_string(&value).expect("prints");
    assert_eq!(serde_json::from_str::<T>(&printed).expect("reads its own print"), value, "{name}");
    let (before, after): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&text).expect("JSON"), serde_json::from_str(&printed).expect("JSON"));
    assert_eq!(before, after, "{name} prints as it was");
    value
}

#[test]
fn every_durable_kind_of_v1_decodes() {
    for (name, kind) in [
        ("v1-detections.json", UpKind::Detections),
        ("v1-zone-events-enter.json", UpKind::ZoneEvents),
        ("v1-zone-events-exit.json", UpKind::ZoneEvents),
        ("v1-zone-events-exit-zone-changed.json", UpKind::ZoneEvents),
        ("v1-zone-events-dwell.json", UpKind::ZoneEvents),
        ("v1-zone-events-cross.json", UpKind::ZoneEvents),
        ("v1-zone-events-occupied.json", UpKind::ZoneEvents),
        ("v1-zone-events-cleared.json", UpKind::ZoneEvents),
        ("v1-zone-events-cross-counted.json", UpKind::ZoneEvents),
        ("v1-zone-events-exit-schedule-ended.json", UpKind::ZoneEvents),
        ("v1-zone-events-enter-why.json", UpKind::ZoneEvents),
        ("v1-detections-stationary.json", UpKind::Detections),
        ("v1-alerts.json", UpKind::Alerts),
        ("v1-health.json", UpKind::Health),
        ("v1-clips.json", UpKind::Clips),
        ("v1-clips-incomplete.json", UpKind::Clips),
        ("v1-snapshots.json", UpKind::Snapshots),
        ("v1-footage-gap.json", UpKind::Footage),
        ("v1-footage-continuity.json", UpKind::Footage),
        ("v1-footage-deleted.json", UpKind::Footage),
        ("v1-footage-locked.json", UpKind::Footage),
        ("v1-footage-unlocked.json", UpKind::Footage),
        ("v1-health-recording.json", UpKind::Health),
        ("v1-health-temperatures.json", UpKind::Health),
    ] {
        let envelope: Envelope = check(name);
        assert_eq!(envelope.body.kind(), kind, "{name}");
        assert_eq!(envelope.at, envelope.body.at(), "{name}");
        assert_eq!(Envelope::from_json(read(name).as_bytes()).expect("a valid envelope"), envelope, "{name}");
    }
}

#[test]
fn every_other_message_of_v1_decodes() {
    check::<Status>("v1-status.json");
    check::<Ack>("v1-acks.json");
    check::<CommandResult>("v1-results-succeeded.json");
    check::<CommandResult>("v1-results-rejected.json");
    check::<Reported>("v1-reported-applied.json");
    check::<Reported>("v1-reported-refused.json");
    check::<Desired>("v1-desired.json");
    check::<Desired>("v1-desired-rules.json");
    check::<Desired>("v1-desired-recording.json");
    check::<CamerasFile>("cameras.json");
    check::<CamerasFile>("cameras-rules.json");
    let command: Command = check("v1-commands.json");
    assert!(matches!(command.action(), Ok(Action::RequestClip { .. })));
    let command: Command = check("v1-commands-lock-footage.json");
    assert!(matches!(command.action(), Ok(Action::LockFootage { .. })));
}

#[test]
fn every_message_of_the_relay_decodes_and_an_unknown_one_is_told_from_a_wrong_one() {
    for name in ["open-live", "open-playback", "seek", "credit", "close"] {
        assert_ne!(check::<ToEdge>(&format!("v1-relay-{name}.json")), ToEdge::Unknown, "{name}");
    }
    for name in ["cameras", "timeline", "sprite", "boxes"] {
        assert_ne!(check::<ToEdge>(&format!("v1-relay-ask-{name}.json")), ToEdge::Unknown, "{name}");
    }
    for name in ["opened", "opened-playback", "skipped", "dropped", "ended", "cameras", "timeline", "failed", "error"] {
        assert_ne!(check::<FromEdge>(&format!("v1-relay-{name}.json")), FromEdge::Unknown, "{name}");
    }
    check::<Vec<BoxesAt>>("v1-relay-boxes.json");
    assert_eq!(ToEdge::read(r#"{"type": "pan", "camera_id": 7}"#), Ok(ToEdge::Unknown));
    assert_eq!(FromEdge::read(r#"{"type": "sung", "stream": "a"}"#), Ok(FromEdge::Unknown));
    for wrong in [r#"{"type": "close"}"#, r#"{"type": "open", "stream": 1}"#, "{}", "no JSON", "[]"] {
        assert!(ToEdge::read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_newer_edge_may_add_fields_to_events() {
    let mut json: serde_json::Value = serde_json::from_str(&read("v1-detections.json")).expect("JSON");
    json["body"]["colour"] = "red".into();
    json["trace"] = 1.into();
    Envelope::from_json(json.to_string().as_bytes()).expect("unknown fields of events are ignored");
}

#[test]
fn a_misspelt_configuration_key_is_an_error_that_names_it() {
    for (path, key) in
        [("/cameras/0", "zone"), ("/cameras/0/zones/0", "polygons"), ("", "camera"), ("/settings", "fps")]
    {
        let mut json: serde_json::Value = serde_json::from_str(&read("v1-desired.json")).expect("JSON");
        json.pointer_mut(path).expect("in the golden file")[key] = 1.into();
        let error = serde_json::from_value::<Desired>(json).expect_err(key);
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn an_envelope_whose_id_is_of_another_time_is_refused() {
    let mut json: serde_json::Value = serde_json::from_str(&read("v1-detections.json")).expect("JSON");
    json["at"] = "2026-11-22T13:05:00.251Z".into();
    assert!(Envelope::from_json(json.to_string().as_bytes()).is_err());
}

#[test]
fn a_sequence_number_no_database_can_hold_is_refused() {
    for seq in ["0", "9223372036854775808", "18446744073709551615"] {
        let text = read("v1-detections.json").replace("\"seq\": 1,", &format!("\"seq\": {seq},"));
        assert!(Envelope::from_json(text.as_bytes()).is_err(), "{seq}");
    }
}
