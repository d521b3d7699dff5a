//! What can't be a rule, and which field says so.

use serde_json::{Value, json};

use super::*;

/// The field of the fault that `change` makes in a rule of `kind`.
#[track_caller]
fn check(kind: Kind, change: &Value, field: &str) {
    let mut text = serde_json::to_value(warning(kind)).unwrap();
    text.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let rule: Rule = serde_json::from_value(text).unwrap();
    assert_eq!(rule.check().map_err(|fault| fault.field), Err(field.to_owned()), "{change}");
}

#[test]
fn each_fault_names_its_field() {
    use Kind::{Detection, DiskForecast, EdgeAlert, EdgeOffline, Temperature, Zone};
    check(Zone, &json!({ "name": " " }), "name");
    check(Zone, &json!({ "name": "a\u{0}b" }), "name");
    check(Zone, &json!({ "name": "x".repeat(201) }), "name");
    check(Zone, &json!({ "severity": null }), "severity");
    check(Zone, &json!({ "classes": [""] }), "classes");
    check(Zone, &json!({ "event_types": ["enter", "exit", "enter"] }), "event_types");
    check(
        Zone,
        &json!({ "schedule": [{ "days": ["mon", "mon"], "from": "06:00", "to": "07:00" }] }),
        "schedule[0].days",
    );
    check(Zone, &json!({ "classes": ["a", "a"] }), "classes");
    check(Zone, &json!({ "zones": vec!["z"; 257] }), "zones");
    check(Detection, &json!({ "zones": ["dock"] }), "zones");
    check(Detection, &json!({ "direction": "left_to_right" }), "direction");
    check(Zone, &json!({ "direction": "left_to_right", "event_types": ["enter"] }), "direction");
    check(Zone, &json!({ "alert_types": ["tamper"] }), "alert_types");
    check(EdgeOffline, &json!({ "cameras": [{ "camera_id": "gate" }] }), "cameras");
    check(EdgeAlert, &json!({ "min_confidence": 0.5 }), "min_confidence");
    check(Zone, &json!({ "min_confidence": 1.5 }), "min_confidence");
    check(Zone, &json!({ "min_dwell_ms": 86_400_001 }), "min_dwell_ms");
    check(DiskForecast, &json!({}), "below_days");
    check(Temperature, &json!({}), "above_celsius");
    check(Temperature, &json!({ "above_celsius": 300.0 }), "above_celsius");
    check(Zone, &json!({ "cooldown_s": 604_801 }), "cooldown_s");
    check(Zone, &json!({ "repeated": { "times": 1, "within_s": 5 } }), "repeated.times");
    check(Zone, &json!({ "repeated": { "times": 2, "within_s": 0 } }), "repeated.within_s");
    check(Zone, &json!({ "time_zone": "Europe/Atlantis" }), "time_zone");
    check(Zone, &json!({ "escalation": [{ "after_minutes": 0 }] }), "escalation[0].after_minutes");
    check(
        Zone,
        &json!({ "escalation": [{ "after_minutes": 5 }, { "after_minutes": 5 }] }),
        "escalation[1].after_minutes",
    );
    check(Zone, &json!({ "escalation": [{ "after_minutes": 5, "targets": [""] }] }), "escalation[0].targets");
}

#[test]
fn a_rule_is_read_as_it_was_written_and_a_misspelt_field_is_refused() {
    let text = json!({
        "name": "Night dock", "enabled": true, "kind": "zone", "severity": "critical", "zones": ["dock"],
        "classes": ["person"], "event_types": ["enter", "dwell"], "min_confidence": 0.5, "stationary": false,
        "schedule": [{ "days": ["mon"], "from": "22:00", "to": "06:00" }], "time_zone": "Europe/Berlin",
        "repeated": { "times": 2, "within_s": 30 }, "cooldown_s": 60, "per": "zone", "once_per_track": true,
        "targets": ["guards"], "escalation": [{ "after_minutes": 5, "severity": "critical", "targets": ["boss"] }],
    });
    let rule: Rule = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(rule.check(), Ok(()));
    assert_eq!(serde_json::to_value(&rule).unwrap(), text);
    let mut misspelt = text;
    misspelt["cool_down_s"] = json!(60);
    assert!(serde_json::from_value::<Rule>(misspelt).is_err());
}
