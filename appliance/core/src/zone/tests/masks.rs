//! Masks and camera-wide filters, before anything is a track.

use aivms_contract::desired::{Mask, ObjectFilter};

use super::*;
use crate::detection::FrameDetections;

fn frame(objects: Vec<Tracked>) -> FrameDetections {
    FrameDetections { pts: MediaTime::ZERO, frame: FrameSize { width: 1000, height: 1000 }, objects }
}

fn object(track: u64, x: f32, class: ClassId) -> Tracked {
    Tracked { track, ..sight_of(0, [x, 500.0], class).object }
}

fn mask(classes: &[&str]) -> CameraRules {
    let classes = classes.iter().map(|class| (*class).to_owned()).collect();
    let mask = Mask { name: String::new(), polygon: zone().polygon, classes };
    CameraRules { masks: vec![mask], ..CameraRules::default() }
}

fn kept(rules: &CameraRules, objects: Vec<Tracked>) -> Vec<u64> {
    let frame = frame(objects);
    let sifted = Ignored::new(rules, &labels()).sift(&frame);
    let kept = sifted.map_or(frame, |(kept, _)| kept);
    kept.objects.iter().map(|object| object.track).collect()
}

#[test]
fn an_object_with_its_foot_in_a_mask_is_left_out_if_the_mask_is_for_its_class() {
    let objects = || vec![object(1, IN, 0), object(2, OUT, 0), object(3, IN, 1)];
    assert_eq!(kept(&mask(&[]), objects()), [2]);
    assert_eq!(kept(&mask(&["car"]), objects()), [1, 2]);
    assert_eq!(kept(&CameraRules::default(), objects()), [1, 2, 3]);
}

#[test]
fn camera_wide_filters_judge_each_box_by_itself() {
    let filters: Vec<ObjectFilter> =
        serde_json::from_value(serde_json::json!([{"min_area": 0.003}, {"classes": ["car"], "min_confidence": 0.8}]))
            .unwrap();
    let rules = CameraRules { filters, ..CameraRules::default() };
    assert_eq!(kept(&rules, vec![object(1, IN, 0), object(2, IN, 1)]), [1]);
}

#[test]
fn what_is_left_out_is_told_once_with_its_cause() {
    let mut ignored = Ignored::new(&mask(&[]), &labels());
    let (_, left_out) = ignored.sift(&frame(vec![object(1, IN, 0)])).unwrap();
    let at = |second: u64| MediaTime::from_millis(second * 1000);
    let told: Vec<_> = (0..600)
        .flat_map(|second| {
            ignored.note(7, at(second), &left_out[0]);
            ignored.tell(at(second))
        })
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].track, told[0].zone_id.as_ref(), told[0].why.last().unwrap().gate),
        (7, None, aivms_contract::why::Gate::Mask)
    );
}
