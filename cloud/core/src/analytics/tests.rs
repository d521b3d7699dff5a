use aivms_contract::time::UtcMillis;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;
const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "Pacific/Chatham",
];

fn at(text: &str) -> UtcMillis {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn millis(ms: i64) -> UtcMillis {
    UtcMillis::from_millis(ms)
}

/// What the calendar and the clock show: date and hour, and for hours the offset, which tells a repeated hour apart.
fn shown(name: &str, step: Step, at: UtcMillis) -> String {
    let tz = TimeZone::get(name).unwrap();
    let zoned = Timestamp::from_millisecond(at.as_millis()).unwrap().to_zoned(tz);
    match step {
        Step::Hour => format!("{} {} {}", zoned.date(), zoned.hour(), zoned.offset()),
        Step::Day => zoned.date().to_string(),
    }
}

fn lengths(name: &str, step: Step, start: &str, end: &str) -> Vec<i64> {
    let parts = buckets(&zone(name), step, at(start), at(end)).unwrap();
    parts.iter().map(|part| part.end.as_millis() - part.start.as_millis()).collect()
}

#[test]
fn the_days_on_which_the_clock_is_changed_have_23_and_25_hours() {
    let spring = lengths("Europe/Berlin", Step::Day, "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z");
    assert_eq!(spring, [24 * HOUR, 23 * HOUR, 24 * HOUR]);
    let autumn = lengths("Europe/Berlin", Step::Day, "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z");
    assert_eq!(autumn, [24 * HOUR, 25 * HOUR, 24 * HOUR]);
}

#[test]
fn an_hour_that_the_clock_shows_twice_is_two_and_one_it_skips_is_none() {
    let berlin = zone("Europe/Berlin");
    let clocks = |start: &str, end: &str| -> Vec<String> {
        let parts = buckets(&berlin, Step::Hour, at(start), at(end)).unwrap();
        parts.iter().map(|part| berlin.clock(part.start)).collect()
    };
    let twice = ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"];
    assert_eq!(clocks("2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z"), twice);
    let skipped = ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"];
    assert_eq!(clocks("2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"), skipped);
}

#[test]
fn offsets_of_halves_and_quarters_of_an_hour_are_right() {
    let first = |name: &str| {
        let zone = zone(name);
        zone.clock(buckets(&zone, Step::Hour, at("2026-11-22T00:00:00Z"), at("2026-11-22T03:00:00Z")).unwrap()[1].start)
    };
    assert_eq!(first("Asia/Kolkata"), "2026-11-22T06:00:00+05:30");
    assert_eq!(first("Asia/Kathmandu"), "2026-11-22T06:00:00+05:45");
    // The clock of Lord Howe goes back by half an hour: 01:00 to 02:00, then 01:30 to 02:00 again.
    let back = lengths("Australia/Lord_Howe", Step::Hour, "2026-04-04T14:00:00Z", "2026-04-04T16:30:00Z");
    assert_eq!(back, [HOUR, HOUR / 2, HOUR]);
}

#[test]
fn a_day_that_a_place_left_out_is_none() {
    // Samoa went from the 29th to the 31st of December 2011.
    let apia = zone("Pacific/Apia");
    let parts = buckets(&apia, Step::Day, at("2011-12-29T10:00:00Z"), at("2012-01-01T10:00:00Z")).unwrap();
    let dates: Vec<_> = parts.iter().map(|part| apia.clock(part.start)[..10].to_owned()).collect();
    assert_eq!(dates, ["2011-12-29", "2011-12-31", "2012-01-01"]);
}

#[test]
fn names_that_are_no_time_zone_and_too_many_parts_are_refused() {
    for name in ["", "Mars/Olympus", "+01:00", "../etc/passwd"] {
        assert!(name.parse::<Zone>().is_err(), "{name}");
    }
    assert_eq!(zone("europe/berlin").to_string(), "Europe/Berlin");
    let all = buckets(&Zone::default(), Step::Hour, millis(0), millis(10_001 * HOUR));
    assert_eq!(all, Err(TooMany));
    assert_eq!(buckets(&Zone::default(), Step::Day, millis(5), millis(5)), Ok(vec![]));
}

proptest! {
    #[test]
    fn parts_join_without_gap_and_hold_one_hour_or_day_of_the_clock(
        name in prop::sample::select(&ZONES[..]),
        // From 1990 on; before that there were offsets that are not whole minutes.
        start in 631_152_000_000i64..1_900_000_000_000,
        length in 1i64..400 * HOUR,
        daily: bool,
    ) {
        let step = if daily { Step::Day } else { Step::Hour };
        let (start, end) = (millis(start), millis(start + length));
        let parts = buckets(&zone(name), step, start, end).unwrap();
        prop_assert_eq!((parts[0].start, parts[parts.len() - 1].end), (start, end));
        for part in &parts {
            let last = millis(part.end.as_millis() - 1);
            prop_assert!(part.start < part.end);
            prop_assert_eq!(shown(name, step, part.start), shown(name, step, last));
        }
        for pair in parts.windows(2) {
            prop_assert_eq!(pair[0].end, pair[1].start);
            prop_assert_ne!(shown(name, step, pair[0].start), shown(name, step, pair[1].start));
        }
    }

    #[test]
    fn ready_and_raw_counts_together_are_the_count_of_the_events(
        name in prop::sample::select(&ZONES[..]),
        events in vec(0i64..100 * HOUR, 0..200),
        ready in btree_set(0i64..400, 0..400),
        span in (0i64..100 * HOUR, 0i64..100 * HOUR),
        daily: bool,
    ) {
        let base = 1_774_700_000_000 / 900_000 * 900_000;
        let step = if daily { Step::Day } else { Step::Hour };
        let (from, to) = (millis(base + span.0.min(span.1)), millis(base + span.0.max(span.1)));
        let parts = buckets(&zone(name), step, from, to).unwrap();
        let events: Vec<_> = events.iter().map(|offset| millis(base + offset)).collect();
        let naive: Vec<_> =
            parts.iter().map(|part| events.iter().filter(|at| part.start <= **at && **at < part.end).count()).collect();
        let covered = cover(&parts, |quarter| ready.contains(&(quarter.0 - base / 900_000)));
        let mut counted = vec![0; parts.len()];
        // As a day's row has them: from somewhere before the first to somewhere after the last.
        let first = Quarter(base / 900_000 - 3);
        let of_quarters =
            (0..450).map(|n| events.iter().filter(|at| Quarter::of(**at).0 == first.0 + n).count()).collect();
        for (bucket, count) in covered.in_buckets(first, of_quarters) {
            counted[bucket] += count;
        }
        for raw in &covered.raw {
            counted[raw.bucket] += events.iter().filter(|at| raw.start <= **at && **at < raw.end).count();
        }
        prop_assert_eq!(counted, naive);
    }

    #[test]
    fn where_all_quarters_are_ready_only_the_ends_are_counted(
        name in prop::sample::select(&ZONES[..]),
        // From 2012 on; until 2011 Newfoundland changed its clocks at one minute past midnight.
        start in 1_325_376_000_000i64..1_900_000_000_000,
        length in HOUR..1_000 * HOUR,
    ) {
        let parts = buckets(&zone(name), Step::Hour, millis(start), millis(start + length)).unwrap();
        prop_assert!(cover(&parts, |_| true).raw.len() <= 2);
    }
}
