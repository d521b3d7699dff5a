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
fn a_clip_begins_with_the_key_picture_before_and_hides_what_was_not_wanted() {
    let pieces = segment(0, 0, 0, 10);
    let cut = cut(&pieces, at(3_400), at(5_200), None).unwrap();
    assert_eq!((cut.pieces.clone(), cut.lead_in, cut.start), (2..6, 1_400 * 90, at(3_400)));
    assert_eq!((cut.duration_ms(), cut.missing_ms()), (2_600, 0));
    assert_eq!(cut.offset_of(&pieces, at(4_150)), Some(750 * 90));
    assert_eq!((cut.offset_of(&pieces, at(3_000)), cut.offset_of(&pieces, at(9_000))), (None, None));
}

#[test]
fn a_clip_goes_on_over_the_cut_between_two_segments() {
    let pieces = [segment(0, 0, 0, 4), segment(1, 0, 4, 8)].concat();
    let cut = cut(&pieces, at(2_000), at(6_000), None).unwrap();
    assert_eq!((cut.pieces.clone(), cut.lead_in, cut.missing.len()), (2..6, 0, 0));
}

#[test]
fn over_a_gap_it_says_what_is_missing_and_the_events_place_counts_no_gap() {
    let pieces = [segment(0, 0, 0, 4), segment(1, 0, 10, 14)].concat();
    let cut = cut(&pieces, at(-2_000), at(20_000), None).unwrap();
    let none = Why::NoFootage;
    assert_eq!(cut.missing, [lack(-2_000, 0, none), lack(4_000, 10_000, none), lack(14_000, 20_000, none)]);
    assert_eq!((cut.duration_ms(), cut.missing_ms(), cut.start), (8_000, 14_000, at(0)));
    assert_eq!(cut.offset_of(&pieces, at(11_500)), Some(5_500 * 90));
    assert_eq!(cut.offset_of(&pieces, at(7_000)), Some(4_000 * 90), "where the gap is closed");
    assert_eq!(cut.offset_of(&pieces, at(-1)), None);
}

#[test]
fn a_start_within_a_gap_hides_nothing() {
    let pieces = [segment(0, 0, 0, 4), segment(1, 0, 10, 14)].concat();
    let cut = cut(&pieces, at(6_000), at(12_000), None).unwrap();
    assert_eq!((cut.pieces.clone(), cut.lead_in, cut.start), (4..6, 0, at(10_000)));
    assert_eq!(cut.missing, [lack(6_000, 10_000, Why::NoFootage)]);
}

#[test]
fn when_the_camera_was_reconfigured_the_part_with_the_event_is_shown_and_the_rest_said_to_be_missing() {
    let pieces = [segment(0, 0, 0, 8), segment(1, 1, 8, 12)].concat();
    let of_event = cut(&pieces, at(1_000), at(11_000), Some(at(9_000))).unwrap();
    assert_eq!((of_event.pieces.clone(), of_event.start), (8..11, at(8_000)));
    assert_eq!(of_event.missing, [lack(1_000, 8_000, Why::OtherParameters)]);
    assert_eq!(of_event.offset_of(&pieces, at(9_000)), Some(90_000));
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
            prop_assert!(held[0].key);
            let behind = u64::try_from(held.last().unwrap().end().since(end).as_millis()).unwrap();
            let wanted = u64::try_from(end.since(start).as_millis()).unwrap();
            prop_assert_eq!(cut.duration_ms() + cut.missing_ms(), wanted + behind);
            prop_assert!(behind < 1000 && cut.lead_in < 180_000);
            for piece in held.iter().filter(|piece| piece.wall >= cut.start) {
                let before: u64 = held.iter().take_while(|other| other.wall < piece.wall).map(|p| u64::from(p.ticks)).sum();
                prop_assert_eq!(cut.offset_of(&pieces, piece.wall), Some(before - cut.lead_in));
            }
        }
    }
}
