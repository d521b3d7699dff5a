//! Files for users that are shipped with the sources are ones the programs accept.

use std::path::Path;

use aivms_contract::desired::{CamerasFile, Schedule};

#[test]
fn the_demo_cameras_are_accepted_and_have_zones_that_make_every_kind_of_stay() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/demo/cameras.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let file: CamerasFile = serde_json::from_str(&text).unwrap();
    let [camera] = file.cameras.as_slice() else { panic!("the demo shows one camera") };
    let zones = camera.zones.as_slice();
    assert!(zones.len() >= 3, "people walk from one zone into another");
    assert!(zones.iter().any(|zone| !zone.dwell_ms.is_empty()), "a stay long enough is reported");
}

#[test]
fn the_schedule_of_the_documentation_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ref/schedules.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let block = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let zone: serde_json::Value = serde_json::from_str(&format!("{{{block}}}")).unwrap();
    let schedule: Schedule = serde_json::from_value(zone["schedule"].clone()).unwrap();
    assert_eq!(schedule.spans().len(), 2);
}
