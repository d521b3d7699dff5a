//! Speeds of events, and zones that only the fast enter; Frigate has both, and users ask for wrong-way and speeding
//! alerts with them.

use aivms_contract::desired::{Ground, Kmh, Metres};
use aivms_contract::why::Gate;

use super::*;

/// The zone in the middle of 40 x 40 metres of ground: a pixel is 0.1 m.
fn street(min_speed_kmh: Option<f64>, debounce_ms: u64) -> Zone {
    let metres = Metres::try_from(40.0).unwrap();
    let ground = Ground {
        corners: [[0.3, 0.7], [0.7, 0.7], [0.7, 0.3], [0.3, 0.3]].map(Point::from),
        width_m: metres,
        length_m: metres,
        min_speed_kmh: min_speed_kmh.map(|kmh| Kmh::try_from(kmh).unwrap()),
    };
    Zone { ground: Some(ground), ..with_times(debounce_ms, 1_000) }
}

/// Places of one that drives at `kmh` from 300 pixels on, at `step_ms` between sights.
fn drive(kmh: f32, step_ms: u64, until_ms: u64) -> Vec<(u64, f32)> {
    (0..=until_ms).step_by(step_ms as usize).map(|at| (at, 300.0 + at as f32 / 1000.0 * kmh / 3.6 * 10.0)).collect()
}

fn speeds(play: &Play) -> Vec<(String, Option<f32>)> {
    play.made.iter().map(|t| (print_one(t).split('@').next().unwrap().to_owned(), t.speed_kmh)).collect()
}

#[test]
fn enter_dwell_and_exit_tell_the_speed() {
    let mut play = Play::of(&[street(None, 0)]);
    play.walk(&drive(36.0, 200, 4_000));
    let fast = |what: &str| (what.to_owned(), Some(36.0));
    assert_eq!(speeds(&play), [fast("enter"), fast("dwell"), fast("left")]);
    assert_eq!(play.made[0].why, [], "a speed that nobody asked for is no reason");
}

#[test]
fn a_zone_without_ground_tells_none_and_one_where_it_is_elsewhere_neither() {
    let mut play = Play::of(&[with_times(0, 1_000)]);
    play.walk(&drive(36.0, 200, 4_000));
    assert!(play.made.iter().all(|t| t.speed_kmh.is_none()));
    let mut elsewhere = street(None, 0);
    elsewhere.ground.as_mut().unwrap().corners = [[0.0, 0.2], [0.2, 0.2], [0.2, 0.0], [0.0, 0.0]].map(Point::from);
    let mut play = Play::of(&[elsewhere]);
    play.walk(&drive(36.0, 200, 4_000));
    assert!(play.made.len() == 3 && play.made.iter().all(|t| t.speed_kmh.is_none()));
}

#[test]
fn only_those_who_are_fast_enough_enter_whatever_the_frame_rate() {
    for step_ms in [33, 100, 200, 250] {
        let mut play = Play::of(&[street(Some(30.0), 400)]);
        play.walk(&drive(36.0, step_ms, 4_000));
        let expected = ["enter", "dwell", "left"].map(|what| (what.to_owned(), Some(36.0)));
        assert_eq!(speeds(&play), expected, "at {step_ms} ms");
        assert!(play.said()[0].starts_with("enter@1000"), "at {step_ms} ms, where it crossed");
        play.end(1);
        assert_eq!(play.not_said(), Vec::<String>::new());

        let mut play = Play::of(&[street(Some(30.0), 400)]);
        play.walk(&drive(18.0, step_ms, 8_000));
        play.end(1);
        assert_eq!((play.said(), play.not_said()), (vec![], vec!["enter of 1: speed 18/30".to_owned()]));
    }
}

#[test]
fn an_event_says_that_the_speed_let_it_through() {
    let mut play = Play::of(&[street(Some(30.0), 400)]);
    play.walk(&drive(36.0, 200, 2_000));
    let why: Vec<_> = play.made[0].why.iter().map(|check| (check.gate, check.value, check.limit)).collect();
    assert_eq!(why, [(Gate::Speed, Some(36.0), Some(30.0)), (Gate::Debounce, Some(400.0), Some(400.0))]);
}

#[test]
fn one_that_becomes_fast_inside_enters_then_and_stays_in_when_it_slows_down() {
    let mut play = Play::of(&[street(Some(30.0), 0)]);
    // Stands inside for 2 s, drives 8 m in 1 s and stands again.
    let place = |at: u64| 420.0 + at.saturating_sub(2_000).min(1_000) as f32 * 0.1;
    play.walk(&(0..30).map(|i| (i * 200, place(i * 200))).collect::<Vec<_>>());
    let (enter, kmh) = (play.made[0].at.as_nanos() / 1_000_000, play.made[0].speed_kmh.unwrap());
    assert!((2_400..=3_000).contains(&enter) && kmh >= 30.0, "{enter} at {kmh}");
    assert_eq!(speeds(&play).iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(), ["enter", "dwell"]);
}

#[test]
fn a_speed_that_wavers_about_the_least_while_it_is_debounced_still_enters() {
    let mut play = Play::of(&[street(Some(30.0), 600)]);
    // 31 km/h for the first second inside and 27, above four fifths of 30, from then on.
    let mut x = 310.0;
    let places: Vec<_> = (0..20_u64)
        .map(|i| {
            x += if i < 6 { 31.0 } else { 27.0 } / 3.6 * 2.0;
            (i * 200, x)
        })
        .collect();
    play.walk(&places);
    assert_eq!(play.made.iter().filter(|t| t.what == Move::Enter).count(), 1);
    let mut play = Play::of(&[street(Some(30.0), 600)]);
    let mut x = 310.0;
    let slower: Vec<_> = (0..20_u64)
        .map(|i| {
            x += if i < 6 { 31.0 } else { 15.0 } / 3.6 * 2.0;
            (i * 200, x)
        })
        .collect();
    play.walk(&slower);
    assert_eq!(play.made, [], "far slower before the entering counted");
}

#[test]
fn a_parked_car_has_no_speed_and_other_rules_may_ask_for_one() {
    let mut play = Play::of(&[street(None, 0)]);
    play.walk(&(0..10).map(|i| (i * 200, IN)).collect::<Vec<_>>());
    play.replace(&CameraRules::of_zones(&[with_times(0, 5_000)]));
    play.replace(&CameraRules::of_zones(&[street(Some(30.0), 0)]));
    play.walk(&(10..50).map(|i| (i * 200, IN)).collect::<Vec<_>>());
    play.end(1);
    let told = speeds(&play);
    assert_eq!(told.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(), ["enter", "dwell", "lost"]);
    assert_eq!((told[0].1, told[2].1), (None, Some(0.0)), "its first sight tells no speed, its last that it stands");
}
