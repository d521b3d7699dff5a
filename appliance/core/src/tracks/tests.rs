use super::live::ClassVote;
use super::*;
use aivms_contract::geometry::PixelBox;

const FRAME: FrameSize = FrameSize { width: 1000, height: 1000 };

fn object(track: u64, x: f32) -> Tracked {
    let bbox = PixelBox::new(x, 100.0, x + 100.0, 300.0).unwrap();
    Tracked { track, class: 0, confidence: 0.8, bbox }
}

fn frame(at_ms: u64, objects: Vec<Tracked>) -> FrameDetections {
    FrameDetections { pts: MediaTime::from_millis(at_ms), frame: FRAME, objects }
}

/// Plays frames and gives each report as (milliseconds of the frame, track number, phase).
fn play(settings: TrackSettings, frames: Vec<FrameDetections>) -> Vec<(u64, u64, TrackPhase)> {
    let mut book = TrackBook::new(settings, Kinds::default());
    let mut said = vec![];
    for frame in frames {
        let Some(turn) = book.on_frame(&frame) else { continue };
        let ends = turn.ended.into_iter().filter_map(|track| track.report);
        let at = frame.pts.as_nanos() / 1_000_000;
        said.extend(book.reports().into_iter().chain(ends).map(|report| (at, report.number, report.phase)));
    }
    said
}

#[test]
fn a_standing_object_is_reported_at_each_interval_until_it_rests_and_a_moving_one_as_it_moves() {
    let settings = TrackSettings::default();
    let parked = (0..=60).map(|i| frame(i * 200, vec![object(9, 0.0)])).collect();
    let expected = [(400, TrackPhase::Start), (5400, TrackPhase::Update), (10_000, TrackPhase::Update)];
    assert_eq!(play(settings, parked), expected.map(|(at, phase)| (at, 1, phase)));
    let moving = (0..=12_u8).map(|i| frame(u64::from(i) * 200, vec![object(9, f32::from(i) * 20.0)])).collect();
    let expected = [(400, TrackPhase::Start), (1400, TrackPhase::Update), (2400, TrackPhase::Update)];
    assert_eq!(play(settings, moving), expected.map(|(at, phase)| (at, 1, phase)));
}

#[test]
fn a_flicker_is_never_reported() {
    let mut frames = vec![frame(0, vec![object(1, 0.0)]), frame(200, vec![object(1, 0.0)])];
    frames.extend((2..30).map(|i| frame(i * 200, vec![])));
    assert_eq!(play(TrackSettings::default(), frames), []);
}

#[test]
fn at_one_frame_per_second_two_sights_confirm() {
    let frames = (0..2).map(|i| frame(i * 1000, vec![object(1, 0.0)])).collect();
    assert_eq!(play(TrackSettings::default(), frames), [(1000, 1, TrackPhase::Start)]);
}

#[test]
fn a_track_ends_when_it_was_not_seen_for_longer_than_the_limit_and_comes_back_as_a_new_one() {
    let mut frames: Vec<_> = (0..3).map(|i| frame(i * 200, vec![object(7, 0.0)])).collect();
    frames.push(frame(2400, vec![]));
    frames.push(frame(2401, vec![object(7, 0.0)]));
    frames.extend((0..3).map(|i| frame(2600 + i * 200, vec![object(7, 0.0)])));
    let expected = [(400, 1, TrackPhase::Start), (2401, 1, TrackPhase::End), (2800, 2, TrackPhase::Start)];
    assert_eq!(play(TrackSettings::default(), frames), expected);
}

#[test]
fn frames_that_go_back_or_stand_still_in_time_are_ignored() {
    let mut book = TrackBook::new(TrackSettings::default(), Kinds::default());
    assert!(book.on_frame(&frame(1000, vec![object(1, 0.0)])).is_some());
    assert!(book.on_frame(&frame(1000, vec![object(2, 0.0)])).is_none());
    assert!(book.on_frame(&frame(0, vec![])).is_none());
    assert_eq!(book.end_all().len(), 1);
    assert!(book.on_frame(&frame(0, vec![])).is_some(), "a new timeline may start after the end");
}

#[test]
fn numbers_do_not_depend_on_the_order_of_objects_in_a_frame() {
    let mut objects = vec![object(30, 0.0), object(10, 200.0), object(20, 400.0), object(10, 600.0)];
    objects[3].confidence = 0.1;
    let one = TrackBook::new(TrackSettings::default(), Kinds::default()).on_frame(&frame(0, objects.clone()));
    objects.reverse();
    let two = TrackBook::new(TrackSettings::default(), Kinds::default()).on_frame(&frame(0, objects));
    assert_eq!(one, two);
    let seen: Vec<_> = one.unwrap().seen.iter().map(|(number, sight)| (*number, sight.object.track)).collect();
    assert_eq!(seen, [(1, 10), (2, 20), (3, 30)]);
}

#[test]
fn one_odd_frame_does_not_rename_a_track_but_lasting_evidence_does() {
    let mut vote = ClassVote { class: 2, evidence: 0.0 };
    (0..50).for_each(|_| vote.hear(2, 0.8));
    vote.hear(7, 0.99);
    assert_eq!(vote.class, 2);
    (0..10).for_each(|_| vote.hear(7, 0.8));
    assert_eq!(vote.class, 7);
}

#[test]
fn a_person_who_stood_and_is_hidden_is_lost_like_one_who_walks_and_a_car_is_not() {
    let labels = ["person", "car"].map(String::from);
    for (class, lost) in [(0, true), (1, false)] {
        let mut book = TrackBook::new(TrackSettings::default(), Kinds::of_labels(&labels));
        let mut ended = vec![];
        for i in 0..=100 {
            let stands = Tracked { class, ..object(1, 0.0) };
            let seen = if i <= 75 { vec![stands] } else { vec![] };
            ended.extend(book.on_frame(&frame(i * 200, seen)).expect("in order").ended);
            book.reports();
        }
        assert_eq!(!ended.is_empty(), lost, "class {class}");
    }
}
