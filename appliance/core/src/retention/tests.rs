//! What retention promises, by examples; `tests/simulated.rs` holds the same over weeks of simulated time.

mod simulated;

use super::*;
use aivms_contract::desired::Recording;

const MIB: u64 = 1024 * 1024;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(seconds: u64) -> UtcMillis {
    UtcMillis::from_millis(1_795_000_000_000) + Duration::from_secs(seconds)
}

fn camera(name: &str) -> CameraId {
    name.parse().unwrap()
}

/// A segment of an hour and 100 MiB.
fn hour(start_s: u64) -> Stored {
    let (start, end) = (at(start_s), at(start_s + HOUR));
    Stored { start, end, bytes: 100 * MIB, tier: Tier::Fast, shows: Shows::default() }
}

fn event(segment: Stored) -> Stored {
    Stored { shows: Shows { event: true, ..Shows::default() }, ..segment }
}

fn span(from_s: u64, to_s: u64) -> Span {
    Span { start: at(from_s), end: at(to_s) }
}

fn policy(json: &serde_json::Value) -> RetentionPolicy {
    RetentionPolicy::of(&serde_json::from_value::<Recording>(json.clone()).unwrap())
}

/// Ten hours of one camera on a disk with room for all.
fn ten_hours() -> Holdings {
    let segments = (0..10).map(|number| hour(number * HOUR)).collect();
    let footage = CameraFootage { segments, ..CameraFootage::default() };
    Holdings {
        now: at(10 * HOUR),
        cameras: BTreeMap::from([(camera("a"), footage)]),
        fast: Disk { total_bytes: 100_000 * MIB, free_bytes: 50_000 * MIB, floor_bytes: 1000 * MIB },
        slow: None,
        limits: Limits { guaranteed: Duration::from_secs(HOUR), ..Limits::default() },
    }
}

fn of<'a>(holdings: &'a mut Holdings, name: &str) -> &'a mut CameraFootage {
    holdings.cameras.entry(camera(name)).or_default()
}

/// Camera, hour of the beginning and what happens, of every step.
fn steps(holdings: &Holdings) -> Vec<(String, u64, Action)> {
    let hours = |step: &Step| step.segment.start.since(at(0)).as_secs() / HOUR;
    plan(holdings).steps.iter().map(|step| (step.camera.to_string(), hours(step), step.action)).collect()
}

fn gone(name: &str, hours: impl IntoIterator<Item = u64>, why: DeletionReason) -> Vec<(String, u64, Action)> {
    hours.into_iter().map(|hour| (name.to_owned(), hour, Action::Delete(why))).collect()
}

#[test]
fn nothing_goes_while_nothing_is_too_old_or_too_much() {
    assert_eq!(plan(&ten_hours()), Plan::default());
}

#[test]
fn unset_tiers_keep_for_as_long_as_the_tiers_below_them_at_least() {
    let days = |json: serde_json::Value| Worth::ALL.map(|worth| policy(&json).keeps_worth(worth).as_secs() / DAY);
    assert_eq!(days(serde_json::json!({})), [7, 7, 14, 30]);
    assert_eq!(days(serde_json::json!({"continuous_days": 20})), [20, 20, 20, 30]);
    assert_eq!(days(serde_json::json!({"continuous_days": 60})), [60, 60, 60, 60]);
    assert_eq!(days(serde_json::json!({"continuous_days": 0, "event_days": 3})), [0, 7, 14, 3]);
    assert_eq!(days(serde_json::json!({"continuous_days": 2, "motion_days": 1})), [2, 2, 14, 30]);
}

#[test]
fn what_belongs_to_several_tiers_is_kept_for_the_longest() {
    let policy =
        policy(&serde_json::json!({"continuous_days": 1, "motion_days": 9, "object_days": 2, "event_days": 3}));
    let all = Shows { motion: true, object: true, event: true };
    assert_eq!(policy.keeps(all).as_secs(), 9 * DAY);
    assert_eq!(policy.keeps(Shows { motion: false, ..all }).as_secs(), 3 * DAY);
}

#[test]
fn footage_goes_by_age_and_by_what_it_shows() {
    let mut holdings = ten_hours();
    of(&mut holdings, "a").policy = policy(&serde_json::json!({"continuous_days": 0.25, "event_days": 1}));
    of(&mut holdings, "a").segments[1] = event(hour(HOUR));
    // Six hours are kept: what ended at or before the fourth hour is older, but for the event.
    assert_eq!(steps(&holdings), gone("a", [0, 2], DeletionReason::Age));
}

#[test]
fn zero_days_leave_the_guaranteed_hour() {
    let mut holdings = ten_hours();
    of(&mut holdings, "a").policy = policy(&serde_json::json!({"continuous_days": 0}));
    assert_eq!(steps(&holdings), gone("a", 0..8, DeletionReason::Age));
}

#[test]
fn a_camera_keeps_to_its_bytes_and_loses_what_is_worth_least() {
    let mut holdings = ten_hours();
    of(&mut holdings, "a").policy = policy(&serde_json::json!({"max_gib": 0.6}));
    of(&mut holdings, "a").segments[0] = event(hour(0));
    // 0.6 GiB are six of the ten segments and some.
    assert_eq!(steps(&holdings), gone("a", 1..5, DeletionReason::CameraBytes));
}

#[test]
fn a_limit_that_only_protected_footage_breaks_is_told() {
    let mut holdings = ten_hours();
    of(&mut holdings, "a").policy = policy(&serde_json::json!({"max_gib": 0.6}));
    of(&mut holdings, "a").locks = vec![span(0, 5 * HOUR), span(6 * HOUR, 9 * HOUR)];
    let plan = plan(&holdings);
    assert_eq!(plan.steps.len(), 1, "only the sixth hour is not locked and not the newest");
    let excess_bytes = 900 * MIB - 644_245_094;
    assert_eq!(plan.problems, [Problem::CameraBytes { camera: camera("a"), excess_bytes }]);
}

#[test]
fn a_disk_below_its_floor_loses_the_oldest_of_all_cameras_and_events_last() {
    let mut holdings = ten_hours();
    of(&mut holdings, "b").segments = (5..10).map(|number| hour(number * HOUR + 60)).collect();
    of(&mut holdings, "a").segments[2] = event(hour(2 * HOUR));
    holdings.fast.free_bytes = 400 * MIB;
    let expected = [gone("a", [0, 1, 3, 4, 5], DeletionReason::FreeSpace), gone("b", [5], DeletionReason::FreeSpace)];
    assert_eq!(steps(&holdings), expected.concat());
}

#[test]
fn what_an_event_still_needs_outlives_its_days_and_the_floor() {
    let mut holdings = ten_hours();
    of(&mut holdings, "a").needs = vec![span(HOUR + 10, HOUR + 20)];
    of(&mut holdings, "a").policy = policy(&serde_json::json!({"continuous_days": 0.25}));
    assert_eq!(steps(&holdings), gone("a", [0, 2], DeletionReason::Age), "not the second hour");
    holdings.fast.free_bytes = 300 * MIB;
    let plan = plan(&holdings);
    assert!(plan.steps.iter().all(|step| step.segment.start != at(HOUR)));
    assert_eq!(plan.steps.len(), 7, "six hours for the room, and all but the needed and the newest");
}

#[test]
fn a_disk_about_to_be_full_takes_of_the_newest_hour_before_what_an_event_needs() {
    let mut holdings = ten_hours();
    let minute = |number: u64| Stored {
        start: at(number * 60),
        end: at(number * 60 + 60),
        bytes: 10 * MIB,
        tier: Tier::Fast,
        shows: Shows::default(),
    };
    let footage = of(&mut holdings, "a");
    footage.segments = (0..100).map(minute).collect();
    footage.needs = vec![span(0, 40 * 60)];
    holdings.now = at(100 * 60);
    holdings.fast.free_bytes = 6 * MIB;
    let first = plan(&holdings);
    let minutes: Vec<_> = first.steps.iter().map(|step| step.segment.start.since(at(0)).as_secs() / 60).collect();
    assert!(minutes.iter().copied().eq(40..65), "{minutes:?}");
    // With forty more taken by someone else, what is needed goes too, but never the last ten minutes.
    holdings.fast.free_bytes = 0;
    of(&mut holdings, "a").segments.drain(40..85);
    let second = plan(&holdings);
    assert_eq!(second.steps.first().map(|step| step.segment.start), Some(at(85 * 60)));
    assert!(second.steps.iter().all(|step| step.segment.start < at(90 * 60)));
    assert!(second.steps.iter().any(|step| step.segment.start == at(0)));
}

#[test]
fn the_oldest_moves_to_the_slow_disk_instead_of_going() {
    let mut holdings = ten_hours();
    holdings.fast.free_bytes = 750 * MIB;
    holdings.slow = Some(Disk { total_bytes: 10_000 * MIB, free_bytes: 5000 * MIB, floor_bytes: 100 * MIB });
    let moved = |hours: std::ops::Range<u64>| -> Vec<_> {
        hours.map(|hour| ("a".to_owned(), hour, Action::MoveToSlow)).collect()
    };
    assert_eq!(steps(&holdings), moved(0..3));
    holdings.fast.free_bytes = 50_000 * MIB;
    holdings.limits.move_after = Some(Duration::from_secs(5 * HOUR));
    assert_eq!(steps(&holdings), moved(0..4), "by age alone");
}

#[test]
fn a_full_slow_disk_loses_its_oldest_to_what_moves_there() {
    let mut holdings = ten_hours();
    for segment in &mut of(&mut holdings, "a").segments[0..4] {
        segment.tier = Tier::Slow;
    }
    holdings.fast.free_bytes = 850 * MIB;
    holdings.slow = Some(Disk { total_bytes: 1000 * MIB, free_bytes: 100 * MIB, floor_bytes: 100 * MIB });
    let mut expected = gone("a", [0, 1], DeletionReason::FreeSpace);
    expected.extend([4, 5].map(|hour| ("a".to_owned(), hour, Action::MoveToSlow)));
    assert_eq!(steps(&holdings), expected);
}

#[test]
fn footage_stays_on_the_fast_disk_when_the_slow_one_holds_only_better() {
    let mut holdings = ten_hours();
    for segment in &mut of(&mut holdings, "a").segments[0..4] {
        *segment = Stored { tier: Tier::Slow, ..event(*segment) };
    }
    holdings.limits.move_after = Some(Duration::from_secs(3 * HOUR));
    holdings.slow = Some(Disk { total_bytes: 1000 * MIB, free_bytes: 100 * MIB, floor_bytes: 100 * MIB });
    assert_eq!(plan(&holdings), Plan::default());
}

#[test]
fn a_floor_larger_than_the_disk_leaves_half_of_it() {
    let mut holdings = ten_hours();
    holdings.fast = Disk { total_bytes: 2000 * MIB, free_bytes: 800 * MIB, floor_bytes: 900_000 * MIB };
    assert_eq!(steps(&holdings), gone("a", [0, 1], DeletionReason::FreeSpace));
}

#[test]
fn a_summary_says_how_much_video_a_change_costs_each_camera() {
    let mut holdings = ten_hours();
    of(&mut holdings, "a").policy = policy(&serde_json::json!({"continuous_days": 0.25}));
    let sums = summary(&plan(&holdings));
    let deleted = sums[&camera("a")].deleted[&DeletionReason::Age];
    assert_eq!((deleted.length.as_secs(), deleted.bytes), (3 * HOUR, 300 * MIB));
    assert_eq!(deleted.span, span(0, 3 * HOUR));
}

/// A guard that looks each time with footage up to a given second.
struct Looks(ClockGuard);

impl Looks {
    fn look(&mut self, wall_s: u64, monotonic_s: u64, footage_s: &[u64], doubted: bool) -> u64 {
        let newest = |until| footage_s.iter().map(|end| at(*end)).filter(|end| *end <= until).max();
        self.0.judge(at(wall_s), Duration::from_secs(monotonic_s), newest, doubted).since(at(0)).as_secs()
    }
}

#[test]
fn a_clock_that_jumps_ahead_ages_nothing_for_a_day() {
    let mut looks = Looks(ClockGuard::default());
    assert_eq!(looks.look(60, 60, &[50], false), 60);
    assert_eq!(looks.look(100 * DAY, 120, &[50, 100 * DAY - 5], false), 120);
    assert_eq!(looks.look(100 * DAY + 60, 180, &[50, 100 * DAY + 55], false), 180);
    // Put right.
    assert_eq!(looks.look(240, 240, &[50, 230, 100 * DAY + 55], false), 240);
    assert_eq!(looks.0.lead(), Duration::ZERO);
    // It jumps again and goes on so for a day: then it is believed, unless the cloud says that it is wrong.
    assert_eq!(looks.look(100 * DAY, 300, &[290], false), 300);
    let mut doubted = Looks(looks.0.clone());
    assert_eq!(doubted.look(101 * DAY, 300 + DAY, &[101 * DAY], true), 300 + DAY);
    assert_eq!(looks.look(101 * DAY, 300 + DAY, &[101 * DAY], false), 101 * DAY);
}

#[test]
fn a_device_that_was_off_for_weeks_waits_a_day_before_it_deletes_by_age() {
    let mut looks = Looks(ClockGuard::default());
    assert_eq!(looks.look(30 * DAY, 5, &[10], false), 10);
    assert_eq!(looks.look(30 * DAY + 60, 65, &[30 * DAY], false), 70);
    assert_eq!(looks.look(31 * DAY, 5 + DAY, &[31 * DAY], false), 31 * DAY);
}

#[test]
fn a_clock_that_was_unset_at_the_start_is_right_once_it_meets_the_footage() {
    let mut looks = Looks(ClockGuard::default());
    assert_eq!(looks.look(0, 1, &[9 * DAY], false), 0);
    // With footage of the wrong time on the disk too, and of the right one since.
    let footage = [30, 9 * DAY, 9 * DAY + 599];
    assert_eq!(looks.look(9 * DAY + 600, 61, &footage, false), 9 * DAY + 600 - 600);
    let mut looks = Looks(ClockGuard::default());
    looks.look(0, 1, &[30, 9 * DAY], false);
    assert_eq!(looks.look(9 * DAY + 100, 61, &[30, 9 * DAY, 9 * DAY + 95], false), 9 * DAY + 100);
}

#[test]
fn the_forecast_is_what_the_disk_holds_shared_by_all_cameras() {
    let mut holdings = ten_hours();
    holdings.cameras.insert(camera("b"), holdings.cameras[&camera("a")].clone());
    // Two cameras of 100 MiB an hour; room for 24 hours of both beside the floor.
    holdings.fast.free_bytes = 1000 * MIB + (2 * 24 - 20) * 100 * MIB;
    let forecasts = forecast(&holdings);
    for name in ["a", "b"] {
        let forecast = forecasts[&camera(name)];
        assert_eq!(forecast.bytes_per_day, 2400 * MIB);
        assert_eq!(forecast.wanted.as_secs(), 7 * DAY);
        assert!(forecast.reaches.as_secs().abs_diff(DAY) <= 1, "{forecast:?}");
    }
    // A limit of one camera's bytes gives the other what it does not use.
    of(&mut holdings, "b").policy = policy(&serde_json::json!({"max_gib": 600.0 / 1024.0}));
    let forecasts = forecast(&holdings);
    assert!(forecasts[&camera("b")].reaches.as_secs().abs_diff(6 * HOUR) <= 1);
    assert!(forecasts[&camera("a")].reaches.as_secs().abs_diff(42 * HOUR) <= 1);
}

#[test]
fn enough_room_makes_the_forecast_what_is_wanted_and_too_little_footage_gives_none() {
    let mut holdings = ten_hours();
    holdings.cameras.insert(camera("new"), CameraFootage { segments: vec![], ..CameraFootage::default() });
    let forecasts = forecast(&holdings);
    assert_eq!(forecasts[&camera("a")].reaches.as_secs(), 7 * DAY);
    assert_eq!(forecasts.len(), 1);
}

#[test]
fn events_reach_further_back_than_what_shows_nothing() {
    let mut holdings = ten_hours();
    of(&mut holdings, "a").segments[5] = event(hour(5 * HOUR));
    holdings.fast.free_bytes = 1000 * MIB + 80 * 100 * MIB;
    let forecast = forecast(&holdings)[&camera("a")];
    assert_eq!(forecast.oldest.as_secs(), 30 * DAY);
    assert!(forecast.reaches < forecast.oldest && forecast.reaches.as_secs() < 2 * DAY, "{forecast:?}");
}
