//! The order and the pace in simulated time: a line of a given speed, a cloud that takes what it is sent.

use aivms_contract::desired::{Schedule, ScheduleSpan};
use aivms_contract::time::UtcMillis;
use proptest::prelude::*;

use super::pace::Budget;
use super::*;
use crate::schedule::SiteZone;

const KIB: u64 = 1024;

fn place(worth: Worth, kind: MediaKind) -> Place {
    Place::of(worth, kind)
}

/// A line of so many bytes per second to a cloud, and how the time goes.
struct World {
    plan: Plan,
    line: u64,
    now: Duration,
    sizes: BTreeMap<FileKey, u64>,
    at_cloud: BTreeMap<FileKey, u64>,
    delivered: Vec<FileKey>,
    sent: u64,
}

impl World {
    fn new(line: u64) -> Self {
        Self {
            plan: Plan::default(),
            line,
            now: Duration::from_secs(1),
            sizes: BTreeMap::new(),
            at_cloud: BTreeMap::new(),
            delivered: Vec::new(),
            sent: 0,
        }
    }

    fn put(&mut self, key: u64, worth: Worth, kind: MediaKind, bytes: u64) {
        self.plan.put(FileKey(key), place(worth, kind), bytes);
        self.sizes.insert(FileKey(key), bytes);
    }

    /// Does one step; `cut` says that the line breaks in it.
    fn step(&mut self, budget: Option<u64>, cut: bool) -> Step {
        let step = self.plan.next(self.now, budget);
        let (key, piece) = match step {
            Step::Offer(key) => (key, None),
            Step::Send { file, offset, bytes } => {
                assert_eq!(Some(&offset), self.at_cloud.get(&file), "pieces follow each other");
                (file, Some(bytes))
            }
            Step::Wait(until) => {
                assert!(until > self.now, "a wait goes on");
                self.now = until;
                return step;
            }
            Step::Idle => return step,
        };
        let bytes = piece.unwrap_or(0) as u64;
        let took = Duration::from_secs_f64((bytes + KIB) as f64 / self.line as f64);
        self.now += took;
        self.sent += bytes;
        let has = self.at_cloud.entry(key).or_default();
        if cut {
            // The piece may have arrived although its answer did not.
            *has += if self.sent.is_multiple_of(2) { bytes } else { 0 };
            assert_eq!(self.plan.on_failure(key, Failure::Away, self.now, 0.5), Fate::Waits);
            return step;
        }
        *has += bytes;
        let (offset, stored) = (*has, *has == self.sizes[&key]);
        let sent = piece.map(|bytes| (bytes, took));
        if self.plan.on_progress(key, MediaProgress { offset, stored }, sent, self.now) == Fate::Delivered {
            self.delivered.push(key);
        }
        step
    }

    fn run(&mut self, budget: Option<u64>) {
        while self.step(budget, false) != Step::Idle {}
    }
}

#[test]
fn alerts_and_what_a_person_waits_for_go_first_then_pictures_then_clips_oldest_first() {
    use MediaKind::{Clip, Snapshot};
    use Worth::{Alert, Event, Requested};
    let mut world = World::new(1 << 20);
    let files = [
        (Event, Clip),
        (Event, Clip),
        (Event, Snapshot),
        (Requested, Clip),
        (Alert, Clip),
        (Requested, Snapshot),
        (Alert, Snapshot),
    ];
    for (key, (worth, kind)) in (1..).zip(files) {
        world.put(key, worth, kind, 10_000);
    }
    world.run(None);
    assert_eq!(world.delivered.iter().map(|key| key.0).collect::<Vec<_>>(), [7, 6, 5, 4, 3, 1, 2]);
}

#[test]
fn the_picture_of_an_alert_overtakes_a_long_clip_within_seconds() {
    // A thin line: 64 KiB/s, over which the clip takes almost half an hour.
    let mut world = World::new(64 * KIB);
    world.put(1, Worth::Event, MediaKind::Clip, 100 << 20);
    while world.now < Duration::from_secs(60) {
        world.step(None, false);
    }
    let put_at = world.now;
    world.put(2, Worth::Alert, MediaKind::Snapshot, 100 * KIB);
    while world.delivered.is_empty() {
        world.step(None, false);
    }
    assert_eq!(world.delivered, [FileKey(2)]);
    let took = world.now - put_at;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_budget_is_kept_within_a_tenth_whatever_the_line_could_take() {
    for budget in [4 * KIB, 64 * KIB, 1000 * KIB] {
        let mut world = World::new(50 << 20);
        for key in 0..20 {
            let kind = if key % 3 == 0 { MediaKind::Clip } else { MediaKind::Snapshot };
            world.put(key, Worth::Event, kind, (1 + key % 7) * 20 * budget);
        }
        let started = world.now;
        let mut first_minute = 0;
        while world.step(Some(budget), false) != Step::Idle {
            if world.now - started <= Duration::from_secs(60) {
                first_minute = world.sent;
            }
        }
        for (sent, seconds) in [(world.sent, (world.now - started).as_secs_f64()), (first_minute, 60.0)] {
            let share = sent as f64 / seconds / budget as f64;
            // What a request costs beside its piece is charged too: most at the smallest budget.
            assert!((0.8..1.1).contains(&share), "{share} of {budget} B/s over {seconds} s");
        }
    }
}

#[test]
fn a_budget_by_the_time_of_day_counts_on_the_clock_of_the_site() {
    let span = ScheduleSpan { days: Vec::new(), from: "07:00".parse().unwrap(), to: "19:00".parse().unwrap() };
    let day = Schedule::try_from(vec![span]).unwrap();
    let zone = SiteZone::of(Some(&"Europe/Berlin".to_owned().try_into().unwrap())).unwrap();
    let mut budget = Budget::new(None, &[(day, Some(64 * KIB))], &zone);
    for (at, expected) in [
        ("2026-11-22T05:59:59Z", None),
        ("2026-11-22T06:00:00Z", Some(64 * KIB)),
        ("2026-11-22T17:59:59Z", Some(64 * KIB)),
        ("2026-11-22T18:00:00Z", None),
    ] {
        assert_eq!(budget.at(at.parse::<UtcMillis>().unwrap()), expected, "{at}");
    }
}

#[test]
fn a_cloud_that_is_away_is_asked_ever_more_rarely_and_a_full_one_once_a_minute() {
    let mut plan = Plan::default();
    plan.put(FileKey(1), place(Worth::Alert, MediaKind::Clip), 10);
    let mut waits = Vec::new();
    let mut now = Duration::ZERO;
    for _ in 0..10 {
        assert_eq!(plan.next(now, None), Step::Offer(FileKey(1)));
        plan.on_failure(FileKey(1), Failure::Away, now, 1.0);
        let Step::Wait(until) = plan.next(now, None) else { panic!("no wait") };
        waits.push((until - now).as_secs());
        now = until;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120]);
    plan.on_progress(FileKey(1), MediaProgress { offset: 0, stored: false }, None, now);
    plan.on_failure(FileKey(1), Failure::Full, now, 0.0);
    assert_eq!(plan.next(now, None), Step::Wait(now + Duration::from_secs(60)));
}

#[test]
fn a_file_the_cloud_fails_at_lets_the_others_pass_and_is_tried_again() {
    let mut plan = Plan::default();
    plan.put(FileKey(1), place(Worth::Alert, MediaKind::Clip), 10);
    plan.put(FileKey(2), place(Worth::Event, MediaKind::Clip), 10);
    assert_eq!(plan.next(Duration::ZERO, None), Step::Offer(FileKey(1)));
    plan.on_failure(FileKey(1), Failure::Failed, Duration::ZERO, 0.0);
    assert_eq!(plan.next(Duration::ZERO, None), Step::Offer(FileKey(2)));
    assert_eq!(plan.next(Duration::from_secs(1), None), Step::Offer(FileKey(1)));
}

#[test]
fn a_file_that_arrived_wrong_is_sent_anew_once_and_one_that_is_refused_is_given_up() {
    let mut plan = Plan::default();
    plan.put(FileKey(1), place(Worth::Alert, MediaKind::Clip), 10);
    assert_eq!(plan.on_failure(FileKey(1), Failure::Damaged, Duration::ZERO, 0.0), Fate::Waits);
    assert_eq!(plan.next(Duration::ZERO, None), Step::Offer(FileKey(1)));
    assert_eq!(plan.on_failure(FileKey(1), Failure::Damaged, Duration::ZERO, 0.0), Fate::GivenUp);
    plan.put(FileKey(2), place(Worth::Alert, MediaKind::Clip), 10);
    assert_eq!(plan.on_failure(FileKey(2), Failure::Refused, Duration::ZERO, 0.0), Fate::GivenUp);
    assert_eq!(plan.next(Duration::from_secs(900), None), Step::Idle);
}

fn worths() -> impl Strategy<Value = Worth> {
    prop_oneof![Just(Worth::Alert), Just(Worth::Requested), Just(Worth::Event)]
}

fn kinds() -> impl Strategy<Value = MediaKind> {
    prop_oneof![Just(MediaKind::Clip), Just(MediaKind::Snapshot)]
}

proptest! {
    #[test]
    fn every_file_arrives_once_over_any_line_and_any_cuts(
        files in proptest::collection::vec((worths(), kinds(), 1..2_000_000u64), 1..12),
        line in 2_000..20_000_000u64,
        budget in proptest::option::of(4_096..10_000_000u64),
        cuts in proptest::collection::vec(any::<bool>(), 0..200),
    ) {
        let mut world = World::new(line);
        for (key, (worth, kind, bytes)) in (0..).zip(&files) {
            world.put(key, *worth, *kind, *bytes);
        }
        for cut in cuts {
            world.step(budget, cut);
        }
        world.run(budget);
        let mut delivered = world.delivered.clone();
        delivered.sort_unstable();
        prop_assert_eq!(delivered, world.sizes.keys().copied().collect::<Vec<_>>());
        prop_assert_eq!(world.plan.waiting(budget).files, 0);
    }

    #[test]
    fn room_is_made_by_giving_up_what_is_worth_least_and_never_more_than_needed(
        held in proptest::collection::vec((worths(), kinds(), 1..100u64), 0..20),
        worth in worths(),
        kind in kinds(),
        bytes in 1..200u64,
        max in 1..1_000u64,
    ) {
        let held: Vec<_> = (0..).zip(held).map(|(key, (w, k, size))| (FileKey(key), place(w, k), size)).collect();
        let total: u64 = held.iter().map(|(_, _, size)| size).sum();
        let new = place(worth, kind);
        let size_of = |gone: &[FileKey]| -> u64 {
            held.iter().filter(|(key, ..)| gone.contains(key)).map(|(_, _, size)| size).sum()
        };
        match make_room(held.iter().copied(), new, bytes, max) {
            Some(gone) => {
                prop_assert!(total - size_of(&gone) + bytes <= max);
                if let Some((last, but_last)) = gone.split_last() {
                    prop_assert!(total - size_of(but_last) + bytes > max, "{:?} was not needed", last);
                }
                let worst_kept = held.iter().filter(|(key, ..)| !gone.contains(key)).map(|(_, place, _)| *place).max();
                for (_, place, _) in held.iter().filter(|(key, ..)| gone.contains(key)) {
                    prop_assert!(*place >= new && worst_kept.is_none_or(|worst| *place >= worst));
                }
            }
            None => {
                let better: u64 = held.iter().filter(|(_, place, _)| *place < new).map(|(_, _, size)| size).sum();
                prop_assert!(better + bytes > max);
            }
        }
    }
}
