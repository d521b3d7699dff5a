use GapCause::{Camera, Disk, Internal, Network, Restart, SwitchedOff};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::supervise::Failure;

fn at(seconds: f64) -> UtcMillis {
    UtcMillis::from_millis(1_795_000_000_000 + (seconds * 1000.0) as i64)
}

fn zone(name: &str) -> SiteZone {
    SiteZone::of(Some(&name.to_owned().try_into().unwrap())).unwrap()
}

/// A ledger and all that it told.
struct Book {
    ledger: Ledger,
    zone: SiteZone,
    told: Vec<FootageEvent>,
}

impl Book {
    fn new() -> Self {
        let zone = SiteZone::default();
        Self { ledger: Ledger::new(at(0.0), &zone), zone, told: Vec::new() }
    }

    fn video(&mut self, from: f64, to: f64) {
        self.told.extend(self.ledger.video(at(from), at(to), &self.zone));
    }

    fn tick(&mut self, now: f64) {
        self.told.extend(self.ledger.tick(at(now), &self.zone));
    }

    fn fails(&mut self, when: f64, failure: &Failure) {
        self.ledger.failed(at(when), Cause::of(failure, failure.explain(&"door")));
    }

    /// Begin, end and cause of the gaps told since the last call, in seconds.
    fn gaps(&mut self) -> Vec<(f64, Option<f64>, GapCause)> {
        let seconds = |time: UtcMillis| (time.as_millis() - at(0.0).as_millis()) as f64 / 1000.0;
        let gap = |event| match event {
            FootageEvent::Gap(gap) => Some((seconds(gap.start), gap.end.map(seconds), gap.cause)),
            _ => None,
        };
        self.told.drain(..).filter_map(gap).collect()
    }
}

#[test]
fn jitter_and_segment_cuts_are_no_gaps() {
    let mut book = Book::new();
    book.video(0.0, 1.0);
    book.video(1.04, 2.0);
    book.video(2.9, 4.0);
    book.tick(5.0);
    assert_eq!(book.gaps(), []);
    assert_eq!(book.ledger.today().recorded_ms, 4000);
}

#[test]
fn a_camera_that_cannot_be_reached_is_told_after_ten_seconds_and_again_when_it_is_back() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.fails(105.0, &Failure::Stalled);
    book.fails(106.5, &Failure::Unreachable);
    book.tick(109.0);
    assert_eq!(book.gaps(), []);
    book.tick(112.0);
    assert_eq!(book.gaps(), [(100.0, None, Network)], "from the last picture on");
    book.tick(113.0);
    assert_eq!(book.gaps(), [], "told once");
    book.video(160.0, 161.0);
    assert_eq!(book.gaps(), [(100.0, Some(160.0), Network)]);
    let today = book.ledger.today();
    assert_eq!((today.expected_ms, today.recorded_ms), (161_000, 101_000));
    assert_eq!(
        today.missing.iter().map(|missing| (missing.cause, missing.ms, missing.gaps)).collect::<Vec<_>>(),
        [(Network, 60_000, 1)]
    );
}

#[test]
fn a_camera_that_answers_and_sends_nothing_is_at_fault_itself() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.fails(105.0, &Failure::Stalled);
    book.fails(116.0, &Failure::NoVideo);
    book.video(130.0, 131.0);
    assert_eq!(book.gaps(), [(100.0, Some(130.0), Camera)]);
}

#[test]
fn a_stream_that_stops_and_comes_back_at_the_first_attempt_is_the_cameras_gap() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.fails(105.0, &Failure::Stalled);
    book.video(107.0, 108.0);
    assert_eq!(book.gaps(), [(100.0, Some(107.0), Camera)]);
}

#[test]
fn one_cause_after_another_makes_one_gap_for_each() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.fails(100.5, &Failure::Refused(401));
    book.tick(120.0);
    book.fails(150.0, &Failure::Unreachable);
    book.tick(170.0);
    book.ledger.switched(at(200.0), false);
    book.tick(230.0);
    book.ledger.switched(at(300.0), true);
    book.fails(310.0, &Failure::Unreachable);
    book.video(320.0, 321.0);
    assert_eq!(
        book.gaps(),
        [
            (100.0, None, Camera),
            (100.0, Some(150.0), Camera),
            (150.0, None, Network),
            (150.0, Some(200.0), Network),
            (200.0, None, SwitchedOff),
            (200.0, Some(300.0), SwitchedOff),
            (300.0, Some(320.0), Network),
        ]
    );
    let today = book.ledger.today();
    assert_eq!(today.expected_ms, 221_000, "what was switched off is not expected");
    assert_eq!(today.recorded_ms, 101_000);
}

#[test]
fn while_the_disk_takes_nothing_the_camera_is_not_to_blame() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.ledger.disk(at(101.0), Some("no room".to_owned()));
    book.fails(110.0, &Failure::Stalled);
    book.ledger.disk(at(150.0), None);
    book.video(152.0, 153.0);
    assert_eq!(book.gaps(), [(100.0, Some(152.0), Disk)]);
}

#[test]
fn the_time_without_the_program_is_a_restart_and_what_follows_has_its_own_cause() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    let kept = serde_json::to_string(&book.ledger).unwrap();
    book.ledger = serde_json::from_str(&kept).unwrap();
    // The index knows more than the ledger did.
    book.video(100.0, 110.0);
    book.ledger.started(at(200.0));
    book.fails(210.0, &Failure::Unreachable);
    book.tick(240.0);
    book.video(250.0, 251.0);
    let network = [(200.0, None, Network), (200.0, Some(250.0), Network)];
    assert_eq!(book.gaps(), [&[(110.0, Some(200.0), Restart)][..], &network].concat());
    // A start at which all goes well.
    book.ledger.started(at(300.0));
    book.video(303.0, 304.0);
    assert_eq!(book.gaps(), [(251.0, Some(303.0), Restart)]);
}

#[test]
fn video_that_stops_for_no_known_reason_is_our_fault() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.tick(120.0);
    assert_eq!(book.gaps(), [], "it may only be late");
    book.tick(131.0);
    assert_eq!(book.gaps(), [(100.0, None, Internal)]);
}

#[test]
fn a_span_that_the_recorder_lost_is_told_with_its_cause_even_when_it_is_told_twice() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.ledger.lost(at(100.0), at(102.0), Internal);
    book.ledger.lost(at(100.0), at(104.0), Internal);
    book.video(104.0, 105.0);
    assert_eq!(book.gaps(), [(100.0, Some(104.0), Internal)]);
}

#[test]
fn a_clock_put_forward_is_told_as_what_it_is() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    book.ledger.clock_set(at(100.0), at(7300.0), false);
    book.video(7300.0, 7301.0);
    let FootageEvent::Gap(gap) = &book.told[0] else { panic!() };
    assert_eq!((gap.cause, gap.detail.as_deref()), (Internal, Some("the clock was put forward")));
    assert_eq!(book.gaps(), [(100.0, Some(7300.0), Internal)]);
}

#[test]
fn a_clock_put_back_makes_no_gap_and_counts_nothing_twice() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    for second in 0..70 {
        book.video(f64::from(second) + 40.0, f64::from(second) + 41.0);
        book.tick(f64::from(second) + 42.0);
    }
    assert_eq!(book.gaps(), []);
    assert_eq!(book.ledger.today().recorded_ms, 110_000);
    // Far back it begins anew instead of waiting for years.
    book.tick(-100_000.0);
    book.video(-99_999.0, -99_990.0);
    assert_eq!(book.ledger.accounted(), at(-99_990.0));
    assert_eq!(book.ledger.today().recorded_ms, 9_000);
}

#[test]
fn a_week_without_a_camera_is_one_gap_and_seven_days() {
    let mut book = Book::new();
    book.video(0.0, 1000.0);
    book.fails(1000.0, &Failure::Unreachable);
    for minute in 1..7 * 24 * 60 {
        book.tick(1000.0 + f64::from(minute) * 60.0);
    }
    let days = book.told.iter().filter_map(|event| match event {
        FootageEvent::Continuity(day) => Some(day.expected_ms),
        _ => None,
    });
    assert_eq!(days.skip(1).collect::<Vec<_>>(), [86_400_000; 6]);
    assert_eq!(book.gaps(), [(1000.0, None, Network)]);
}

#[test]
fn days_are_those_of_the_site_with_23_24_or_25_hours() {
    let berlin = zone("Europe/Berlin");
    let hours = |date: &str| {
        let noon: UtcMillis = format!("{date}T12:00:00Z").parse().unwrap();
        let mut ledger = Ledger::new(noon - Duration::from_secs(36 * 3600), &berlin);
        let told = ledger.video(noon - Duration::from_secs(36 * 3600), noon + Duration::from_secs(36 * 3600), &berlin);
        let days = told.into_iter().filter_map(|event| match event {
            FootageEvent::Continuity(day) => Some(day),
            _ => None,
        });
        let days: Vec<_> = days.filter(|day| day.start <= noon && noon < day.end).collect();
        assert_eq!(days.len(), 1);
        assert_eq!(days[0].recorded_ms, days[0].expected_ms);
        (days[0].start.to_string(), days[0].recorded_ms / 3_600_000)
    };
    assert_eq!(hours("2026-03-29"), ("2026-03-28T23:00:00.000Z".to_owned(), 23));
    assert_eq!(hours("2026-07-01"), ("2026-06-30T22:00:00.000Z".to_owned(), 24));
    assert_eq!(hours("2026-10-25"), ("2026-10-24T22:00:00.000Z".to_owned(), 25));
}

#[test]
fn a_clock_years_behind_does_not_tell_thousands_of_days() {
    let mut book = Book::new();
    book.ledger = Ledger::new(UtcMillis::from_millis(0), &book.zone);
    book.ledger.clock_set(UtcMillis::from_millis(1), at(0.0), true);
    book.video(0.0, 1.0);
    assert!(book.told.len() < 50, "{}", book.told.len());
    assert!(matches!(&book.told[book.told.len() - 1], FootageEvent::Gap(gap) if gap.cause == Restart));
}

#[test]
fn what_is_kept_over_restarts_is_readable_and_small() {
    let mut book = Book::new();
    book.video(0.0, 100.0);
    for number in 0..1000 {
        let failure = if number % 2 == 0 { Failure::Unreachable } else { Failure::NoVideo };
        book.fails(101.0 + f64::from(number), &failure);
    }
    let kept = serde_json::to_value(&book.ledger).unwrap();
    assert!(kept.to_string().len() < 16 * 1024);
    assert_eq!(kept["accounted"], json!(at(100.0)));
}

/// Something that happens after some time.
#[derive(Debug, Clone)]
enum Input {
    Video(u64),
    Silence(u64),
    Fails(Failure),
    Switched(bool),
    Disk(bool),
    Restart(u64),
}

fn input() -> impl Strategy<Value = Input> {
    let failure = prop_oneof![
        Just(Failure::Unreachable),
        Just(Failure::Stalled),
        Just(Failure::NoVideo),
        Just(Failure::Refused(401))
    ];
    prop_oneof![
        6 => (100u64..90_000).prop_map(Input::Video),
        3 => (1u64..3_000).prop_map(Input::Silence),
        2 => (1u64..4_000_000).prop_map(Input::Silence),
        4 => failure.prop_map(Input::Fails),
        1 => any::<bool>().prop_map(Input::Switched),
        1 => any::<bool>().prop_map(Input::Disk),
        1 => (100u64..9_000_000).prop_map(Input::Restart),
    ]
}

/// Runs the inputs, with a tick each second of silence at most, and gives the spans of video and what was told.
fn run(inputs: &[Input], reopen: bool) -> (Ledger, Vec<(u64, u64)>, Vec<FootageEvent>) {
    let zone = zone("America/New_York");
    let time = |ms: u64| at(0.0) + Duration::from_millis(ms);
    let mut ledger = Ledger::new(time(0), &zone);
    let (mut now, mut video, mut told) = (0, Vec::new(), Vec::new());
    for input in inputs {
        match input {
            Input::Video(ms) => {
                let end = now + ms;
                while now < end {
                    let next = end.min(now + 1000);
                    told.extend(ledger.video(time(now), time(next), &zone));
                    video.push((now, next));
                    now = next;
                }
            }
            Input::Silence(ms) => {
                let step = (ms / 40).max(1000);
                let end = now + ms;
                while now < end {
                    now = end.min(now + step);
                    told.extend(ledger.tick(time(now), &zone));
                }
            }
            Input::Fails(failure) => ledger.failed(time(now), Cause::of(failure, String::new())),
            Input::Switched(on) => ledger.switched(time(now), *on),
            Input::Disk(failed) => ledger.disk(time(now), failed.then(|| "no room".to_owned())),
            Input::Restart(ms) => {
                now += ms;
                ledger.started(time(now));
            }
        }
        if reopen {
            ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
        }
    }
    (ledger, video, told)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens, every moment is either video or in exactly one gap, and the days add up to the same.
    #[test]
    fn video_and_gaps_fill_the_time_without_overlap(inputs in proptest::collection::vec(input(), 1..60)) {
        let (ledger, video, told) = run(&inputs, false);
        // Video with its short holes filled, as the ledger should see it.
        let mut filled: Vec<(u64, u64)> = Vec::new();
        for (start, end) in video {
            match filled.last_mut() {
                Some(last) if start < last.1 + 1000 => last.1 = end,
                None if start < 1000 => filled.push((0, end)),
                _ => filled.push((start, end)),
            }
        }
        let millis = |time: UtcMillis| u64::try_from(time.as_millis() - at(0.0).as_millis()).unwrap();
        let mut gaps = std::collections::BTreeMap::new();
        let mut recorded = ledger.today().recorded_ms;
        for event in &told {
            match event {
                FootageEvent::Gap(gap) => _ = gaps.insert(millis(gap.start), gap.end.map(millis)),
                FootageEvent::Continuity(day) => {
                    recorded += day.recorded_ms;
                    let missing: u64 = day.missing.iter().map(|missing| missing.ms).sum();
                    prop_assert_eq!(day.expected_ms, day.recorded_ms + missing);
                    let off = day.end.since(day.start).as_millis() as u64 - day.expected_ms;
                    prop_assert!(off == 0 || day.start < at(0.0) || inputs.iter().any(|i| matches!(i, Input::Switched(_))));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        if let Some(open) = ledger.open_gap() {
            gaps.insert(millis(open.start), Some(millis(ledger.accounted())));
        }
        // A day of nothing but a switched-off camera is not told; its video is none either.
        prop_assert_eq!(recorded, filled.iter().map(|(start, end)| end - start).sum::<u64>());
        let mut spans: Vec<_> = filled.iter().map(|(start, end)| (*start, *end, true)).collect();
        for (start, end) in gaps {
            prop_assert!(end.is_some(), "only the open gap is not over");
            spans.push((start, end.unwrap(), false));
        }
        spans.sort_unstable();
        let mut reached = 0;
        for (start, end, _) in &spans {
            prop_assert_eq!(*start, reached, "{:?}", spans);
            prop_assert!(end > start);
            reached = *end;
        }
        prop_assert_eq!(reached, millis(ledger.accounted()));
    }

    /// The same input gives the same messages, also when the ledger is kept and read again after every step.
    #[test]
    fn a_replay_tells_the_same(inputs in proptest::collection::vec(input(), 1..60)) {
        let first = run(&inputs, false);
        prop_assert_eq!(&first, &run(&inputs, false));
        prop_assert_eq!(&first, &run(&inputs, true));
    }
}
