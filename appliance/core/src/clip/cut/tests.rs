use super::*;
use proptest::prelude::*;

fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + millis)
}

/// Fragments of one second from `from` to `to` in seconds, a key picture every second one.
fn segment(segment: usize, parameters: usize, from: i64, to: i64) -> Vec<Piece> {
    let piece = |(index, second): (usize, i64)| Piece {
        segment,
        index,
        wall: at(second * 1000),
        ticks: 90_000,
        key: index.is_multiple_of(2),
        parameters,
    };
    (from..to).enumerate().map(piece).collect()
}

fn lack(from: i64, to: i64, why: Why) -> Lack {
    Lack { start: at(from), end: at(to), why }
}

#[test]
fn a_clip_begins_with_the_key_picture_before_the_wanted_start() {
    let pieces = segment(0, 0, 0, 10);
    let cut = cut(&pieces, at(3_400), at(5_200), None).unwrap();
    assert_eq!((cut.pieces.clone(), cut.missing_ms()), (2..6, 0));
}

#[test]
fn a_clip_goes_on_over_the_cut_between_two_segments() {
    let pieces = [segment(0, 0, 0, 4), segment(1, 0, 4, 8)].concat();
    let cut = cut(&pieces, at(2_000), at(6_000), None).unwrap();
    assert_eq!((cut.pieces.clone(), cut.missing.len()), (2..6, 0));
}

#[test]
fn over_a_gap_it_says_what_is_missing() {
    let pieces = [segment(0, 0, 0, 4), segment(1, 0, 10, 14)].concat();
    let cut = cut(&pieces, at(-2_000), at(20_000), None).unwrap();
    let none = Why::NoFootage;
    assert_eq!(cut.missing, [lack(-2_000, 0, none), lack(4_000, 10_000, none), lack(14_000, 20_000, none)]);
    assert_eq!((cut.pieces.clone(), cut.missing_ms()), (0..8, 14_000));
}

#[test]
fn a_start_within_a_gap_takes_nothing_from_before_it() {
    let pieces = [segment(0, 0, 0, 4), segment(1, 0, 10, 14)].concat();
    let cut = cut(&pieces, at(6_000), at(12_000), None).unwrap();
    assert_eq!(cut.pieces, 4..6);
    assert_eq!(cut.missing, [lack(6_000, 10_000, Why::NoFootage)]);
}

#[test]
fn when_the_camera_was_reconfigured_the_part_with_the_event_is_shown_and_the_rest_said_to_be_missing() {
    let pieces = [segment(0, 0, 0, 8), segment(1, 1, 8, 12)].concat();
    let of_event = cut(&pieces, at(1_000), at(11_000), Some(at(9_000))).unwrap();
    assert_eq!(of_event.pieces, 8..11);
    assert_eq!(of_event.missing, [lack(1_000, 8_000, Why::OtherParameters)]);
    let longest = cut(&pieces, at(1_000), at(11_000), None).unwrap();
    assert_eq!((longest.pieces.clone(), longest.missing_ms()), (0..8, 3_000));
}

#[test]
fn of_a_time_without_footage_there_is_no_clip() {
    let pieces = segment(0, 0, 0, 4);
    assert_eq!(cut(&pieces, at(5_000), at(9_000), None), None);
    assert_eq!(cut(&pieces, at(4_000), at(9_000), None), None);
    assert_eq!(cut(&[], at(0), at(1_000), None), None);
}

proptest! {
    #[test]
    fn what_is_shown_and_what_is_missing_together_are_what_was_wanted(
        runs in prop::collection::vec((1i64..8, 0i64..6), 1..6), start in -5i64..30, length in 1i64..30
    ) {
        let (mut pieces, mut second) = (vec![], 0);
        for (number, (length, gap)) in runs.into_iter().enumerate() {
            pieces.extend(segment(number, 0, second, second + length));
            second += length + gap;
        }
        let (start, end) = (at(start * 1000 + 300), at((start + length) * 1000 + 700));
        if let Some(cut) = cut(&pieces, start, end, None) {
            let held = &pieces[cut.pieces.clone()];
            prop_assert!(held[0].key && held[0].end() + Duration::from_secs(2) > start);
            let span = |from: UtcMillis, to: UtcMillis| u64::try_from(to.since(from).as_millis()).unwrap();
            let shown: u64 = held.iter().map(|piece| span(piece.wall.max(start), piece.end().min(end))).sum();
            prop_assert_eq!(shown + cut.missing_ms(), span(start, end));
        }
    }
}
