mod filters;
mod lines;
mod masks;
mod occupancy;
mod reasons;
mod schedules;
mod speed;

use aivms_contract::desired::{Anchor, DebounceMs, DwellMs, Fraction, Zone};
use aivms_contract::geometry::{FrameSize, PixelBox, Point, Polygon};
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::Direction;

use super::*;
use crate::detection::{ClassId, Tracked};

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

/// A zone of these corners, without debounce.
fn zone_of(id: &str, corners: &[[f64; 2]]) -> Zone {
    let polygon = Polygon::new(corners.iter().map(|&corner| corner.into()).collect()).unwrap();
    Zone { debounce_ms: DebounceMs::try_from(0).unwrap(), ..Zone::new(id.parse().unwrap(), polygon) }
}

/// A timeline that begins at noon of a Sunday, UTC.
fn clock() -> MediaClock {
    MediaClock { zero_at: "2026-11-22T12:00:00Z".parse::<UtcMillis>().unwrap() }
}

/// An engine whose every track is told by hand; all that it says is kept.
struct Play {
    engine: ZoneEngine,
    clock: MediaClock,
    now: MediaTime,
    made: Vec<ZoneTransition>,
    stopped: Vec<Stopped>,
}

impl Play {
    fn new(rules: &CameraRules) -> Self {
        let engine = ZoneEngine::new(rules, &labels(), ZoneSettings::default());
        Self { engine, clock: clock(), now: MediaTime::ZERO, made: vec![], stopped: vec![] }
    }

    fn of(zones: &[Zone]) -> Self {
        Self::new(&CameraRules::of_zones(zones))
    }

    fn keep(&mut self, rulings: Rulings) {
        self.made.extend(rulings.made);
        self.stopped.extend(rulings.stopped);
    }

    /// A frame that shows each track once.
    fn frame(&mut self, seen: &[(u64, Sight)]) {
        self.now = seen.iter().map(|(_, sight)| sight.at).fold(self.now, MediaTime::max);
        let rulings = self.engine.on_frame((self.now, self.clock), [], seen);
        self.keep(rulings);
    }

    /// A frame that shows one track.
    fn see(&mut self, track: u64, sight: Sight) {
        self.frame(&[(track, sight)]);
    }

    /// Frames that show track 1, as (milliseconds, x in pixels).
    fn walk(&mut self, places: &[(u64, f32)]) {
        places.iter().for_each(|(at_ms, x)| self.see(1, sight(*at_ms, *x)));
    }

    /// A frame without objects.
    fn wait(&mut self, at_ms: u64) {
        self.now = MediaTime::from_millis(at_ms);
        self.frame(&[]);
    }

    /// A frame by which a track has ended.
    fn end(&mut self, track: u64) {
        let rulings = self.engine.on_frame((self.now, self.clock), [track], &[]);
        self.keep(rulings);
    }

    fn replace(&mut self, rules: &CameraRules) {
        let rulings = self.engine.replace_rules(rules, &labels());
        self.keep(rulings);
    }

    /// What happened since the last call, as (zone, what), in order.
    fn happened(&mut self) -> Vec<(String, String)> {
        let made = std::mem::take(&mut self.made);
        made.iter().map(|t| (t.zone_id.to_string(), print_one(t))).collect()
    }

    /// What happened since the last call, in order.
    fn said(&mut self) -> Vec<String> {
        self.happened().into_iter().map(|(_, what)| what).collect()
    }

    /// What did not happen since the last call, as `enter of 1: confidence 0.4/0.6`.
    fn not_said(&mut self) -> Vec<String> {
        let stopped = std::mem::take(&mut self.stopped);
        let number = |value: Option<f64>| value.map(|value| format!("{value:.2}").trim_end_matches(".00").to_owned());
        let print = |stopped: &Stopped| {
            let last = stopped.why.last().expect("something stopped it");
            assert!(!last.passed && stopped.why.iter().rev().skip(1).all(|check| check.passed), "{stopped:?}");
            let gate = format!("{:?}", last.gate).to_lowercase();
            let numbers = number(last.value).zip(number(last.limit)).map(|(value, limit)| format!(" {value}/{limit}"));
            format!("{} of {}: {gate}{}", stopped.event.as_str(), stopped.track, numbers.unwrap_or_default())
        };
        stopped.iter().map(print).collect()
    }
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

/// Prints a transition as `enter@1200`, `dwell@11200`, `left@1500(300)`, `right@100#2`.
fn print_one(t: &ZoneTransition) -> String {
    let at = (t.at.as_nanos() + 500_000) / 1_000_000;
    match t.what {
        Move::Enter => format!("enter@{at}"),
        Move::Dwell { .. } => format!("dwell@{at}"),
        Move::Exit { stay, reason } => {
            let name = match reason {
                ExitReason::Left => "left",
                ExitReason::TrackLost => "lost",
                ExitReason::ZoneChanged => "changed",
                ExitReason::ScheduleEnded => "closed",
            };
            format!("{name}@{at}({})", (stay.as_nanos() + 500_000) / 1_000_000)
        }
        Move::Cross { direction } => {
            let way = if direction == Direction::LeftToRight { "right" } else { "left" };
            format!("{way}@{at}#{}", t.count.expect("a crossing is counted"))
        }
        Move::Occupied => format!("occupied@{at} by {}#{}", t.track, t.count.expect("counted")),
        Move::Cleared => format!("cleared@{at} by {}#{}", t.track, t.count.expect("counted")),
    }
}

/// Plays one track through `zone`, ends it, and compares what was said.
fn check(zone: Zone, sights: impl IntoIterator<Item = Sight>, expected: &[&str]) {
    let mut play = Play::of(&[zone]);
    for sight in sights {
        play.see(1, sight);
    }
    play.end(1);
    assert_eq!(play.said(), expected);
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
    let mut play = Play::of(&[with_times(400, 10_000)]);
    for (at, x) in [(0, 300.0), (200, 500.0), (400, IN)] {
        play.see(1, sight(at, x));
    }
    assert!(play.made.is_empty(), "300 ms inside are not enough");
    play.see(1, sight(600, IN));
    assert_eq!(play.made[0].shown.at, MediaTime::from_millis(200), "shown by the first sight inside");
    assert_eq!(play.said(), ["enter@100"]);
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
    let mut play = Play::of(&[with_times(400, 10_000)]);
    sights.for_each(|sight| play.see(1, sight));
    assert_eq!(play.made.iter().filter(|t| t.what == Move::Enter).count(), 5);
    assert_eq!(play.made.iter().filter(|t| matches!(t.what, Move::Dwell { .. })).count(), 0);
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

/// Several times may be asked for, as in the presets of other systems (10, 15, 30, 60 and 120 s): each is told once.
#[test]
fn each_dwell_time_of_a_zone_is_told_once_per_stay() {
    let times = [1_000, 2_500, 5_000].map(|ms| DwellMs::try_from(ms).unwrap());
    let zone = Zone { dwell_ms: times.to_vec().try_into().unwrap(), ..zone() };
    let sights = (0..=40).map(|i| sight(i * 100, if i == 20 { OUT } else { IN }));
    let expected = ["enter@0", "dwell@1000", "left@1933(1933)", "enter@2067", "dwell@3067", "lost@4000(1933)"];
    check(zone.clone(), sights, &expected);
    // Two of them pass between two sights.
    let zone = Zone { debounce_ms: DebounceMs::try_from(400).unwrap(), ..zone };
    check(
        zone,
        [sight(0, IN), sight(900, IN), sight(3_000, IN), sight(6_000, IN)],
        &["enter@0", "dwell@1000", "dwell@2500", "dwell@5000", "lost@6000(6000)"],
    );
}

#[test]
fn transitions_of_a_frame_are_ordered_by_time_then_zone_then_track() {
    let mut play = Play::of(&[Zone { id: "b".parse().unwrap(), ..zone() }, zone()]);
    play.frame(&[(2, 300.0), (1, 300.0), (3, 350.0)].map(|(track, x)| (track, sight(0, x))));
    play.frame(&[2, 1, 3].map(|track| (track, sight(200, 500.0))));
    let order: Vec<_> = play.made.iter().map(|t| (t.zone_id.as_str(), t.track)).collect();
    assert_eq!(order, [("b", 3), ("door", 3), ("b", 1), ("b", 2), ("door", 1), ("door", 2)]);
}

#[test]
fn replacing_zones_goes_on_with_equal_ones_and_closes_the_others() {
    let named = |id: &str| Zone { id: id.parse().unwrap(), ..with_times(0, 10_000) };
    let mut play = Play::of(&[named("kept"), named("gone"), named("moved")]);
    play.see(1, sight(0, IN));
    play.see(1, sight(200, IN));
    play.made.clear();
    let corners = [[0.3, 0.3], [0.6, 0.3], [0.6, 0.6], [0.3, 0.6]];
    let moved = Zone { polygon: Polygon::new(corners.map(Point::from).to_vec()).unwrap(), ..named("moved") };
    let renamed = Zone { name: "renamed".into(), ..named("kept") };
    play.replace(&CameraRules::of_zones(&[moved, named("new"), renamed]));
    let own = |said: Vec<(String, String)>| said.into_iter().map(|(zone, what)| format!("{zone} {what}")).collect();
    let said: Vec<String> = own(play.happened());
    assert_eq!(said, ["gone changed@200(200)", "moved changed@200(200)"]);
    play.see(1, sight(400, IN));
    let said: Vec<String> = own(play.happened());
    assert_eq!(said, ["moved enter@400", "new enter@400"]);
    play.end(1);
    let said: Vec<String> = own(play.happened());
    assert_eq!(said, ["moved lost@400(0)", "new lost@400(0)", "kept lost@400(400)"]);
}
