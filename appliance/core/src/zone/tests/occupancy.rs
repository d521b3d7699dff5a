//! How many are inside, and when that makes a zone occupied.

use aivms_contract::desired::{Objects, Occupancy};

use super::*;

fn occupied_from(at_least: u32, for_ms: u64) -> Zone {
    let for_ms = DebounceMs::try_from(for_ms).unwrap();
    Zone { occupancy: Some(Occupancy { at_least: Objects::try_from(at_least).unwrap(), for_ms }), ..zone() }
}

/// Shows tracks 1, 2, … by turns inside and outside.
fn show(play: &mut Play, at_ms: u64, inside: &[bool]) {
    let seen: Vec<_> =
        (1..).zip(inside).map(|(track, &inside)| (track, sight(at_ms, if inside { IN } else { OUT }))).collect();
    play.frame(&seen);
}

fn counts(play: &mut Play) -> Vec<(String, Option<u32>)> {
    play.made.drain(..).map(|t| (print_one(&t), t.count)).collect()
}

#[test]
fn enter_and_exit_tell_how_many_are_inside_after_them() {
    let mut play = Play::of(&[zone()]);
    show(&mut play, 0, &[true, true, false]);
    show(&mut play, 200, &[true, true, true]);
    show(&mut play, 400, &[false, true, true]);
    play.end(2);
    let said: Vec<_> = counts(&mut play).into_iter().map(|(_, count)| count).collect();
    assert_eq!(said, [Some(1), Some(2), Some(3), Some(2), Some(1)], "a lost track is no longer inside");
}

#[test]
fn a_zone_is_occupied_by_the_one_that_made_it_full_and_cleared_by_the_one_that_left() {
    let mut play = Play::of(&[occupied_from(2, 0)]);
    show(&mut play, 0, &[true, false]);
    show(&mut play, 200, &[true, true]);
    show(&mut play, 400, &[true, true]);
    show(&mut play, 600, &[false, true]);
    let said = play.said();
    assert_eq!(said, ["enter@0", "enter@133", "occupied@133 by 2#2", "left@467(467)", "cleared@467 by 1#1"]);
}

#[test]
fn who_stays_shorter_than_the_occupancys_time_does_not_make_a_zone_occupied_or_clear() {
    let mut play = Play::of(&[occupied_from(1, 1_000)]);
    // Inside for 0.8 s, away for 2 s, inside for 3 s with 0.6 s outside in it.
    let inside = |at: u64| at < 800 || (2_800..4_000).contains(&at) || (4_600..6_000).contains(&at);
    for at in (0..8_000).step_by(200) {
        show(&mut play, at, &[inside(at)]);
    }
    let said: Vec<_> = play.said().into_iter().filter(|what| what.contains("by")).collect();
    assert_eq!(said, ["occupied@2733 by 1#1", "cleared@5867 by 1#0"]);
}

#[test]
fn the_time_is_media_time_and_not_a_number_of_frames() {
    for fps in [30, 10, 5, 2, 1] {
        let mut play = Play::of(&[occupied_from(1, 2_000)]);
        for frame in 0..=8 * fps {
            show(&mut play, frame * 1000 / fps, &[true]);
        }
        assert!(play.said().contains(&"occupied@0 by 1#1".to_owned()), "{fps} fps");
    }
}

#[test]
fn a_zone_stays_occupied_when_one_goes_and_another_comes_and_empties_with_the_stream() {
    let mut play = Play::of(&[occupied_from(1, 400)]);
    show(&mut play, 0, &[true, false]);
    show(&mut play, 600, &[true, false]);
    show(&mut play, 800, &[false, true]);
    show(&mut play, 1_400, &[false, true]);
    assert_eq!(play.said(), ["enter@0", "occupied@0 by 1#1", "left@667(667)", "enter@733"]);
    let rulings = play.engine.on_end([1, 2]);
    play.keep(rulings);
    assert_eq!(play.said(), ["lost@1400(667)", "cleared@1400 by 2#0"]);
}

#[test]
fn other_limits_for_the_same_zone_are_held_against_those_inside() {
    let mut play = Play::of(&[occupied_from(2, 0)]);
    show(&mut play, 0, &[true, true, true]);
    play.made.clear();
    play.replace(&CameraRules::of_zones(&[occupied_from(3, 0)]));
    show(&mut play, 200, &[true, true, true]);
    assert_eq!(play.said(), Vec::<String>::new(), "three are inside: it stays occupied");
    play.replace(&CameraRules::of_zones(&[occupied_from(4, 0)]));
    assert_eq!(play.said(), ["cleared@200 by 3#3"]);
    play.replace(&CameraRules::of_zones(&[occupied_from(1, 0)]));
    show(&mut play, 400, &[true, true, true]);
    assert_eq!(play.said(), ["occupied@200 by 3#3"]);
    play.replace(&CameraRules::default());
    let said: Vec<_> = play.said().into_iter().filter(|what| what.contains("by")).collect();
    assert_eq!(said, ["cleared@400 by 3#0"]);
}
