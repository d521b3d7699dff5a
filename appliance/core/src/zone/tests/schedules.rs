//! Zones and lines that are judged at some times only.

use aivms_contract::desired::{Line, Schedule, TimeZoneName};

use super::*;
use crate::schedule::SiteZone;

fn schedule(from: &str, to: &str) -> Option<Schedule> {
    Some(serde_json::from_value(serde_json::json!([{"from": from, "to": to}])).unwrap())
}

/// Ten seconds to and from: a zone whose hours begin or end at noon, watched around it.
fn around_noon(rules: &CameraRules) -> Play {
    let mut play = Play::new(rules);
    play.clock = MediaClock { zero_at: "2026-11-22T11:59:50Z".parse::<UtcMillis>().unwrap() };
    play
}

fn zone_from(from: &str, to: &str) -> Zone {
    Zone { schedule: schedule(from, to), ..with_times(0, 1_000) }
}

#[test]
fn who_is_inside_when_a_zone_opens_enters_then_and_nothing_before_counts() {
    let mut play = around_noon(&CameraRules::of_zones(&[zone_from("12:00", "13:00")]));
    (0..=60).for_each(|i| play.see(1, sight(i * 300, IN)));
    assert_eq!(play.said(), ["enter@10000", "dwell@11000"]);
    // One that is outside at the opening, between two sights inside.
    let mut play = around_noon(&CameraRules::of_zones(&[zone_from("12:00", "13:00")]));
    play.walk(&[(9_700, IN), (9_900, 300.0), (10_100, 300.0), (10_300, IN)]);
    assert_eq!(play.said(), ["enter@10200"]);
}

#[test]
fn stays_end_with_the_schedule_at_its_very_end() {
    let mut play = around_noon(&CameraRules::of_zones(&[zone_from("11:00", "12:00")]));
    (0..=60).for_each(|i| play.see(1, sight(i * 300, IN)));
    assert_eq!(play.said(), ["enter@0", "dwell@1000", "closed@10000(10000)"]);
    play.end(1);
    assert_eq!(play.said(), Vec::<String>::new());
}

#[test]
fn a_zone_left_before_it_closed_was_left_and_one_left_after_was_not() {
    let zone = zone_from("11:00", "12:00");
    for (crosses, expected) in [(9_900, "left@9900(9900)"), (10_100, "closed@10000(10000)")] {
        let mut play = around_noon(&CameraRules::of_zones(std::slice::from_ref(&zone)));
        // On its way from 500 to 700 pixels it leaves the zone half way, at 600.
        (0..=32).for_each(|i| play.see(1, sight(i * 300, IN)));
        play.walk(&[(crosses - 100, IN), (crosses + 100, 700.0), (10_400, 700.0)]);
        assert_eq!(play.said().last().map(String::as_str), Some(expected));
    }
}

#[test]
fn an_object_at_rest_that_nobody_sees_does_not_keep_a_closed_zone_open() {
    let mut play = around_noon(&CameraRules::of_zones(&[zone_from("11:00", "12:00")]));
    (0..5).for_each(|i| play.see(1, sight(i * 300, IN)));
    play.made.clear();
    play.wait(9_900);
    assert_eq!(play.said(), Vec::<String>::new());
    play.wait(10_100);
    assert_eq!(play.said(), ["closed@10000(10000)"]);
    play.see(1, sight(20_000, IN));
    assert_eq!(play.said(), Vec::<String>::new());
}

/// The night of 25 October 2026 in Berlin has the hour from 2 to 3 twice; a watch until 03:00 covers both (Frigate
/// #4270, #7935: wrong spans when the clock is changed).
#[test]
fn frigate_7935_a_stay_over_the_repeated_hour_is_as_long_as_it_was() {
    let berlin: TimeZoneName = "Europe/Berlin".to_owned().try_into().unwrap();
    let zone = Zone { schedule: schedule("01:00", "03:00"), ..zone() };
    let rules = CameraRules { time_zone: SiteZone::of(Some(&berlin)).unwrap(), ..CameraRules::of_zones(&[zone]) };
    let mut play = Play::new(&rules);
    play.clock = MediaClock { zero_at: "2026-10-25T00:00:00+02:00".parse::<UtcMillis>().unwrap() };
    (0..5 * 3600).for_each(|second| play.see(1, sight(second * 1000, IN)));
    let hour = 3_600_000;
    assert_eq!(play.said(), [format!("enter@{hour}"), format!("closed@{}({})", 4 * hour, 3 * hour)]);
}

#[test]
fn a_line_counts_crossings_that_happened_in_its_hours() {
    let line = Line {
        debounce_ms: DebounceMs::try_from(0).unwrap(),
        ..Line::new("gate".parse().unwrap(), [0.5, 0.8].into(), [0.5, 0.2].into())
    };
    let line = Line { schedule: schedule("12:00", "13:00"), ..line };
    let mut play = around_noon(&CameraRules { lines: vec![line], ..CameraRules::default() });
    play.walk(&[(9_700, 400.0), (9_900, 600.0), (10_100, 300.0), (10_300, 600.0)]);
    // Over at 9.8 s; back at 9.967 s; over again at 10.233 s.
    assert_eq!(play.said(), ["right@10233#1"]);
    play.end(1);
    assert_eq!(play.not_said(), ["cross of 1: schedule"]);
}

#[test]
fn a_new_schedule_ends_a_stay_at_the_last_sight_in_the_old_one() {
    let mut play = around_noon(&CameraRules::of_zones(&[zone_from("11:00", "13:00")]));
    play.see(1, sight(0, IN));
    play.see(1, sight(200, IN));
    play.replace(&CameraRules::of_zones(&[zone_from("14:00", "15:00")]));
    play.see(1, sight(400, IN));
    assert_eq!(play.said(), ["enter@0", "closed@200(200)"]);
}
