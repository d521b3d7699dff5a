use aivms_contract::geometry::PixelBox;
use proptest::prelude::*;

use super::*;

const FRAME: FrameSize = FrameSize { width: 1920, height: 1080 };
const PERSON: u16 = 0;
const CAR: u16 = 2;
const TRUCK: u16 = 7;

fn seen(class: u16, confidence: f32, [x, y, width, height]: [f32; 4]) -> Detected {
    Detected { class, confidence, bbox: PixelBox::new(x, y, x + width, y + height).unwrap() }
}

fn person(x: f32, y: f32) -> Detected {
    seen(PERSON, 0.8, [x, y, 60.0, 160.0])
}

fn ms(millis: u64) -> MediaTime {
    MediaTime::from_millis(millis)
}

/// Feeds frames at the given times and returns the reports of each.
fn follow(times: impl IntoIterator<Item = u64>, scene: impl Fn(f32) -> Vec<Detected>) -> Vec<Vec<Tracked>> {
    let mut tracker = Tracker::new(TrackerSettings::default());
    times.into_iter().map(|at| tracker.update(ms(at), FRAME, &scene(at as f32 / 1000.0))).collect()
}

fn numbers(reports: &[Vec<Tracked>]) -> Vec<u64> {
    let mut all: Vec<u64> = reports.iter().flatten().map(|tracked| tracked.track).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn an_object_counts_from_its_second_box_and_keeps_its_number_at_any_rate() {
    for interval in [33, 66, 100, 200, 400] {
        // A brisk walk past a camera that sees a person 160 pixels high.
        let reports = follow((0..6000).step_by(interval), |t| vec![person(150.0 * t, 400.0)]);
        assert!(reports[0].is_empty());
        assert!(reports[1..].iter().all(|frame| frame.len() == 1), "every {interval} ms");
        assert_eq!(numbers(&reports), [1], "every {interval} ms");
    }
}

#[test]
fn a_runner_is_followed_although_the_first_boxes_do_not_overlap() {
    let reports = follow((0..3000).step_by(200), |t| vec![person(450.0 * t, 400.0)]);
    assert_eq!((numbers(&reports), reports[1].len()), (vec![1], 1));
}

#[test]
fn objects_of_different_classes_that_cross_keep_their_numbers() {
    let reports = follow((0..8000).step_by(200), |t| {
        vec![person(100.0 + 150.0 * t, 400.0), seen(CAR, 0.9, [1300.0 - 150.0 * t, 420.0, 60.0, 150.0])]
    });
    assert_eq!(numbers(&reports), [1, 2]);
    for tracked in reports.iter().flatten() {
        assert_eq!(
            tracked.class,
            if tracked.track == reports[1][0].track { reports[1][0].class } else { reports[1][1].class }
        );
    }
}

#[test]
fn people_who_hide_each_other_while_crossing_keep_their_numbers() {
    let reports = follow((0..8000).step_by(200), |t| {
        let (left, right) = (100.0 + 150.0 * t, 1300.0 - 150.0 * t);
        let both = vec![person(left, 400.0), person(right, 410.0)];
        if (left - right).abs() < 50.0 { both[..1].to_vec() } else { both }
    });
    assert_eq!(numbers(&reports), [1, 2]);
    let start = reports[1].iter().find(|tracked| tracked.bbox.corners()[0] < 600.0).unwrap().track;
    let end = reports[39].iter().find(|tracked| tracked.bbox.corners()[0] > 1000.0).unwrap().track;
    assert_eq!(start, end, "who came from the left leaves to the right");
}

#[test]
fn a_weak_box_continues_a_track_but_starts_none() {
    let weak = |x: f32, y: f32| seen(PERSON, 0.35, [x, y, 60.0, 160.0]);
    let reports = follow((0..4000).step_by(200), |t| {
        let walker = if (1.0..2.0).contains(&t) { weak(150.0 * t, 400.0) } else { person(150.0 * t, 400.0) };
        vec![walker, weak(1200.0, 400.0)]
    });
    assert!(reports[1..].iter().all(|frame| frame.len() == 1 && frame[0].track == 1));
    let too_weak = follow((0..2000).step_by(200), |_| vec![seen(PERSON, 0.45, [10.0, 10.0, 60.0, 160.0])]);
    assert!(numbers(&too_weak).is_empty());
}

#[test]
fn who_is_back_in_time_keeps_the_number_and_who_is_late_gets_a_new_one() {
    let hidden_for = |gap: f32| {
        move |t: f32| if (2.0..2.0 + gap).contains(&t) { vec![] } else { vec![person(300.0 + 40.0 * t, 400.0)] }
    };
    assert_eq!(numbers(&follow((0..8000).step_by(200), hidden_for(1.6))), [1]);
    assert_eq!(numbers(&follow((0..8000).step_by(200), hidden_for(2.4))), [1, 2]);
    let far_apart = follow([0, 200, 400, 60_000, 60_200], |_| vec![person(300.0, 400.0)]);
    assert_eq!(numbers(&far_apart), [1, 2], "frames that stop coming end a track too");
}

#[test]
fn one_vehicle_under_two_names_is_one_track() {
    let place = |t: f32| [200.0 + 100.0 * t, 400.0, 300.0, 200.0];
    let both = follow((0..4000).step_by(200), |t| vec![seen(CAR, 0.8, place(t)), seen(TRUCK, 0.6, place(t))]);
    assert_eq!(numbers(&both), [1]);
    let wavering = follow((0..4000).step_by(200), |t| {
        let class = if (t * 5.0).round() as u32 % 3 == 2 { TRUCK } else { CAR };
        vec![seen(class, 0.8, place(t))]
    });
    assert_eq!(numbers(&wavering), [1]);
    assert!(wavering[3..].iter().flatten().all(|tracked| tracked.class == CAR), "the class does not waver");
}

#[test]
fn a_number_is_not_used_again_on_a_new_timeline() {
    let mut tracker = Tracker::new(TrackerSettings::default());
    let mut first = |at| tracker.update(ms(at), FRAME, &[person(300.0, 400.0)]).first().map(|tracked| tracked.track);
    assert_eq!([first(5000), first(5200), first(0), first(200)], [None, Some(1), None, Some(2)]);
}

#[test]
fn the_box_of_a_car_that_drives_at_the_camera_keeps_up_with_its_size() {
    // 50 km/h from 60 m to 8 m: the box grows sevenfold, fastest at the end.
    let place = |t: f32| {
        let width = 4200.0 / (60.0 - 13.9 * t);
        [900.0 - width / 2.0, 500.0 - width * 0.3, width, width * 0.8]
    };
    let times = (0..3700).step_by(200);
    let reports = follow(times.clone(), |t| vec![seen(CAR, 0.8, place(t))]);
    assert_eq!(numbers(&reports), [1]);
    for (at, frame) in times.zip(&reports).skip(1) {
        let truth = seen(CAR, 0.8, place(at as f32 / 1000.0)).bbox;
        assert!(frame[0].bbox.iou(truth) > 0.75, "at {at} ms: {:?} is not {truth:?}", frame[0].bbox);
    }
}

#[test]
fn a_change_of_resolution_changes_no_number() {
    let mut tracker = Tracker::new(TrackerSettings::default());
    let small = FrameSize { width: 640, height: 360 };
    for step in 0u8..10 {
        let x = 300.0 + 30.0 * f32::from(step);
        let (frame, scale) = if step < 5 { (FRAME, 1.0) } else { (small, 1.0 / 3.0) };
        let [x, y, width, height] = [x, 400.0, 60.0, 160.0].map(|pixels| pixels * scale);
        let reports = tracker.update(ms(u64::from(step) * 200), frame, &[seen(PERSON, 0.8, [x, y, width, height])]);
        assert!(step == 0 || reports[0].track == 1);
    }
}

#[test]
fn a_detector_gone_mad_is_followed_only_so_far() {
    let mut tracker = Tracker::new(TrackerSettings::default());
    for step in 0..4u16 {
        let boxes: Vec<_> = (0..1000u16)
            .map(|i| seen(i, 0.9, [f32::from(i % 40) * 48.0, f32::from(i / 40) * 40.0, 30.0, 30.0]))
            .collect();
        let reports = tracker.update(ms(u64::from(step) * 200), FRAME, &boxes);
        assert!(reports.len() <= MAX_TRACKS);
    }
    assert_eq!(tracker.next_number, MAX_TRACKS as u64 + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_boxes_give_the_same_tracks_and_no_number_twice(frames in frames()) {
        let (mut tracker, mut again) = (Tracker::new(TrackerSettings::default()), Tracker::new(TrackerSettings::default()));
        let mut at = MediaTime::ZERO;
        for (gap, boxes) in frames {
            at = at + Duration::from_millis(gap);
            let reports = tracker.update(at, FRAME, &boxes);
            prop_assert!(reports.is_sorted_by(|a, b| a.track < b.track), "each number once, in order");
            for tracked in &reports {
                let [x1, y1, x2, y2] = tracked.bbox.corners();
                prop_assert!(x1 >= 0.0 && y1 >= 0.0 && x2 <= 1920.0 && y2 <= 1080.0);
            }
            prop_assert_eq!(&reports, &again.update(at, FRAME, &boxes));
        }
    }

    #[test]
    fn a_smooth_path_keeps_its_number_over_any_dropped_frames(
        kept in prop::collection::vec(1u64..7, 5..60),
        angle in 0.0f32..std::f32::consts::TAU,
        speed in 0.0f32..150.0,
        jitter in prop::collection::vec(-3.0f32..3.0, 8),
    ) {
        let mut tracker = Tracker::new(TrackerSettings::default());
        let mut frame = 0;
        for (index, gap) in kept.into_iter().enumerate() {
            frame += gap;
            let t = frame as f32 / 30.0;
            let noise = jitter[index % jitter.len()];
            // Turns slowly, so that a constant velocity is not the whole truth.
            let heading = angle + 0.3 * t;
            let (x, y) = (900.0 + speed / 0.3 * (heading.sin() - angle.sin()), 450.0 - speed / 0.3 * (heading.cos() - angle.cos()));
            prop_assume!(x > 0.0 && y > 0.0 && x < 1800.0 && y < 900.0);
            let reports = tracker.update(ms(frame * 1000 / 30), FRAME, &[person(x + noise, y - noise)]);
            prop_assert!(reports.len() == usize::from(index > 0) && reports.iter().all(|tracked| tracked.track == 1));
        }
    }

    #[test]
    fn no_boxes_make_the_tracker_panic(corners in prop::collection::vec(any::<[f32; 4]>(), 1..20), gaps in prop::collection::vec(any::<u64>(), 1..8)) {
        let boxes: Vec<_> = corners.into_iter().filter_map(|corners| PixelBox::try_from(corners).ok()).collect();
        let mut tracker = Tracker::new(TrackerSettings::default());
        for gap in gaps {
            let detections: Vec<_> = boxes.iter().map(|&bbox| Detected { class: PERSON, confidence: 0.9, bbox }).collect();
            tracker.update(MediaTime::from_nanos(gap), FRAME, &detections);
        }
    }
}

fn frames() -> impl Strategy<Value = Vec<(u64, Vec<Detected>)>> {
    let place = [0.0f32..1800.0, 0.0..1000.0, 1.0..300.0, 1.0..300.0];
    let one = (0u16..3, 0.1f32..1.0, place).prop_map(|(class, confidence, [x, y, width, height])| {
        let bbox = PixelBox::new(x, y, (x + width).min(1920.0), (y + height).min(1080.0)).unwrap();
        Detected { class, confidence, bbox }
    });
    prop::collection::vec((0u64..500, prop::collection::vec(one, 0..15)), 1..40)
}

#[test]
fn what_stands_still_is_followed_at_every_rate_that_can_be_set() {
    for fps in [0.1, 0.4, 0.5, 1.0, 5.0, 60.0] {
        let mut tracker = Tracker::new(TrackerSettings::for_confidence(0.5).at_rate(fps));
        let seen = [Detected { class: 0, confidence: 0.9, bbox: [100.0, 100.0, 150.0, 200.0].try_into().unwrap() }];
        let frame = FrameSize { width: 1280, height: 720 };
        let tracks: Vec<_> = (0..6u32)
            .map(|number| {
                let at = MediaTime::ZERO + Duration::from_secs_f64(f64::from(number) * 1.01 / fps);
                tracker.update(at, frame, &seen).iter().map(|object| object.track).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(tracks[1..], vec![vec![1]; 5], "at {fps} frames per second");
    }
}
