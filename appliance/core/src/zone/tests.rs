use aivms_contract::desired::{DebounceMs, DwellMs};
use aivms_contract::geometry::{FrameSize, PixelBox, Polygon};

use super::*;
use crate::detection::Tracked;

const LABELS: [&str; 2] = ["person", "car"];
const OUT: f32 = 200.0;
const IN: f32 = 500.0;

/// A zone over the middle of a frame of 1000 x 1000 pixels, from 400 to 600 both ways.
fn zone() -> Zone {
    let corners = [[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]];
    let polygon = Polygon::new(corners.map(Point::from).to_vec()).unwrap();
    Zone { debounce_ms: DebounceMs::try_from(0).unwrap(), ..Zone::new("door".parse().unwrap(), polygon) }
}

fn with_times(debounce_ms: u64, dwell_ms: u64) -> Zone {
    Zone {
        debounce_ms: DebounceMs::try_from(debounce_ms).unwrap(),
        dwell_ms: DwellMs::try_from(dwell_ms).unwrap().into(),
        ..zone()
    }
}

fn labels() -> Vec<String> {
    LABELS.map(String::from).to_vec()
}

fn engine(zones: &[Zone]) -> ZoneEngine {
    ZoneEngine::new(zones, &labels(), ZoneSettings::default())
}

/// A sight of a box whose bottom centre is at (x, 500) pixels.
fn sight(at_ms: u64, x: f32) -> Sight {
    sight_of(at_ms, [x, 500.0], 0)
}

fn sight_of(at_ms: u64, [x, y]: [f32; 2], class: ClassId) -> Sight {
    let bbox = PixelBox::new(x - 20.0, y - 100.0, x + 20.0, y).unwrap();
    let object = Tracked { track: 1, class, confidence: 0.75, bbox };
    Sight { at: MediaTime::from_millis(at_ms), frame: FrameSize { width: 1000, height: 1000 }, object }
}

/// Prints transitions as `enter@1200`, `dwell@11200`, `left@1500(300)`, in order.
fn print(mut transitions: Vec<ZoneTransition>) -> Vec<String> {
    sort_transitions(&mut transitions);
    let ms = |at: MediaTime| (at.as_nanos() + 500_000) / 1_000_000;
    let print = |t: &ZoneTransition| match t.what {
        Move::Enter => format!("enter@{}", ms(t.at)),
        Move::Dwell { .. } => format!("dwell@{}", ms(t.at)),
        Move::Exit { stay, reason } => {
            let name = match reason {
                ExitReason::Left => "left",
                ExitReason::TrackLost => "lost",
                ExitReason::ZoneChanged => "changed",
                ExitReason::ScheduleEnded => "closed",
            };
            format!("{name}@{}({})", ms(t.at), stay.as_millis())
        }
    };
    transitions.iter().map(print).collect()
}

/// Plays one track through `zone`, ends it, and compares what was said.
fn check(zone: Zone, sights: impl IntoIterator<Item = Sight>, expected: &[&str]) {
    let (mut engine, mut out) = (engine(&[zone]), vec![]);
    for sight in sights {
        engine.observe(1, &sight, &mut out);
    }
    engine.end_track(1, &mut out);
    assert_eq!(print(out), expected);
}

#[test]
fn the_boundary_is_crossed_between_two_sights_where_the_path_meets_it() {
    check(zone(), [sight(0, 300.0), sight(200, 500.0), sight(400, 700.0)], &["enter@100", "left@300(200)"]);
}

#[test]
fn a_path_through_the_zone_between_two_sights_outside_is_a_visit() {
    check(zone(), [sight(0, 0.0), sight(1000, 1000.0)], &["enter@400", "left@600(200)"]);
    check(with_times(300, 10_000), [sight(0, 0.0), sight(1000, 1000.0)], &[]);
}

#[test]
fn a_first_sight_inside_enters_then_and_a_lost_track_leaves_at_its_last_sight() {
    check(zone(), [sight(1000, IN), sight(1200, IN)], &["enter@1000", "lost@1200(200)"]);
    check(with_times(400, 500), [sight(1000, IN), sight(1600, IN)], &["enter@1000", "dwell@1500", "lost@1600(600)"]);
}

#[test]
fn a_track_last_seen_outside_left_when_it_crossed_however_short_that_was_ago() {
    let sights = [sight(0, IN), sight(1000, IN), sight(1200, 700.0)];
    check(with_times(400, 10_000), sights, &["enter@0", "left@1100(1100)"]);
}

#[test]
fn a_change_counts_after_the_debounce_time_and_carries_the_time_of_the_crossing() {
    let (mut engine, mut out) = (engine(&[with_times(400, 10_000)]), vec![]);
    for (at, x) in [(0, 300.0), (200, 500.0), (400, IN)] {
        engine.observe(1, &sight(at, x), &mut out);
    }
    assert!(out.is_empty(), "300 ms inside are not enough");
    engine.observe(1, &sight(600, IN), &mut out);
    assert_eq!(print(out.clone()), ["enter@100"]);
    assert_eq!(out[0].shown.at, MediaTime::from_millis(200), "shown by the first sight inside");
}

#[test]
fn a_step_outside_shorter_than_the_debounce_time_does_not_end_a_stay() {
    let sights = (0..=60).map(|i| sight(i * 200, if i == 20 { OUT } else { IN }));
    check(with_times(1000, 10_000), sights, &["enter@0", "dwell@10000", "lost@12000(12000)"]);
}

/// Frigate counts dwell in frames at the configured rate: 10 s became 51 s at one frame per second
/// (Frigate 0.18, `tracked_object.py`).
#[test]
fn a_dwell_of_ten_seconds_is_ten_seconds_at_every_frame_rate() {
    for fps in [30, 10, 5, 4, 3, 2, 1] {
        let sights = (0..=12 * fps).map(|i| sight(i * 1000 / fps, IN));
        check(with_times(400, 10_000), sights, &["enter@0", "dwell@10000", "lost@12000(12000)"]);
    }
}

/// Frigate never reduces its loitering counter, so that the third visit of 4 s was a "10 s" dwell at 70.2 s.
#[test]
fn visits_of_four_seconds_do_not_add_up_to_a_dwell_of_ten() {
    // Every 30 s the object is inside for 4 s, seen at 5 frames per second for 150 s.
    let inside = |at: u64| at % 30_000 < 4_000;
    let sights = (0..750).map(|i| sight(i * 200, if inside(i * 200) { IN } else { OUT }));
    let (mut engine, mut out) = (engine(&[with_times(400, 10_000)]), vec![]);
    sights.for_each(|sight| engine.observe(1, &sight, &mut out));
    assert_eq!(out.iter().filter(|t| t.what == Move::Enter).count(), 5);
    assert_eq!(out.iter().filter(|t| matches!(t.what, Move::Dwell { .. })).count(), 0);
}

/// Frigate's inertia writes the count back unchanged, so that an object inside in one frame of ten entered at its
/// third hit.
#[test]
fn one_frame_in_ten_inside_is_no_enter() {
    let sights = (0..200).map(|i| sight(i * 200, if i % 10 == 5 { 410.0 } else { 390.0 }));
    check(with_times(400, 10_000), sights, &[]);
}

/// A parked car is one stay with one dwell, however long it stands and however its box trembles (Frigate #879, #2556,
/// #16562: alerts all night).
#[test]
fn a_parked_object_dwells_once() {
    let tremble = |i: u64| 500.0 + if i.is_multiple_of(3) { 4.0 } else { -3.0 };
    let sights = (0..5 * 3600).map(|i| sight(i * 200, tremble(i)));
    check(with_times(400, 10_000), sights, &["enter@0", "dwell@10000", "lost@3599800(3599800)"]);
}

#[test]
fn a_box_that_trembles_on_the_boundary_does_not_come_and_go() {
    let sights = (0..100).map(|i| sight(i * 200, if i % 2 == 0 { 398.0 } else { 402.0 }));
    check(with_times(400, 10_000), sights, &[]);
}

#[test]
fn a_dwell_is_given_when_the_object_left_after_the_dwell_time_but_was_next_seen_outside() {
    // Inside until 10.5 s; the sights are 1 s apart.
    let sights = (0..=10).map(|i| sight(i * 1000, if i == 10 { 700.0 } else { IN }));
    check(with_times(0, 9_400), sights, &["enter@0", "dwell@9400", "left@9500(9500)"]);
    let sights = (0..=10).map(|i| sight(i * 1000, if i == 10 { 700.0 } else { IN }));
    check(with_times(0, 9_600), sights, &["enter@0", "left@9500(9500)"]);
}

#[test]
fn a_long_gap_between_sights_is_not_joined() {
    let sights = [sight(0, OUT), sight(200, OUT), sight(1900, IN), sight(2000, IN), sight(3900, OUT)];
    check(zone(), sights, &["enter@1900", "left@2000(100)"]);
}

#[test]
fn a_gap_does_not_count_as_time_outside() {
    let back = [sight(0, IN), sight(1000, IN), sight(2900, OUT), sight(3000, IN)];
    check(with_times(400, 10_000), back, &["enter@0", "lost@3000(3000)"]);
    let gone = [sight(0, IN), sight(1000, IN), sight(2900, OUT), sight(3300, OUT)];
    check(with_times(400, 10_000), gone, &["enter@0", "left@1000(1000)"]);
}

#[test]
fn media_time_that_stands_still_or_goes_back_is_ignored() {
    let sights = [sight(1000, OUT), sight(1000, IN), sight(500, IN), sight(1200, OUT)];
    check(zone(), sights, &[]);
}

#[test]
fn the_class_filter_decides_who_enters_and_not_who_leaves() {
    let cars = Zone { classes: vec!["car".into()], ..zone() };
    let of = |at, x, class| sight_of(at, [x, 500.0], class);
    check(cars.clone(), [of(0, OUT, 0), of(200, IN, 0), of(400, OUT, 0)], &[]);
    check(
        cars.clone(),
        [of(0, IN, 0), of(200, IN, 1), of(400, IN, 0), of(600, IN, 0)],
        &["enter@200", "lost@600(400)"],
    );
    check(Zone { classes: vec!["unicorn".into()], ..zone() }, [of(0, IN, 0), of(200, IN, 9)], &[]);
}

#[test]
fn an_object_cut_off_by_the_frame_is_in_a_zone_drawn_to_the_edge() {
    let corners = [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 1.0]];
    let floor = Zone { polygon: Polygon::new(corners.map(Point::from).to_vec()).unwrap(), ..zone() };
    for bottom in [999.0, 1000.0, 1040.0] {
        check(
            floor.clone(),
            [sight_of(0, [500.0, bottom], 0), sight_of(200, [500.0, bottom], 0)],
            &["enter@0", "lost@200(200)"],
        );
    }
}

#[test]
fn the_anchor_of_the_zone_decides_which_point_counts() {
    // The box stands from 500 to 600: its middle is inside, its foot on the lower side is not.
    let at = |ms| sight_of(ms, [500.0, 640.0], 0);
    check(zone(), [at(0), at(200)], &[]);
    check(Zone { anchor: Anchor::Center, ..zone() }, [at(0), at(200)], &["enter@0", "lost@200(200)"]);
}

#[test]
fn transitions_of_a_frame_are_ordered_by_time_then_zone_then_track() {
    let (mut engine, mut out) = (engine(&[Zone { id: "b".parse().unwrap(), ..zone() }, zone()]), vec![]);
    for (track, x) in [(2, 300.0), (1, 300.0), (3, 350.0)] {
        engine.observe(track, &sight(0, x), &mut out);
    }
    for track in [2, 1, 3] {
        engine.observe(track, &sight(200, 500.0), &mut out);
    }
    sort_transitions(&mut out);
    let order: Vec<_> = out.iter().map(|t| (t.zone_id.as_str(), t.track)).collect();
    assert_eq!(order, [("b", 3), ("door", 3), ("b", 1), ("b", 2), ("door", 1), ("door", 2)]);
}

#[test]
fn replacing_zones_goes_on_with_equal_ones_and_closes_the_others() {
    let named = |id: &str| Zone { id: id.parse().unwrap(), ..with_times(0, 10_000) };
    let (mut engine, mut out) = (engine(&[named("kept"), named("gone"), named("moved")]), vec![]);
    engine.observe(1, &sight(0, IN), &mut out);
    engine.observe(1, &sight(200, IN), &mut out);
    out.clear();
    let corners = [[0.3, 0.3], [0.6, 0.3], [0.6, 0.6], [0.3, 0.6]];
    let moved = Zone { polygon: Polygon::new(corners.map(Point::from).to_vec()).unwrap(), ..named("moved") };
    engine.replace_zones(&[moved, named("new"), Zone { name: "renamed".into(), ..named("kept") }], &labels(), &mut out);
    let said: Vec<_> = out.iter().map(|t| (t.zone_id.as_str(), t.what)).collect();
    let closed = Move::Exit { stay: Duration::from_millis(200), reason: ExitReason::ZoneChanged };
    assert_eq!(said, [("gone", closed), ("moved", closed)]);
    out.clear();
    engine.observe(1, &sight(400, IN), &mut out);
    let said: Vec<_> = out.iter().map(|t| (t.zone_id.as_str(), t.what)).collect();
    assert_eq!(said, [("moved", Move::Enter), ("new", Move::Enter)]);
    out.clear();
    engine.end_track(1, &mut out);
    let stays: Vec<_> = out.iter().map(|t| (t.zone_id.as_str(), t.what)).collect();
    let lost = |ms| Move::Exit { stay: Duration::from_millis(ms), reason: ExitReason::TrackLost };
    assert_eq!(stays, [("moved", lost(0)), ("new", lost(0)), ("kept", lost(400))]);
}
