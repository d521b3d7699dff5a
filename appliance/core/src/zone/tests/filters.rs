//! What objects must be like, and how much of them must be inside.

use aivms_contract::desired::ObjectFilter;

use super::*;

fn filtered(filters: serde_json::Value) -> Zone {
    Zone { filters: serde_json::from_value::<Vec<ObjectFilter>>(filters).unwrap(), ..zone() }
}

fn sure(at_ms: u64, x: f32, confidence: f32) -> Sight {
    let mut sight = sight(at_ms, x);
    sight.object.confidence = confidence;
    sight
}

#[test]
fn who_is_inside_stays_whatever_the_filters_say_of_it_later() {
    let zone = filtered(serde_json::json!([{"min_confidence": 0.6}]));
    let sights = (0..20).map(|i| sure(i * 200, IN, if i < 5 { 0.9 } else { 0.1 }));
    check(zone, sights, &["enter@0", "lost@3800(3800)"]);
}

#[test]
fn an_object_enters_when_it_passes_the_filters_for_the_first_time() {
    let zone = filtered(serde_json::json!([{"min_confidence": 0.6}]));
    // Sure enough from 1 s on; the mean follows within half a second or so.
    let sights = (0..20).map(|i| sure(i * 200, IN, if i < 5 { 0.3 } else { 0.9 }));
    check(zone, sights, &["enter@1400", "lost@3800(2400)"]);
}

#[test]
fn a_confidence_that_flickers_about_the_limit_lets_in_once_and_never_throws_out() {
    let zone = Zone {
        debounce_ms: DebounceMs::try_from(400).unwrap(),
        ..filtered(serde_json::json!([{"min_confidence": 0.5}]))
    };
    let sights = (0..100).map(|i| sure(i * 200, IN, if i % 3 == 0 { 0.45 } else { 0.55 }));
    let mut play = Play::of(&[zone]);
    sights.for_each(|sight| play.see(1, sight));
    assert_eq!(play.made.len(), 1, "{:?}", play.said());
}

/// Half of the box, 100 pixels high, is inside when its bottom edge is 50 pixels below the zone's upper side at 400.
fn shared(min_overlap: f64) -> Zone {
    Zone { anchor: Anchor::Overlap, min_overlap: Some(Fraction::try_from(min_overlap).unwrap()), ..zone() }
}

#[test]
fn with_the_anchor_overlap_enough_of_the_box_must_be_inside() {
    let down = |i: u64| sight_of(i * 200, [500.0, 390.0 + 20.0 * i as f32], 0);
    // Bottom edge at 390, 410, 430, 450, …: shares 0, 0.1, 0.3, 0.5.
    check(shared(0.5), (0..=8).map(down), &["enter@600", "lost@1600(1000)"]);
    check(shared(0.2), (0..=8).map(down), &["enter@300", "lost@1600(1300)"]);
    check(shared(1.0), (0..=4).map(down), &[]);
}

#[test]
fn a_box_cut_by_the_frame_counts_by_what_is_visible_of_it() {
    let corner =
        Zone { anchor: Anchor::Overlap, ..zone_of("corner", &[[0.0, 0.0], [0.1, 0.0], [0.1, 0.1], [0.0, 0.1]]) };
    let bbox = PixelBox::new(-100.0, -100.0, 50.0, 50.0).unwrap();
    let mut seen = sight(0, 0.0);
    seen.object.bbox = bbox;
    check(corner, [seen], &["enter@0", "lost@0(0)"]);
}
