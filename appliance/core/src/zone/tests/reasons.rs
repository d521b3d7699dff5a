//! Why there was an event, and why there was none: the question behind frigate-notify #108, HA_blueprints #158,
//! scrypted #1725.

use aivms_contract::desired::{Line, LineDirection, ObjectFilter};
use aivms_contract::why::Gate;

use super::*;

fn people(min_confidence: f64) -> Zone {
    let filters: Vec<ObjectFilter> =
        serde_json::from_value(serde_json::json!([{"min_confidence": min_confidence}])).unwrap();
    Zone { classes: vec!["person".into()], filters, ..with_times(400, 1_000) }
}

#[test]
fn an_event_says_what_let_it_through() {
    let mut play = Play::of(&[people(0.6)]);
    (0..=10).for_each(|i| play.see(1, sight(i * 200, if i < 8 { IN } else { OUT })));
    let why: Vec<_> = play
        .made
        .iter()
        .map(|t| t.why.iter().map(|check| (check.gate, check.value, check.limit)).collect::<Vec<_>>())
        .collect();
    let debounce = |lasted| (Gate::Debounce, Some(lasted), Some(400.0));
    assert_eq!(why[0], [(Gate::Class, None, None), (Gate::Confidence, Some(0.75), Some(0.6)), debounce(400.0)]);
    assert_eq!(why[1], [(Gate::Dwell, Some(1_000.0), Some(1_000.0))]);
    assert_eq!(why[2], [debounce(533.0)]);
    assert!(play.made.iter().flat_map(|t| &t.why).all(|check| check.passed));
    assert_eq!(play.not_said(), Vec::<String>::new());
}

#[test]
fn frigate_notify_108_what_stopped_an_object_is_told_once_per_track_zone_and_cause() {
    let mut play = Play::of(&[people(0.8)]);
    // A person who is never sure enough, and a car, for a minute.
    let unsure = |i: u64| {
        let mut unsure = sight(i * 200, IN);
        unsure.object.confidence = if i == 20 { 0.79 } else { 0.3 };
        unsure
    };
    (0..300).for_each(|i| play.frame(&[(1, unsure(i)), (2, sight_of(i * 200, [IN, 500.0], 1))]));
    let told = play.not_said();
    assert_eq!(told, ["enter of 2: class", "enter of 1: confidence 0.44/0.80"], "with the value that came nearest");
    play.end(1);
    play.end(2);
    assert_eq!(play.not_said(), Vec::<String>::new());
}

#[test]
fn a_box_of_which_not_enough_was_inside_is_told_with_the_most_that_was() {
    let zone = Zone { anchor: Anchor::Overlap, min_overlap: Some(Fraction::try_from(0.6).unwrap()), ..zone() };
    // Down to where 0.5 of the box is inside, and up again.
    let bottom = |i: u64| 390.0 + 20.0 * (if i <= 3 { i } else { 6 - i }) as f32;
    let mut play = Play::of(std::slice::from_ref(&zone));
    (0..=6).for_each(|i| play.see(1, sight_of(i * 200, [500.0, bottom(i)], 0)));
    play.end(1);
    assert_eq!((play.said(), play.not_said()), (vec![], vec!["enter of 1: overlap 0.50/0.60".to_owned()]));
    // Of one that was inside, nothing is told when it leaves.
    (0..=20).for_each(|i| play.see(2, sight_of(2_000 + i * 200, [500.0, 390.0 + 20.0 * i as f32], 0)));
    play.end(2);
    assert_eq!(play.not_said(), Vec::<String>::new());
}

#[test]
fn an_object_outside_is_not_worth_a_word() {
    let mut play = Play::of(&[people(0.8)]);
    (0..100).for_each(|i| play.see(1, sight(i * 200, OUT)));
    play.end(1);
    assert_eq!((play.said().len(), play.not_said().len()), (0, 0));
}

#[test]
fn a_reason_against_is_dropped_when_the_event_is_made_after_all() {
    let mut play = Play::of(&[people(0.6)]);
    let sight = |i: u64| {
        let mut sight = sight(i * 200, IN);
        sight.object.confidence = if i < 5 { 0.5 } else { 0.9 };
        sight
    };
    (0..20).for_each(|i| play.see(1, sight(i)));
    play.end(1);
    assert_eq!(play.made.len(), 3, "it entered, dwelt and was lost");
    assert_eq!(play.not_said(), Vec::<String>::new());
}

#[test]
fn a_visit_shorter_than_the_debounce_time_is_told_with_the_longest_one() {
    let mut play = Play::of(&[with_times(1_000, 10_000)]);
    let inside = |at: u64| (1_000..1_300).contains(&at) || (3_000..3_700).contains(&at);
    (0..50).for_each(|i| play.see(1, sight(i * 100, if inside(i * 100) { IN } else { OUT })));
    assert_eq!(play.said(), Vec::<String>::new());
    play.end(1);
    assert_eq!(play.not_said(), ["enter of 1: debounce 667/1000"]);
}

#[test]
fn a_crossing_the_other_way_or_too_short_or_of_another_class_is_told() {
    let line = Line {
        direction: LineDirection::LeftToRight,
        ..Line::new("gate".parse().unwrap(), [0.5, 0.8].into(), [0.5, 0.2].into())
    };
    let mut play = Play::new(&CameraRules { lines: vec![line.clone()], ..CameraRules::default() });
    play.walk(&[(0, 600.0), (200, 400.0), (800, 400.0), (1_000, 600.0), (1_200, 400.0)]);
    play.end(1);
    assert_eq!(play.said(), Vec::<String>::new());
    assert_eq!(play.not_said(), ["cross of 1: direction", "cross of 1: debounce 200/400"]);
    let cars = Line { classes: vec!["car".into()], ..line };
    let mut play = Play::new(&CameraRules { lines: vec![cars], ..CameraRules::default() });
    play.walk(&[(0, 400.0), (200, 600.0), (800, 600.0)]);
    play.end(1);
    assert_eq!(play.not_said(), ["cross of 1: class"]);
}

#[test]
fn notes_do_not_grow_with_time() {
    let mut play = Play::of(&[people(0.8), Zone { id: "b".parse().unwrap(), ..people(0.9) }]);
    let mut told = 0;
    for i in 0..20_000 {
        play.see(1 + i / 200, sight(i * 200, if i % 7 < 4 { IN } else { OUT }));
        if i % 200 == 199 {
            play.end(1 + i / 200);
        }
        told += play.not_said().len();
    }
    assert_eq!(told, 200, "a hundred tracks, each stopped in two zones");
    assert_eq!(format!("{:?}", play.engine.journal.notes), "Notes { pending: {}, ready: [] }");
}
