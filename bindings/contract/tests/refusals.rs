//! What is wrong in a desired document is named by its path, with a reason that says what would be right.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends by panicking")]

use aivms_contract::desired::Desired;
use serde_json::{Value, json};

/// A valid document with everything in it.
fn document() -> Value {
    serde_json::from_str(include_str!("golden/v1-desired-rules.json")).unwrap()
}

/// Puts `value` at `at` (a JSON pointer into the first camera) and expects a refusal at `field`, giving `reason`.
#[track_caller]
fn refused(at: &str, value: Value, field: &str, reason: &str) {
    let mut json = document();
    let (parent, key) = at.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap_or_else(|| panic!("{at} is not in the golden file"));
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        parent => parent[key] = value,
    }
    let text = json.to_string();
    let read = serde_path_to_error::deserialize::<_, Desired>(&mut serde_json::Deserializer::from_str(&text));
    let error = read.expect_err(at);
    let said = (error.path().to_string(), error.inner().to_string());
    assert!(said.0 == field && said.1.contains(reason), "{at}: {said:?}");
}

#[test]
fn every_value_of_a_rule_that_can_be_wrong_is_refused_by_its_path() {
    let zone = "/cameras/0/zones/0";
    let at = |key: &str| format!("{zone}/{key}");
    let field = |key: &str| format!("cameras[0].zones[0].{key}");
    let check = |key: &str, value: Value, path: &str, reason: &str| refused(&at(key), value, &field(path), reason);
    check("dwell_ms", json!(99), "dwell_ms", "100 to 86400000");
    check("dwell_ms", json!([1000, 50]), "dwell_ms[1]", "100 to 86400000");
    check("dwell_ms", json!([2000, 1000]), "dwell_ms", "rise");
    check("dwell_ms", json!([1000, 1000]), "dwell_ms", "rise");
    check("dwell_ms", json!((1..=9).map(|s| s * 1000).collect::<Vec<_>>()), "dwell_ms", "at most 8");
    check("dwell_ms", json!("10 s"), "dwell_ms", "milliseconds or a list");
    check("dwell_ms", json!(-5), "dwell_ms", "milliseconds or a list");
    check("debounce_ms", json!(60_001), "debounce_ms", "at most 60000");
    check("anchor", json!("middle"), "anchor", "bottom_center");
    check("min_overlap", json!(1.5), "min_overlap", "at most 1");
    check("filters/0/min_area", json!(0), "filters[0].min_area", "above 0");
    check("filters/0/max_aspect", json!(1000), "filters[0].max_aspect", "0.01 to 100");
    check("filters/0/min_size", json!(1), "filters[0].min_size", "unknown field");
    check("filters/0", json!({"min_area": 0.5, "max_area": 0.2}), "filters[0]", "min_area must be at most max_area");
    check(
        "filters/0",
        json!({"min_aspect": 2, "max_aspect": 1}),
        "filters[0]",
        "min_aspect must be at most max_aspect",
    );
    check("occupancy", json!({"at_least": 0}), "occupancy.at_least", "1 to 1000");
    check("occupancy", json!({"at_least": 2, "for_ms": 70_000}), "occupancy.for_ms", "at most 60000");
    check("occupancy", json!({}), "occupancy", "at_least");
    check("ground/width_m", json!(0), "ground.width_m", "metres");
    check("ground/min_speed_kmh", json!(501), "ground.min_speed_kmh", "km/h");
    check("ground/corners", json!([[0, 0], [1, 0], [1, 1]]), "ground.corners", "4");
    check("ground/corners", json!([[0, 0], [1, 1], [1, 0], [0, 1]]), "ground.corners", "in order around");
    check("ground/corners", json!([[0, 0], [0.5, 0.5], [1, 1], [0, 1]]), "ground.corners", "rectangle");
    check("ground/corners", json!([[0, 0], [1, 0], [0.2, 0.2], [0, 1]]), "ground.corners", "rectangle");
    check("ground/corners", json!([[0, 0], [640, 0], [640, 360], [0, 360]]), "ground.corners", "from 0 to 1");
}

#[test]
fn a_wrong_schedule_or_time_zone_is_refused_by_its_path() {
    let at = "/cameras/0/zones/0/schedule";
    let field = "cameras[0].zones[0].schedule";
    refused(at, json!([]), field, "at least one span");
    refused(at, json!(vec![json!({"from": "07:00", "to": "08:00"}); 65]), field, "at most 64 spans");
    let time = |from: &str, to: &str| json!([{"from": from, "to": to}]);
    refused(at, time("7:00", "08:00"), &format!("{field}[0].from"), "a time as 07:30");
    refused(at, time("07:00", "24:01"), &format!("{field}[0].to"), "up to 24:00");
    refused(at, time("24:00", "08:00"), field, "midnight is 00:00 as a beginning");
    refused(at, time("07:00", "00:00"), field, "24:00 as an end");
    refused(at, json!([{"days": ["monday"], "from": "07:00", "to": "08:00"}]), &format!("{field}[0].days[0]"), "`mon`");
    refused(at, json!([{"from": "07:00"}]), &format!("{field}[0]"), "missing field `to`");
    refused(at, json!([{"from": "07:00", "until": "8"}]), &format!("{field}[0].until"), "unknown field");
    refused("/settings/time_zone", json!("Europe Berlin"), "settings.time_zone", "a name as Europe/Berlin");
}

#[test]
fn a_wrong_line_or_mask_is_refused_by_its_path_or_its_id() {
    refused("/cameras/0/lines/0/direction", json!("up"), "cameras[0].lines[0].direction", "left_to_right");
    refused("/cameras/0/lines/0/from", json!([0.5, 2]), "cameras[0].lines[0].from", "0 to 1");
    refused("/cameras/0/lines/0/anchor", json!("overlap"), "cameras[0].lines", "line kerb: the anchor overlap");
    refused("/cameras/0/lines/0/to", document()["cameras"][0]["lines"][0]["from"].clone(), "cameras[0].lines", "kerb");
    refused("/cameras/0/lines/0/id", json!("yard"), "cameras", "a zone and a line have the id");
    refused("/cameras/0/lines/1/id", json!("kerb"), "cameras[0].lines", "two lines have the id");
    refused("/cameras/0/masks/0/polygon", json!([[0, 0], [1, 1]]), "cameras[0].masks[0].polygon", "3 to 64 corners");
    let mask = document()["cameras"][0]["masks"][0].clone();
    refused("/cameras/0/masks", json!(vec![mask; 33]), "cameras[0].masks", "at most 32 masks");
    refused("/cameras/0/filters/0/min_confidence", json!(0), "cameras[0].filters[0].min_confidence", "above 0");
    refused("/cameras/0/zones/1/min_overlap", json!(0.5), "cameras[0].zones", "zone drive: min_overlap is for");
}
