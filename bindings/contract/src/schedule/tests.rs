//! Schedules against stated days of real zones, and against a brute force over every minute.

use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> SiteZone {
    SiteZone::of(Some(&TimeZoneName::try_from(name.to_owned()).unwrap())).unwrap()
}

/// A schedule from the JSON of its spans.
fn schedule(json: serde_json::Value) -> Schedule {
    serde_json::from_value(json).unwrap()
}

fn plan(zone_name: &str, json: serde_json::Value) -> WeekPlan {
    WeekPlan::new(&schedule(json), &zone(zone_name))
}

fn utc(text: &str) -> UtcMillis {
    text.parse().unwrap()
}

/// The open spans that begin in `[from, to)`, as their first and last instants.
fn spans(plan: &mut WeekPlan, from: &str, to: &str) -> Vec<(UtcMillis, UtcMillis)> {
    let mut spans = vec![];
    let mut at = utc(from);
    while let Some((begin, opens)) = plan.next_change(at)
        && begin < utc(to)
    {
        at = begin;
        if opens {
            spans.push((begin, plan.next_change(begin).unwrap().0));
        }
    }
    spans
}

fn hours(spans: &[(UtcMillis, UtcMillis)]) -> Vec<f64> {
    spans.iter().map(|(begin, end)| end.since(*begin).as_secs_f64() / 3600.0).collect()
}

#[test]
fn a_night_watch_is_7_and_9_hours_long_when_clocks_change_as_frigate_2158_4270_3991_7935_and_frigate_notify_328_ask() {
    let watch = serde_json::json!([{"from": "22:00", "to": "06:00"}]);
    let check = |zone: &str, from: &str, to: &str, expected: &[f64]| {
        let mut plan = plan(zone, watch.clone());
        assert_eq!(hours(&spans(&mut plan, from, to)), expected, "{zone} {from}");
    };
    check("Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z", &[8.0, 7.0, 8.0]);
    check("Europe/Berlin", "2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z", &[8.0, 9.0, 8.0]);
    check("America/New_York", "2026-03-06T18:00:00Z", "2026-03-09T18:00:00Z", &[8.0, 7.0, 8.0]);
    check("America/New_York", "2026-10-30T18:00:00Z", "2026-11-02T18:00:00Z", &[8.0, 9.0, 8.0]);
    check("Australia/Lord_Howe", "2026-10-02T06:00:00Z", "2026-10-05T06:00:00Z", &[8.0, 7.5, 8.0]);
    check("Australia/Lord_Howe", "2026-04-03T06:00:00Z", "2026-04-06T06:00:00Z", &[8.0, 8.5, 8.0]);
    check("Asia/Kathmandu", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z", &[8.0, 8.0, 8.0]);
    check("UTC", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z", &[8.0, 8.0, 8.0]);
    // Friday 2011-12-30 was left out: Thursday's night ends where Saturday begins, and Friday's has only its morning.
    check("Pacific/Apia", "2011-12-30T00:00:00Z", "2012-01-01T00:00:00Z", &[8.0, 8.0]);
}

#[test]
fn a_zone_at_an_odd_offset_is_told_to_the_minute() {
    let mut plan = plan("Asia/Kathmandu", serde_json::json!([{"days": ["mon"], "from": "07:30", "to": "07:31"}]));
    let (begin, end) = (utc("2026-11-23T01:45:00Z"), utc("2026-11-23T01:46:00Z"));
    assert_eq!(spans(&mut plan, "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"), [(begin, end)]);
    let just_before = |at: UtcMillis| UtcMillis::from_millis(at.as_millis() - 1);
    let open = [just_before(begin), begin, just_before(end), end].map(|at| plan.is_open(at));
    assert_eq!(open, [false, true, true, false]);
}

#[test]
fn a_time_that_is_skipped_counts_as_the_first_instant_after() {
    // 02:00 to 03:00 is skipped in Berlin on 2026-03-29; 03:00 summer time is 01:00Z.
    let sunday = |from: &str, to: &str| serde_json::json!([{"days": ["sun"], "from": from, "to": to}]);
    let check = |span: serde_json::Value, expected: &[(&str, &str)]| {
        let found = spans(&mut plan("Europe/Berlin", span), "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        assert_eq!(found, expected.iter().map(|(begin, end)| (utc(begin), utc(end))).collect::<Vec<_>>());
    };
    check(sunday("02:30", "05:00"), &[("2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z")]);
    check(sunday("01:00", "02:30"), &[("2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z")]);
    check(sunday("02:10", "02:50"), &[]);
}

#[test]
fn a_time_shown_twice_is_the_first_for_a_beginning_and_the_last_for_an_end() {
    // 02:00 to 03:00 is shown twice in Berlin on 2026-10-25, from 00:00Z and from 01:00Z.
    let sunday = |from: &str, to: &str| serde_json::json!([{"days": ["sun"], "from": from, "to": to}]);
    let check = |span: serde_json::Value, begin: &str, end: &str| {
        let found = spans(&mut plan("Europe/Berlin", span), "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
        assert_eq!(found, [(utc(begin), utc(end))]);
    };
    check(sunday("02:30", "05:00"), "2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z");
    check(sunday("01:00", "02:30"), "2026-10-24T23:00:00Z", "2026-10-25T01:30:00Z");
    check(sunday("02:10", "02:50"), "2026-10-25T00:10:00Z", "2026-10-25T01:50:00Z");
}

#[test]
fn a_day_that_a_zone_skips_has_no_schedule() {
    let friday = |from: &str, to: &str| serde_json::json!([{"days": ["fri"], "from": from, "to": to}]);
    let check = |span: serde_json::Value| {
        spans(&mut plan("Pacific/Apia", span), "2011-12-26T00:00:00Z", "2012-01-04T00:00:00Z")
    };
    assert_eq!(check(friday("09:00", "17:00")), []);
    // What crosses into the Saturday that was keeps its morning, which began at 10:00Z.
    assert_eq!(check(friday("22:00", "06:00")), [(utc("2011-12-30T10:00:00Z"), utc("2011-12-30T16:00:00Z"))]);
}

#[test]
fn days_mean_the_beginning_and_24_00_is_midnight() {
    let json = serde_json::json!([
        {"days": ["sat", "sun"], "from": "00:00", "to": "24:00"}, {"days": ["fri"], "from": "18:00", "to": "24:00"}
    ]);
    let mut weekend = plan("Europe/Berlin", json);
    let found = spans(&mut weekend, "2026-11-16T00:00:00Z", "2026-11-23T12:00:00Z");
    assert_eq!(found, [(utc("2026-11-20T17:00:00Z"), utc("2026-11-22T23:00:00Z"))]);
}

#[test]
fn a_schedule_that_fills_the_week_never_changes_not_even_with_the_clock() {
    let whole = [
        serde_json::json!([{"from": "00:00", "to": "24:00"}]),
        serde_json::json!([{"from": "06:00", "to": "06:00"}]),
        serde_json::json!([{"from": "22:00", "to": "06:00"}, {"from": "06:00", "to": "22:00"}]),
        serde_json::json!([{"from": "02:30", "to": "14:00"}, {"from": "13:00", "to": "02:30"}]),
    ];
    for json in whole {
        let mut plan = plan("Europe/Berlin", json.clone());
        let year = utc("2026-01-01T00:00:00Z").as_millis();
        for minutes in (0..366 * 1440).step_by(10) {
            assert!(plan.is_open(UtcMillis::from_millis(year + minutes * 60_000)), "{json}");
        }
        assert_eq!(plan.next_change(UtcMillis::from_millis(year)), None, "{json}");
    }
}

#[test]
fn an_unknown_zone_is_refused_by_name_and_the_program_needs_no_files_for_the_known_ones() {
    for name in ["Mars/Olympus", "Europe/Berlinn", "Etc/Unknown", "local"] {
        let error = SiteZone::of(Some(&TimeZoneName::try_from(name.to_owned()).unwrap())).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(SiteZone::of(None).unwrap().name(), "UTC");
    assert_eq!(zone("Europe/Berlin").name(), "Europe/Berlin");
    let at = utc("2026-11-22T13:03:11.250Z");
    assert_eq!(zone("Europe/Berlin").on_the_wall(at), "2026-11-22T14:03:11.250+01:00");
}

#[test]
fn times_at_the_ends_of_the_calendar_are_answered() {
    for at in [i64::MIN, i64::MAX] {
        let mut plan = plan("Europe/Berlin", serde_json::json!([{"days": ["wed"], "from": "22:00", "to": "06:00"}]));
        let at = UtcMillis::from_millis(at);
        plan.is_open(at);
        plan.next_change(at);
    }
}

/// Every minute of a time with what the wall shows, in minutes since the day 1970-01-01 there.
struct Minutes {
    begin: i64,
    wall: Vec<i64>,
    /// The latest wall time up to each minute, and the earliest from each on: both never fall.
    latest: Vec<i64>,
    earliest: Vec<i64>,
}

impl Minutes {
    fn of(zone: &SiteZone, begin: i64, count: i64) -> Self {
        let wall = |minute: i64| {
            let millis = (begin + minute) * 60_000;
            millis / 60_000 + i64::from(zone.0.to_offset(timestamp(millis)).seconds()) / 60
        };
        let wall: Vec<_> = (0..count).map(wall).collect();
        let mut latest = wall.clone();
        (1..latest.len()).for_each(|i| latest[i] = latest[i].max(latest[i - 1]));
        let mut earliest = wall.clone();
        (0..earliest.len() - 1).rev().for_each(|i| earliest[i] = earliest[i].min(earliest[i + 1]));
        Self { begin, wall, latest, earliest }
    }

    /// The first minute at which the wall shows `wall` or later.
    fn first(&self, wall: i64) -> usize {
        self.latest.partition_point(|shown| *shown < wall)
    }

    /// The first minute at which the wall shows `wall` or later and never again shows it or earlier.
    fn last(&self, wall: i64) -> usize {
        let after = self.earliest.partition_point(|shown| *shown <= wall);
        if after > 0 && self.wall[after - 1] == wall { after - 1 } else { after }
    }

    /// What each minute should be: each span of each day, put down one by one.
    fn open(&self, schedule: &Schedule) -> Vec<bool> {
        let mut open = vec![false; self.wall.len()];
        let days = self.wall[0].div_euclid(1440) - 2..self.wall[self.wall.len() - 1].div_euclid(1440) + 2;
        for day in days {
            // 1970-01-01 was a Thursday.
            let weekday = (day + 3).rem_euclid(7);
            for span in schedule.spans() {
                if span.days.is_empty() || span.days.iter().any(|own| *own as i64 == weekday) {
                    let (from, to) = (i64::from(span.from.minutes()), i64::from(span.to.minutes()));
                    let next_day = if to > from { 0 } else { 1440 };
                    let (begin, end) = (self.first(day * 1440 + from), self.last(day * 1440 + next_day + to));
                    (begin..end).for_each(|minute| open[minute] = true);
                }
            }
        }
        open
    }

    /// Compares, leaving out a margin at both ends whose spans begin or end outside.
    fn check(&self, schedule: &Schedule, zone: &SiteZone) -> Result<(), TestCaseError> {
        let expected = self.open(schedule);
        let mut plan = WeekPlan::new(schedule, zone);
        let at = |minute: usize| UtcMillis::from_millis((self.begin + i64::try_from(minute).unwrap()) * 60_000);
        let (margin, last) = (3 * 1440, expected.len() - 3 * 1440);
        // The next minute that differs; `last` when none does, of which nothing is known.
        let mut change = margin;
        for minute in margin..last {
            let open = plan.is_open(at(minute));
            prop_assert_eq!(open, expected[minute], "{} at {}", zone.name(), zone.on_the_wall(at(minute)));
            if change <= minute {
                change = (minute + 1..last).find(|later| expected[*later] != open).unwrap_or(last);
            }
            if change < last {
                let said = plan.next_change(at(minute));
                prop_assert_eq!(said, Some((at(change), !open)), "{} after {}", zone.name(), at(minute));
            }
        }
        // Asked backwards as well, in steps that often skip whole stretches.
        for minute in (margin..last).rev().step_by(97) {
            prop_assert_eq!(plan.is_open(at(minute)), expected[minute], "{} at {}", zone.name(), at(minute));
        }
        Ok(())
    }
}

/// Zones with hours, half hours and days skipped and repeated, at midnight, just after it and at other times.
const ZONES: [&str; 14] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Europe/Dublin",
    "Asia/Tehran",
    "America/Caracas",
];

fn any_span() -> impl Strategy<Value = serde_json::Value> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    // Half of the times lie about where clocks are changed.
    let time = || prop_oneof![0u32..1440, (0u32..16).prop_map(|quarter| quarter * 15), Just(0), Just(1410)];
    let text = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    (prop::sample::subsequence(NAMES.as_slice(), 0..=7), time(), time()).prop_map(move |(days, from, to)| {
        let to = if to == 0 { 1440 } else { to };
        serde_json::json!({"days": days, "from": text(from), "to": text(to)})
    })
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    prop::collection::vec(any_span(), 1..5).prop_map(|spans| schedule(spans.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn around_any_change_of_a_clock_every_minute_is_as_a_brute_force_says(
        name in prop::sample::select(ZONES.as_slice()),
        schedule in any_schedule(),
        seconds in utc("1990-01-01T00:00:00Z").as_millis() / 1000..utc("2045-01-01T00:00:00Z").as_millis() / 1000,
    ) {
        let zone = zone(name);
        let from = timestamp(seconds * 1000);
        let change = zone.0.following(from).next().map_or(from, |transition| transition.timestamp());
        let minutes = Minutes::of(&zone, change.as_millisecond() / 60_000 - 8 * 1440, 16 * 1440);
        minutes.check(&schedule, &zone)?;
    }
}

#[test]
fn over_whole_years_every_minute_is_as_a_brute_force_says() {
    let json = serde_json::json!([
        {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "22:00", "to": "06:00"},
        {"days": ["sun"], "from": "02:15", "to": "02:45"},
        {"days": ["sat", "sun"], "from": "00:00", "to": "00:30"}
    ]);
    let years = [("Europe/Berlin", 2026), ("Pacific/Apia", 2011), ("Australia/Lord_Howe", 2027)];
    for (name, year) in years {
        let begin = utc(&format!("{}-12-25T00:00:00Z", year - 1)).as_millis() / 60_000;
        let zone = zone(name);
        Minutes::of(&zone, begin, 380 * 1440).check(&schedule(json.clone()), &zone).unwrap();
    }
}
