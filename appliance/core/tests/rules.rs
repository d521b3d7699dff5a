//! Promise 5 for everything that rules can ask for: lines, occupancy, overlap, filters, schedules, masks. The same way
//! through the picture gives the same events at every frame rate, and the same input the same bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this file is tests")]

use std::collections::{BTreeMap, BTreeSet};

use aivms_appliance_core::analysis::{AnalysisSettings, CameraAnalysis, Findings};
use aivms_appliance_core::detection::{FrameDetections, Tracked};
use aivms_appliance_core::rules::CameraRules;
use aivms_appliance_core::schedule::SiteZone;
use aivms_contract::desired::Camera;
use aivms_contract::detection::TrackPhase;
use aivms_contract::envelope::Body;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::{MediaClock, MediaTime};
use aivms_contract::why::{Decision, Gate};
use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};
use proptest::prelude::*;
use serde_json::json;

const SIDE: u32 = 10_000;
const FRAME: FrameSize = FrameSize { width: SIDE, height: SIDE };

/// A timeline on which it is noon after seven seconds.
fn clock() -> MediaClock {
    MediaClock { zero_at: "2026-11-22T11:59:53Z".parse().unwrap() }
}

fn rules_of(camera: &serde_json::Value) -> CameraRules {
    let mut whole = json!({"id": "gate", "url": "rtsp://h/1"});
    whole.as_object_mut().unwrap().extend(camera.as_object().unwrap().clone());
    CameraRules::of(&serde_json::from_value::<Camera>(whole).unwrap(), &SiteZone::default())
}

fn halves() -> (serde_json::Value, serde_json::Value) {
    (json!([[0, 0], [0.5, 0], [0.5, 1], [0, 1]]), json!([[0, 0], [1, 0], [1, 0.5], [0, 0.5]]))
}

fn rules() -> CameraRules {
    let (left, top) = halves();
    rules_of(&json!({
        "zones": [
            {"id": "left", "polygon": left, "dwell_ms": [1500, 4000], "occupancy": {"at_least": 1, "for_ms": 500}},
            {"id": "crowd", "polygon": top, "occupancy": {"at_least": 2, "for_ms": 0}},
            {"id": "share", "polygon": left, "anchor": "overlap", "min_overlap": 0.3},
            {"id": "sure", "polygon": left, "filters": [{"min_confidence": 0.5}]},
            {"id": "opens", "polygon": left, "schedule": [{"from": "12:00", "to": "13:00"}]},
            {"id": "closes", "polygon": top, "schedule": [{"from": "11:00", "to": "12:00"}], "dwell_ms": 2000},
        ],
        "lines": [
            {"id": "middle", "from": [0.5, 1], "to": [0.5, 0]},
            {"id": "gate", "from": [0.5, 0.7], "to": [0.5, 0.3], "direction": "left_to_right"},
            {"id": "slant", "from": [0, 0.9], "to": [0.9, 0], "schedule": [{"from": "12:00", "to": "13:00"}]},
        ],
    }))
}

fn analysis(rules: &CameraRules) -> CameraAnalysis {
    let labels = vec!["person".to_owned(), "car".to_owned()];
    let session = "k3v9".parse().unwrap();
    CameraAnalysis::new("gate".parse().unwrap(), &session, labels, rules, AnalysisSettings::default())
}

/// Places in the picture, each with the seconds it is stood at and the seconds the way to the next takes.
type Walk = Vec<((f64, f64), u64, u64)>;

fn walks() -> impl Strategy<Value = Vec<Walk>> {
    let place = (0.02..0.98f64, 0.02..0.98f64);
    proptest::collection::vec(proptest::collection::vec((place, 1..4u64, 1..4u64), 2..6), 1..4)
}

fn place(walk: &Walk, ms: u64) -> (f64, f64) {
    let mut rest = ms;
    for (leg, next) in walk.iter().zip(&walk[1..]) {
        let (from, stand, way) = *leg;
        if rest < stand * 1000 {
            return from;
        }
        rest -= stand * 1000;
        if rest < way * 1000 {
            let part = rest as f64 / (way * 1000) as f64;
            return (from.0 + (next.0.0 - from.0) * part, from.1 + (next.0.1 - from.1) * part);
        }
        rest -= way * 1000;
    }
    walk.last().unwrap().0
}

fn object(track: u64, (x, y): (f64, f64), confidence: f32) -> Tracked {
    let (x, y) = ((x * f64::from(SIDE)) as f32, (y * f64::from(SIDE)) as f32);
    Tracked { track, class: 0, confidence, bbox: PixelBox::new(x - 100.0, y - 300.0, x + 100.0, y).unwrap() }
}

/// The walks as `fps` frames per second show them; every second one is a person that the detector doubts.
fn film(walks: &[Walk], fps: u64) -> Vec<FrameDetections> {
    let lasts = |walk: &Walk| walk.iter().map(|(_, stand, way)| stand + way).sum::<u64>();
    let end = walks.iter().map(lasts).max().unwrap();
    let frame = |number: u64| {
        let ms = number * 1000 / fps;
        let confidence = |index: usize| if index.is_multiple_of(2) { 0.75 } else { 0.3 };
        let objects = walks.iter().enumerate();
        let objects = objects.map(|(index, walk)| object(index as u64, place(walk, ms), confidence(index))).collect();
        FrameDetections { pts: MediaTime::from_millis(ms), frame: FRAME, objects }
    };
    (0..=end * fps).map(frame).collect()
}

fn play(rules: &CameraRules, frames: &[FrameDetections]) -> Findings {
    let mut analysis = analysis(rules);
    let mut all = Findings::default();
    let mut keep = |findings: Findings| {
        all.bodies.extend(findings.bodies);
        all.decisions.extend(findings.decisions);
    };
    frames.iter().for_each(|frame| keep(analysis.on_frame(frame, &clock())));
    keep(analysis.on_end());
    all
}

/// The events of each rule, by time: of two tracks, or of a track and the occupancy it made, the one may be told
/// before or after the other, as the frames come.
fn stories(bodies: &[Body]) -> BTreeMap<String, Vec<ZoneEvent>> {
    let mut stories = BTreeMap::<_, Vec<_>>::new();
    for body in bodies {
        if let Body::ZoneEvents(event) = body {
            stories.entry(event.zone_id.to_string()).or_default().push(event.clone());
        }
    }
    let order = |event: &ZoneEvent| (event.timestamp, event.event_type.as_str(), event.track_id.clone());
    stories.values_mut().for_each(|story| story.sort_by_key(order));
    stories
}

fn span_ms(a: &ZoneEvent, b: &ZoneEvent) -> i64 {
    a.timestamp.as_millis().abs_diff(b.timestamp.as_millis()).cast_signed()
}

/// Whether rounding decides an order or a length. What happens at a frame of every rate is never rounded.
fn is_close_call(stories: &BTreeMap<String, Vec<ZoneEvent>>) -> bool {
    let is_exact = |event: &ZoneEvent| event.timestamp.as_millis() % 1000 == 0;
    let close = |(a, b): (&ZoneEvent, &ZoneEvent)| {
        let span = span_ms(a, b);
        let is_order = span <= 3 && a.track_id != b.track_id && !(is_exact(a) && is_exact(b));
        is_order || [400, 500].iter().any(|limit| (span - limit).abs() <= 3)
    };
    stories.values().any(|story| {
        let pairs = || story.iter().enumerate().flat_map(|(index, a)| story[index + 1..].iter().map(move |b| (a, b)));
        pairs().any(close)
    })
}

fn by_track(story: &[ZoneEvent]) -> BTreeMap<String, Vec<&ZoneEvent>> {
    let mut tracks = BTreeMap::<_, Vec<_>>::new();
    story.iter().for_each(|event| tracks.entry(event.track_id.to_string()).or_default().push(event));
    tracks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    /// Frigate counts frames, so that what it tells depends on how many it had time for (its 10 s are 51 s at one
    /// frame per second). Here all corners of the walks are frames at each rate, so that nothing may move at all; only
    /// the share of a box inside, which does not change evenly, may move by a sample.
    #[test]
    fn crossings_counts_occupancy_filters_and_schedules_are_the_same_at_25_10_5_2_and_1_frames_per_second(walks in walks()) {
        let truth = stories(&play(&rules(), &film(&walks, 25)).bodies);
        prop_assume!(!is_close_call(&truth));
        for fps in [10, 5, 2, 1] {
            let told = stories(&play(&rules(), &film(&walks, fps)).bodies);
            prop_assert_eq!(truth.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
            for (rule, events) in truth.iter().filter(|(rule, _)| *rule != "share") {
                let what = |event: &ZoneEvent| {
                    (event.event_type, event.track_id.clone(), event.direction, event.exit_reason, event.count)
                };
                let those = &told[rule];
                prop_assert_eq!(events.iter().map(what).collect::<Vec<_>>(), those.iter().map(what).collect::<Vec<_>>(), "{} at {}", rule, fps);
                let moved = events.iter().zip(those).map(|(a, b)| span_ms(a, b)).max();
                prop_assert!(moved <= Some(2), "{rule} at {fps} fps: {moved:?} ms");
            }
            let (these, those) = (&truth.get("share"), &told.get("share"));
            if let (Some(these), Some(those)) = (these, those) {
                let (these, those) = (by_track(these), by_track(those));
                prop_assert_eq!(these.keys().collect::<Vec<_>>(), those.keys().collect::<Vec<_>>());
                for (track, events) in &these {
                    let what = |event: &&ZoneEvent| (event.event_type, event.exit_reason);
                    prop_assert_eq!(events.iter().map(what).collect::<Vec<_>>(), those[track].iter().map(what).collect::<Vec<_>>());
                    let moved = events.iter().zip(&those[track]).map(|(a, b)| span_ms(a, b)).max();
                    prop_assert!(moved <= Some(1000 / fps.cast_signed() + 40), "{moved:?} ms at {fps} fps");
                }
            }
        }
    }
}

/// Any frames at all.
fn any_frames() -> impl Strategy<Value = Vec<FrameDetections>> {
    let object = (0..4u64, 0..2u16, 0.0..1.0f32, -500.0..10_500.0f32, -500.0..10_500.0f32, 0.0..3_000.0f32).prop_map(
        |(track, class, confidence, x, y, size)| {
            let bbox = PixelBox::new(x - size / 2.0, y - size, x + size / 2.0, y).unwrap();
            Tracked { track, class, confidence, bbox }
        },
    );
    let step = prop_oneof![8 => 0..400i64, 2 => 400..4_000i64, 1 => -500..0i64];
    let frame = (step, proptest::collection::vec(object, 0..6));
    proptest::collection::vec(frame, 1..120).prop_map(|frames| {
        let mut at = 1_000i64;
        let frame = |(step, objects): (i64, Vec<Tracked>)| {
            at = (at + step).max(0);
            FrameDetections { pts: MediaTime::from_millis(at.unsigned_abs()), frame: FRAME, objects }
        };
        frames.into_iter().map(frame).collect()
    })
}

/// Rules that stop and let through some of everything.
fn mixed_rules(debounce_ms: u64) -> CameraRules {
    let (left, top) = halves();
    rules_of(&json!({
        "zones": [
            {"id": "left", "polygon": left, "debounce_ms": debounce_ms, "occupancy": {"at_least": 2, "for_ms": 300}},
            {"id": "top", "polygon": top, "debounce_ms": 0, "anchor": "overlap", "classes": ["person"],
             "filters": [{"min_confidence": 0.4, "max_area": 0.05}], "occupancy": {"at_least": 1, "for_ms": 0}},
            {"id": "night", "polygon": left, "debounce_ms": debounce_ms, "schedule": [{"from": "12:00", "to": "13:00"}]},
            {"id": "day", "polygon": top, "debounce_ms": 0, "schedule": [{"from": "11:00", "to": "12:00"}]},
        ],
        "lines": [
            {"id": "middle", "from": [0.5, 1], "to": [0.5, 0], "debounce_ms": debounce_ms},
            {"id": "out", "from": [0, 0.5], "to": [1, 0.5], "direction": "right_to_left", "debounce_ms": 0,
             "filters": [{"classes": ["car"], "min_confidence": 0.6}]},
        ],
        "masks": [{"polygon": [[0.8, 0.8], [1, 0.8], [1, 1]]}],
        "filters": [{"min_aspect": 0.2, "min_confidence": 0.1}],
    }))
}

/// Follows what is told of the zones and lines of one camera.
#[derive(Default)]
struct Reader {
    inside: BTreeMap<String, u32>,
    occupied: BTreeMap<String, i64>,
    crossed: BTreeMap<(String, bool), u32>,
    stopped: BTreeSet<String>,
}

impl Reader {
    fn read(&mut self, findings: &Findings) -> Result<(), TestCaseError> {
        for body in &findings.bodies {
            if let Body::ZoneEvents(event) = body {
                self.event(event)?;
            }
        }
        findings.decisions.iter().try_for_each(|decision| self.decision(decision))
    }

    fn event(&mut self, event: &ZoneEvent) -> Result<(), TestCaseError> {
        let zone = event.zone_id.to_string();
        prop_assert!(event.why.iter().all(|check| check.passed), "{event:?}");
        match event.event_type {
            ZoneEventType::Enter | ZoneEventType::Exit => {
                let inside = self.inside.entry(zone).or_default();
                let came = event.event_type == ZoneEventType::Enter;
                prop_assert!(came || *inside > 0, "more go than came: {event:?}");
                *inside = if came { *inside + 1 } else { *inside - 1 };
                prop_assert_eq!(event.count, Some(*inside));
            }
            ZoneEventType::Occupied => {
                let before = self.occupied.insert(zone, event.timestamp.as_millis());
                prop_assert_eq!(before, None, "occupied twice");
            }
            ZoneEventType::Cleared => {
                let since = self.occupied.remove(&zone);
                prop_assert!(since.is_some_and(|since| since <= event.timestamp.as_millis()), "{since:?} {event:?}");
            }
            ZoneEventType::Cross => {
                let to_left = event.direction == Some(aivms_contract::zone_event::Direction::RightToLeft);
                prop_assert!(zone != "out" || to_left);
                let count = self.crossed.entry((zone, to_left)).or_default();
                *count += 1;
                prop_assert_eq!(event.count, Some(*count));
            }
            ZoneEventType::Dwell => {}
        }
        Ok(())
    }

    fn decision(&mut self, decision: &Decision) -> Result<(), TestCaseError> {
        let (last, before) = decision.why.split_last().expect("something stopped it");
        prop_assert!(!decision.made && !last.passed && before.iter().all(|check| check.passed), "{decision:?}");
        let key = format!("{:?} {} {:?} {:?}", decision.zone_id, decision.track_id, decision.event_type, last.gate);
        prop_assert!(self.stopped.insert(key), "told twice: {decision:?}");
        Ok(())
    }
}

proptest! {
    #[test]
    fn numbers_add_up_and_reasons_are_told_once_whatever_comes_in(
        frames in any_frames(), debounce_ms in prop_oneof![Just(0u64), Just(400)], change in any::<prop::sample::Index>(),
    ) {
        let mut analysis = analysis(&mixed_rules(debounce_ms));
        let mut reader = Reader::default();
        let change = change.index(frames.len());
        for (index, frame) in frames.iter().enumerate() {
            reader.read(&analysis.on_frame(frame, &clock()))?;
            if index == change {
                // The lines stay as they are: their counts go on. What is stopped from now on is told anew.
                let mut other = mixed_rules(debounce_ms);
                other.zones.swap(0, 2);
                other.zones[1].occupancy = other.zones[2].occupancy;
                other.zones[2].polygon = other.zones[1].polygon.clone();
                reader.read(&analysis.replace_rules(&other))?;
                reader.stopped.clear();
            }
        }
        reader.read(&analysis.on_end())?;
        prop_assert!(reader.inside.values().all(|inside| *inside == 0), "a stay is open: {:?}", reader.inside);
        prop_assert!(reader.occupied.is_empty(), "still occupied: {:?}", reader.occupied);
    }

    #[test]
    fn the_same_frames_give_the_same_bytes_with_all_kinds_of_rules(frames in any_frames()) {
        let mut turned = frames.clone();
        turned.iter_mut().for_each(|frame| frame.objects.reverse());
        let bytes = |frames: &[FrameDetections]| {
            let Findings { bodies, decisions, .. } = play(&mixed_rules(400), frames);
            serde_json::to_vec(&(bodies, decisions)).unwrap()
        };
        prop_assert_eq!(bytes(&frames), bytes(&frames));
        // Two boxes of one number that are equally sure have no order of their own.
        let is_plain = |frame: &FrameDetections| {
            frame.objects.iter().map(|object| object.track).collect::<BTreeSet<_>>().len() == frame.objects.len()
        };
        if frames.iter().all(is_plain) {
            prop_assert_eq!(bytes(&frames), bytes(&turned));
        }
    }
}

#[test]
fn the_examples_of_the_reference_are_read() {
    let text = include_str!("../../../docs/ref/rules.md");
    let examples: Vec<_> = text.split("```json").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 8);
    for example in examples {
        let rules = rules_of(&serde_json::from_str(example).unwrap());
        assert_ne!(rules, CameraRules::default(), "{example}");
    }
}

/// One person on a straight way from left to right through the middle of the picture, for ten seconds.
fn passer_by(confidence: f32) -> Vec<FrameDetections> {
    let frame = |i: u64| FrameDetections {
        pts: MediaTime::from_millis(i * 200),
        frame: FRAME,
        objects: vec![object(9, (i as f64 / 50.0, 0.5), confidence)],
    };
    (0..=50).map(frame).collect()
}

fn reports(findings: &Findings) -> Vec<(TrackPhase, String, i64)> {
    let report = |body: &Body| match body {
        Body::Detections(report) => {
            let at = report.timestamp.as_millis() - clock().zero_at.as_millis();
            Some((report.phase, report.track_id.to_string(), at))
        }
        _ => None,
    };
    findings.bodies.iter().filter_map(report).collect()
}

#[test]
fn what_a_mask_hides_is_not_reported_and_comes_out_of_it_as_the_same_track() {
    let mask =
        |from: f64, to: f64| rules_of(&json!({"masks": [{"polygon": [[from, 0], [to, 0], [to, 1], [from, 1]]}]}));
    // In the mask from 4 s to 5.4 s: shorter than the time after which a track is lost.
    let findings = play(&mask(0.39, 0.55), &passer_by(0.75));
    let told = reports(&findings);
    assert!(told.iter().all(|(_, track, at)| track == "gate-k3v9-1" && !(3_900..=5_500).contains(at)), "{told:?}");
    // In it for 4 s: it is lost at its last sight before the mask, and comes out as another one.
    let findings = play(&mask(0.39, 0.81), &passer_by(0.75));
    let told = reports(&findings);
    assert!(told.contains(&(TrackPhase::End, "gate-k3v9-1".to_owned(), 3_800)), "{told:?}");
    assert!(told.iter().any(|(phase, track, _)| *phase == TrackPhase::Start && track != "gate-k3v9-1"), "{told:?}");
    let causes: Vec<_> = findings.decisions.iter().map(|decision| decision.why.last().unwrap().gate).collect();
    assert!(!causes.is_empty() && causes.iter().all(|gate| *gate == Gate::Mask), "{causes:?}");
}

#[test]
fn what_is_always_in_a_mask_is_never_reported_and_its_reason_names_a_track() {
    let findings =
        play(&rules_of(&json!({"masks": [{"polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}]})), &passer_by(0.75));
    assert_eq!(findings.bodies, []);
    let [decision] = &findings.decisions[..] else { panic!("{:?}", findings.decisions) };
    assert_eq!((decision.zone_id.as_ref(), decision.track_id.as_str()), (None, "gate-k3v9-1"));
}

#[test]
fn a_camera_wide_filter_keeps_what_it_stops_out_of_all_reports_and_says_why() {
    let rules = rules_of(&json!({"filters": [{"classes": ["person"], "min_confidence": 0.6}]}));
    let findings = play(&rules, &passer_by(0.5));
    assert_eq!(findings.bodies, []);
    let why = &findings.decisions[0].why;
    assert_eq!((why.len(), why[0].gate, why[0].value, why[0].limit), (1, Gate::Confidence, Some(0.5), Some(0.6)));
    assert!(!play(&rules, &passer_by(0.7)).bodies.is_empty());
}
