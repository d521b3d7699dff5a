//! Lines, which Frigate's users ask for in #17474 ("line crossing") and #1211 (direction).

use aivms_contract::desired::{Line, LineDirection};
use proptest::prelude::*;

use super::*;

/// A line up the middle of the picture, from (500, 800) to (500, 200) in pixels: its left is the left of the picture.
fn line(debounce_ms: u64) -> Line {
    line_from([0.5, 0.8], [0.5, 0.2], debounce_ms)
}

fn line_from(from: [f64; 2], to: [f64; 2], debounce_ms: u64) -> Line {
    let debounce_ms = DebounceMs::try_from(debounce_ms).unwrap();
    Line { debounce_ms, ..Line::new("gate".parse().unwrap(), from.into(), to.into()) }
}

fn rules(lines: &[Line]) -> CameraRules {
    CameraRules { lines: lines.to_vec(), ..CameraRules::default() }
}

/// Plays one track past a line; its places follow 200 ms apart.
fn walk(line: Line, places: &[[f32; 2]]) -> Vec<String> {
    let mut play = Play::new(&rules(&[line]));
    for (index, place) in places.iter().enumerate() {
        play.see(1, sight_of(index as u64 * 200, *place, 0));
    }
    play.end(1);
    play.said()
}

#[test]
fn frigate_17474_a_crossing_is_told_with_its_time_direction_and_number() {
    let across = [[400.0, 500.0], [600.0, 500.0]];
    assert_eq!(walk(line(0), &across), ["right@100#1"], "from the left of the picture to its right");
    assert_eq!(walk(line(0), &[across[1], across[0]]), ["left@100#1"]);
    assert_eq!(
        walk(line(0), &[across[0], across[1], across[0], across[1]]),
        ["right@100#1", "left@300#1", "right@500#2"]
    );
    // The same line drawn from the other end.
    assert_eq!(walk(line_from([0.5, 0.2], [0.5, 0.8], 0), &across), ["left@100#1"]);
}

#[test]
fn frigate_1211_only_the_way_asked_for_is_told_and_counted() {
    let way_in = |direction| Line { direction, ..line(0) };
    let there_and_back = [[400.0, 500.0], [600.0, 500.0], [400.0, 500.0]];
    assert_eq!(walk(way_in(LineDirection::LeftToRight), &there_and_back), ["right@100#1"]);
    assert_eq!(walk(way_in(LineDirection::RightToLeft), &there_and_back), ["left@300#1"]);
}

#[test]
fn past_the_ends_of_a_line_nothing_is_crossed() {
    assert_eq!(walk(line(0), &[[400.0, 900.0], [600.0, 900.0]]), Vec::<String>::new());
    assert_eq!(walk(line(0), &[[400.0, 100.0], [600.0, 100.0]]), Vec::<String>::new());
    // A slanting way past the end, whose middle is above the line's end.
    assert_eq!(walk(line(0), &[[400.0, 300.0], [600.0, 50.0]]), Vec::<String>::new());
    assert_eq!(walk(line(0), &[[400.0, 300.0], [600.0, 250.0]]), ["right@100#1"]);
}

#[test]
fn touching_the_line_and_going_back_is_no_crossing() {
    assert_eq!(walk(line(0), &[[400.0, 500.0], [500.0, 500.0], [400.0, 500.0]]), Vec::<String>::new());
    assert_eq!(walk(line(0), &[[500.0, 500.0], [600.0, 500.0]]), Vec::<String>::new(), "first seen on the line");
}

#[test]
fn one_that_runs_along_the_line_crosses_where_it_leaves_it_for_the_other_side() {
    let along = [[400.0, 700.0], [500.0, 600.0], [500.0, 400.0], [600.0, 300.0]];
    assert_eq!(walk(line(0), &along), ["right@400#1"]);
    let past_the_end = [[400.0, 700.0], [500.0, 600.0], [500.0, 100.0], [600.0, 100.0]];
    assert_eq!(walk(line(0), &past_the_end), Vec::<String>::new());
}

#[test]
fn the_way_through_the_shared_end_of_two_lines_crosses_one_of_them() {
    let lower = line_from([0.5, 0.8], [0.5, 0.5], 0);
    let upper = Line { id: "upper".parse().unwrap(), ..line_from([0.5, 0.5], [0.5, 0.2], 0) };
    for (from, to) in [([400.0, 500.0], [600.0, 500.0]), ([600.0, 500.0], [400.0, 500.0])] {
        let mut play = Play::new(&rules(&[lower.clone(), upper.clone()]));
        play.see(1, sight_of(0, from, 0));
        play.see(1, sight_of(200, to, 0));
        assert_eq!(play.made.iter().map(|t| t.zone_id.as_str()).collect::<Vec<_>>(), ["upper"]);
    }
}

#[test]
fn wavering_on_the_line_within_the_debounce_time_is_no_crossing() {
    let tremble: Vec<_> = (0..40).map(|i| [if i % 2 == 0 { 498.0 } else { 502.0 }, 500.0]).collect();
    assert_eq!(walk(line(400), &tremble), Vec::<String>::new());
    // Over, back and over again: once, when it last went over.
    let twice = [400.0, 600.0, 400.0, 600.0, 600.0, 600.0, 600.0].map(|x| [x, 500.0]);
    assert_eq!(walk(line(400), &twice), ["right@500#1"]);
    // Back round the end of the line, within the time.
    let round = [[400.0, 300.0], [600.0, 300.0], [600.0, 100.0], [400.0, 100.0], [400.0, 100.0], [400.0, 100.0]];
    assert_eq!(walk(line(1000), &round), Vec::<String>::new());
}

#[test]
fn sights_too_far_apart_to_be_joined_cross_nothing() {
    let mut play = Play::new(&rules(&[line(0)]));
    play.see(1, sight(0, 400.0));
    play.see(1, sight(1_900, 600.0));
    assert_eq!(play.said(), Vec::<String>::new());
    play.see(1, sight(2_100, 400.0));
    assert_eq!(play.said(), ["left@2000#1"]);
}

#[test]
fn counts_go_on_over_the_end_of_the_stream_and_start_anew_only_for_a_line_that_was_moved() {
    let lines = [line(0), Line { id: "other".parse().unwrap(), ..line_from([0.7, 0.8], [0.7, 0.2], 0) }];
    let mut play = Play::new(&rules(&lines));
    let cross_both = |play: &mut Play, at: u64| {
        play.see(1, sight(at, 400.0));
        play.see(1, sight(at + 300, 900.0));
        play.see(1, sight(at + 600, 900.0));
        play.end(1);
        play.made.drain(..).map(|t| (t.zone_id.to_string(), t.count.unwrap())).collect::<Vec<_>>()
    };
    let counted = |first, second| [("gate".to_owned(), first), ("other".to_owned(), second)];
    assert_eq!(cross_both(&mut play, 0), counted(1, 1));
    let rulings = play.engine.on_end([]);
    play.keep(rulings);
    play.now = MediaTime::ZERO;
    assert_eq!(cross_both(&mut play, 0), counted(2, 2));
    let moved = Line { to: [0.7, 0.3].into(), ..lines[1].clone() };
    let renamed = Line { name: "renamed".into(), direction: LineDirection::LeftToRight, ..lines[0].clone() };
    play.replace(&rules(&[renamed, moved]));
    assert_eq!(cross_both(&mut play, 2_000), counted(3, 1));
}

#[test]
fn a_crossing_that_waits_for_its_debounce_time_is_not_lost_by_a_change_of_other_rules() {
    let mut play = Play::new(&rules(&[line(400)]));
    play.see(1, sight(0, 400.0));
    play.see(1, sight(200, 600.0));
    play.replace(&CameraRules { zones: vec![zone()], ..rules(&[line(400)]) });
    play.see(1, sight(600, 600.0));
    assert_eq!(play.said(), ["right@100#1"]);
}

proptest! {
    /// However it walks, whoever was counted there more often than back ends on the other side.
    #[test]
    fn on_a_line_across_the_picture_the_counts_tell_the_side_it_is_on(places in proptest::collection::vec((0..=20u8, 1..20u8), 2..60)) {
        let mut play = Play::new(&rules(&[line_from([0.5, 1.0], [0.5, 0.0], 0)]));
        for (index, (x, y)) in places.iter().enumerate() {
            let place = [f32::from(*x) * 50.0, f32::from(*y) * 50.0];
            play.see(1, sight_of(index as u64 * 200, place, 0));
        }
        let way = |t: &ZoneTransition| if matches!(t.what, Move::Cross { direction: Direction::LeftToRight }) { 1 } else { -1 };
        let crossed: i32 = play.made.iter().map(way).sum();
        let sides: Vec<_> = places.iter().map(|(x, _)| (i32::from(*x) - 10).signum()).filter(|side| *side != 0).collect();
        if let (Some(first), Some(last)) = (sides.first(), sides.last()) {
            prop_assert_eq!(crossed, (last - first) / 2);
        }
        let ways: Vec<_> = play.made.iter().map(way).collect();
        prop_assert!(ways.windows(2).all(|two| two[0] != two[1]), "there and back by turns: {:?}", ways);
    }
}
