//! Promise 5: time is media time. Dropping frames moves a zone event by at most one sample interval, and the same
//! input gives the same bytes.
//!
//! Other systems count frames: in Frigate 0.18 a dwell of 10 s becomes 17 s at three frames per second and 51 s at
//! one, because its code turns seconds into frames at the configured rate.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_appliance_core::analysis::{AnalysisSettings, CameraAnalysis};
use aivms_appliance_core::detection::{FrameDetections, Tracked};
use aivms_appliance_core::rules::CameraRules;
use aivms_contract::desired::{DebounceMs, DwellMs, Zone};
use aivms_contract::envelope::Body;
use aivms_contract::geometry::{FrameSize, PixelBox, Point, Polygon};
use aivms_contract::time::{MediaClock, MediaTime};
use aivms_contract::zone_event::{ExitReason, ZoneEvent, ZoneEventType};
use proptest::prelude::*;

const DEBOUNCE_MS: u64 = 400;
const DWELL_MS: u64 = 3_000;
/// Longest time between two samples of the uneven rate.
const MOST_UNEVEN_MS: u64 = 400;
/// Between samples of the run that stands for the truth.
const FINE_MS: u64 = 10;

fn clock() -> MediaClock {
    MediaClock { zero_at: "2026-11-22T12:00:00Z".parse().unwrap() }
}

fn zone(id: &str, corners: &[[f64; 2]]) -> Zone {
    let polygon = Polygon::new(corners.iter().map(|&corner| corner.into()).collect()).unwrap();
    Zone {
        dwell_ms: DwellMs::try_from(DWELL_MS).unwrap().into(),
        debounce_ms: DebounceMs::try_from(DEBOUNCE_MS).unwrap(),
        ..Zone::new(id.parse().unwrap(), polygon)
    }
}

/// A hexagon in the middle and three halves of the frame. A straight path between a point inside the hexagon and one
/// outside crosses each of them at most once.
fn zones() -> Vec<Zone> {
    vec![
        zone("hexagon", &[[0.4, 0.3], [0.6, 0.3], [0.75, 0.5], [0.6, 0.7], [0.4, 0.7], [0.25, 0.5]]),
        zone("left", &[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]),
        zone("top", &[[0.0, 0.0], [1.0, 0.0], [1.0, 0.45], [0.0, 0.45]]),
        zone("corner", &[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    ]
}

fn analysis(zones: &[Zone]) -> CameraAnalysis {
    let labels = vec!["person".to_owned(), "car".to_owned()];
    let settings = AnalysisSettings::default();
    CameraAnalysis::new(
        "entrance".parse().unwrap(),
        &"k3v9".parse().unwrap(),
        labels,
        &CameraRules::of_zones(zones),
        settings,
    )
}

/// An object that stands at points, and walks straight and evenly between them.
#[derive(Debug, Clone)]
struct Walk(Vec<Leg>);

#[derive(Debug, Clone)]
struct Leg {
    stand_at: Point,
    stand_ms: u64,
    walk_ms: u64,
}

impl Walk {
    fn lasts_ms(&self) -> u64 {
        self.0.iter().map(|leg| leg.stand_ms + leg.walk_ms).sum()
    }

    fn at(&self, ms: u64) -> Point {
        let mut rest = ms;
        for (leg, next) in self.0.iter().zip(self.0.iter().skip(1)) {
            if rest < leg.stand_ms {
                return leg.stand_at;
            }
            rest -= leg.stand_ms;
            if rest < leg.walk_ms {
                let part = rest as f64 / leg.walk_ms as f64;
                let between = |a: f64, b: f64| a + (b - a) * part;
                let (from, to) = (leg.stand_at, next.stand_at);
                return Point { x: between(from.x, to.x), y: between(from.y, to.y) };
            }
            rest -= leg.walk_ms;
        }
        self.0.last().expect("a walk has legs").stand_at
    }
}

/// Points by turns outside and inside the hexagon. The stands are long enough that each crossing outlasts the debounce
/// time at every rate.
fn walks() -> impl Strategy<Value = Walk> {
    let point = || (0.02..0.98f64, 0.02..0.98f64).prop_map(|(x, y)| Point { x, y });
    let stands = prop_oneof![1_500..2_000u64, 4_000..6_000u64];
    let legs = proptest::collection::vec((point(), point(), stands, 300..2_000u64), 2..8);
    (any::<bool>(), legs).prop_map(|(start_inside, legs)| {
        let hexagon = &zones()[0].polygon;
        let leg = |(index, (point, other, stand_ms, walk_ms)): (usize, (Point, Point, u64, u64))| {
            let inside = start_inside == (index % 2 == 0);
            // Drawn towards the middle or to the left side until it lies where it should.
            let toward = |goal: Point, part: f64| Point {
                x: point.x + (goal.x - point.x) * part,
                y: point.y + (goal.y - point.y) * part,
            };
            let goal = if inside { Point { x: 0.5, y: 0.5 } } else { Point { x: 0.02, y: other.y } };
            let stand_at = (0..=10)
                .map(|step| toward(goal, f64::from(step) / 10.0))
                .find(|&candidate| hexagon.contains(candidate) == inside)
                .expect("the goal itself lies there");
            Leg { stand_at, stand_ms, walk_ms }
        };
        Walk(legs.into_iter().enumerate().map(leg).collect())
    })
}

fn sample(walks: &[Walk], times_ms: impl IntoIterator<Item = u64>) -> Vec<FrameDetections> {
    let object = |(index, walk): (usize, &Walk), ms: u64| {
        let at = walk.at(ms);
        let (x, y) = ((at.x * 10_000.0) as f32, (at.y * 10_000.0) as f32);
        let bbox = PixelBox::new(x - 100.0, y - 300.0, x + 100.0, y).unwrap();
        (ms <= walk.lasts_ms()).then_some(Tracked { track: index as u64, class: 0, confidence: 0.75, bbox })
    };
    let frame = |ms| FrameDetections {
        pts: MediaTime::from_millis(ms),
        frame: FrameSize { width: 10_000, height: 10_000 },
        objects: walks.iter().enumerate().filter_map(|walk| object(walk, ms)).collect(),
    };
    times_ms.into_iter().map(frame).collect()
}

fn bodies(frames: &[FrameDetections]) -> Vec<Body> {
    let mut analysis = analysis(&zones());
    let mut bodies: Vec<_> = frames.iter().flat_map(|frame| analysis.on_frame(frame, &clock()).bodies).collect();
    bodies.extend(analysis.on_end().bodies);
    bodies
}

/// The zone events of each track and zone, in the order they were given.
fn stories(bodies: &[Body]) -> BTreeMap<(String, String), Vec<ZoneEvent>> {
    let mut stories = BTreeMap::<_, Vec<_>>::new();
    for body in bodies {
        if let Body::ZoneEvents(event) = body {
            let key = (event.track_id.to_string(), event.zone_id.to_string());
            stories.entry(key).or_default().push(event.clone());
        }
    }
    stories
}

/// Checks that two runs tell the same stories, no event moved by more than `most_ms`.
fn assert_same_stories(truth: &[Body], told: &[Body], most_ms: u64) -> Result<(), TestCaseError> {
    let (truth, told) = (stories(truth), stories(told));
    prop_assert_eq!(truth.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    for (key, events) in &truth {
        let what = |event: &ZoneEvent| (event.event_type, event.exit_reason);
        let (these, those) = (events, &told[key]);
        prop_assert_eq!(these.iter().map(what).collect::<Vec<_>>(), those.iter().map(what).collect::<Vec<_>>());
        for (this, that) in these.iter().zip(those) {
            let moved = this.timestamp.as_millis().abs_diff(that.timestamp.as_millis());
            prop_assert!(moved <= most_ms, "{key:?}: {this:?} moved by {moved} ms, at most {most_ms}");
        }
    }
    Ok(())
}

/// Whether a stay is so close to the dwell time that one sample decides.
fn is_close_call(bodies: &[Body]) -> bool {
    let stay = |body: &Body| match body {
        Body::ZoneEvents(event) if event.event_type == ZoneEventType::Exit => event.dwell_ms,
        _ => None,
    };
    bodies.iter().filter_map(stay).any(|stay| stay.abs_diff(DWELL_MS) <= 2 * MOST_UNEVEN_MS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn zone_events_at_30_10_5_and_uneven_rates_match_one_to_one_within_a_sample_interval(
        walks in proptest::collection::vec(walks(), 1..3),
        steps_ms in proptest::collection::vec(10..=MOST_UNEVEN_MS, 400),
    ) {
        let end = walks.iter().map(Walk::lasts_ms).max().expect("walks");
        let truth = bodies(&sample(&walks, (0..=end).step_by(FINE_MS as usize)));
        prop_assume!(!is_close_call(&truth));
        prop_assert!(truth.iter().any(|body| matches!(body, Body::ZoneEvents(_))));
        for fps in [30, 10, 5] {
            let times = (0..).map(|frame| frame * 1000 / fps).take_while(|at| *at <= end);
            assert_same_stories(&truth, &bodies(&sample(&walks, times)), 1000 / fps + 1 + FINE_MS)?;
        }
        let uneven = steps_ms.iter().scan(0, |at, step| { let now = *at; *at += step; Some(now) });
        let uneven = uneven.take_while(|at| *at <= end);
        assert_same_stories(&truth, &bodies(&sample(&walks, uneven)), MOST_UNEVEN_MS + FINE_MS)?;
    }

    #[test]
    fn the_same_frames_give_the_same_bytes_whatever_the_order_of_objects(walks in proptest::collection::vec(walks(), 1..4)) {
        let end = walks.iter().map(Walk::lasts_ms).max().expect("walks");
        let frames = sample(&walks, (0..=end).step_by(200));
        let mut turned = frames.clone();
        turned.iter_mut().for_each(|frame| frame.objects.reverse());
        let bytes = |frames| serde_json::to_vec(&bodies(frames)).expect("bodies serialise");
        prop_assert_eq!(bytes(&frames), bytes(&frames));
        prop_assert_eq!(bytes(&frames), bytes(&turned));
    }
}

/// Any frames at all: times that jump both ways, objects that leap, flicker, share numbers and change class.
fn any_frames() -> impl Strategy<Value = Vec<FrameDetections>> {
    let object = (0..4u64, 0..2u16, 0.0..1.0f32, -50.0..1100.0f32, -50.0..1100.0f32).prop_map(
        |(track, class, confidence, x, y)| Tracked {
            track,
            class,
            confidence,
            bbox: PixelBox::new(x - 20.0, y - 60.0, x + 20.0, y).unwrap(),
        },
    );
    let step = prop_oneof![8 => 0..400i64, 1 => 400..4_000i64, 1 => -500..0i64];
    let frame = (step, proptest::collection::vec(object, 0..5));
    proptest::collection::vec(frame, 1..120).prop_map(|frames| {
        let mut at = 1_000i64;
        let frame = |(step, objects): (i64, Vec<Tracked>)| {
            at = (at + step).max(0);
            FrameDetections {
                pts: MediaTime::from_millis(at.unsigned_abs()),
                frame: FrameSize { width: 1000, height: 1000 },
                objects,
            }
        };
        frames.into_iter().map(frame).collect()
    })
}

/// The rules that every story of a track and a zone keeps, whatever came in.
fn assert_well_told(story: &[ZoneEvent]) -> Result<(), TestCaseError> {
    let (mut entered, mut dwelt, mut left) = (None, false, None);
    for event in story {
        match (event.event_type, entered) {
            (ZoneEventType::Enter, None) => {
                prop_assert!(left.is_none_or(|left| event.timestamp >= left), "enters before it left: {story:?}");
                (entered, dwelt) = (Some(event.timestamp), false);
            }
            (ZoneEventType::Dwell, Some(since)) => {
                prop_assert!(!dwelt, "dwells twice in one stay: {story:?}");
                prop_assert_eq!(event.timestamp, since + Duration::from_millis(DWELL_MS));
                dwelt = true;
            }
            (ZoneEventType::Exit, Some(since)) => {
                prop_assert!(event.timestamp >= since, "leaves before it entered: {story:?}");
                let stay = event.dwell_ms.expect("an exit tells the stay");
                prop_assert!(event.timestamp.since(since).as_millis().abs_diff(u128::from(stay)) <= 1);
                prop_assert_eq!(dwelt, stay >= DWELL_MS, "{:?}", story);
                (entered, left) = (None, Some(event.timestamp));
            }
            _ => prop_assert!(false, "enter and exit do not alternate: {story:?}"),
        }
    }
    prop_assert!(entered.is_none(), "a stay is still open after the end: {story:?}");
    Ok(())
}

proptest! {
    #[test]
    fn enter_and_exit_alternate_and_dwell_is_exact_whatever_comes_in(frames in any_frames(), changes in any::<[prop::sample::Index; 2]>()) {
        // Without debounce, so that tracks seen once already have zone events.
        let eager = || zones().into_iter().map(|zone| Zone { debounce_ms: DebounceMs::try_from(0).unwrap(), ..zone });
        let mut zones = zones();
        zones.splice(..2, eager().take(2));
        let mut analysis = analysis(&zones);
        let mut bodies = vec![];
        let changes = changes.map(|change| change.index(frames.len()));
        for (index, frame) in frames.iter().enumerate() {
            bodies.extend(analysis.on_frame(frame, &clock()).bodies);
            if index == changes[0] {
                bodies.extend(analysis.replace_rules(&CameraRules::of_zones(&zones[1..3])).bodies);
            }
            if index == changes[1] {
                let mut zones = zones.clone();
                zones.reverse();
                zones[1].polygon = zones[0].polygon.clone();
                bodies.extend(analysis.replace_rules(&CameraRules::of_zones(&zones)).bodies);
            }
        }
        bodies.extend(analysis.on_end().bodies);
        for story in stories(&bodies).values() {
            assert_well_told(story)?;
        }
        assert_tracks_frame_their_events(&bodies)?;
    }
}

/// Each track's first message is its start, its last its end.
fn assert_tracks_frame_their_events(bodies: &[Body]) -> Result<(), TestCaseError> {
    let mut told = BTreeMap::<_, Vec<String>>::new();
    for body in bodies {
        let (track, what) = match body {
            Body::Detections(detection) => (&detection.track_id, format!("{:?}", detection.phase)),
            Body::ZoneEvents(event) => (&event.track_id, "event".to_owned()),
            other => panic!("an analysis does not say {other:?}"),
        };
        told.entry(track.clone()).or_default().push(what);
    }
    for what in told.values() {
        prop_assert!(what.first().is_some_and(|what| what == "Start"), "{what:?}");
        prop_assert!(what.last().is_some_and(|what| what == "End"), "{what:?}");
        prop_assert_eq!(what.iter().filter(|what| *what == "Start" || *what == "End").count(), 2);
    }
    Ok(())
}

#[test]
fn a_stream_that_ends_closes_its_stays_at_the_last_sight() {
    let stand = Walk(vec![Leg { stand_at: Point { x: 0.45, y: 0.4 }, stand_ms: 5_000, walk_ms: 0 }]);
    let events: Vec<_> =
        stories(&bodies(&sample(&[stand], (0..=5_000).step_by(200)))).into_values().flatten().collect();
    let lost: Vec<_> = events.iter().filter(|event| event.exit_reason == Some(ExitReason::TrackLost)).collect();
    assert_eq!(lost.len(), 4);
    assert!(lost.iter().all(|event| event.timestamp.to_string() == "2026-11-22T12:00:05.000Z"));
    assert!(lost.iter().all(|event| event.dwell_ms == Some(5_000)));
}
