//! Times the zone engine: nanoseconds per object update with four zones, microseconds per frame of 100 tracks against
//! ten zones with filters, and the same with everything that rules can ask for.
//!
//! Run with `cargo run --release -p aivms-appliance-core --example bench_zones`; prints one JSON line per figure. The
//! promises are at most 1 µs per update and 100 µs per frame; a Frigate 0.18 `TrackedObject` takes 28 µs with one zone.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench prints and reads the clock")]

use std::f64::consts::TAU;
use std::hint::black_box;
use std::time::Instant;

use aivms_appliance_core::detection::Tracked;
use aivms_appliance_core::rules::CameraRules;
use aivms_appliance_core::tracks::Sight;
use aivms_appliance_core::zone::{ZoneEngine, ZoneSettings};
use aivms_contract::desired::{Anchor, Aspect, Confidence, DwellMs, Fraction, Line, ObjectFilter, Zone};
use aivms_contract::geometry::{FrameSize, PixelBox, Point, Polygon};
use aivms_contract::time::{MediaClock, MediaTime, UtcMillis};

const FRAME: FrameSize = FrameSize { width: 1920, height: 1080 };
const FRAMES: u32 = 2_000;
const ROUNDS: usize = 9;

fn main() {
    for (corners, objects) in [(4, 10), (4, 50), (4, 500), (12, 50), (64, 50)] {
        let median_ns = time(corners, objects);
        let name = format!("zone.update.{corners}-corners.{objects}-objects");
        println!("{}", serde_json::json!({ "bench": name, "value": median_ns, "unit": "ns" }));
    }
    let ten = CameraRules::of_zones(&filtered_zones());
    for (name, rules) in [("10-zones", ten), ("10-zones-5-lines-everything", everything())] {
        let us = frame_ns(&rules, 100) / 1000.0;
        let name = format!("zone.frame.100-tracks.{name}");
        println!("{}", serde_json::json!({ "bench": name, "value": us, "unit": "us" }));
    }
}

/// Median over rounds of the time of one object update with four zones.
fn time(corners: u32, objects: u32) -> f64 {
    let middles = [[0.3, 0.3], [0.7, 0.3], [0.3, 0.7], [0.65, 0.65]];
    let zones: Vec<_> =
        middles.iter().enumerate().map(|(index, &middle)| zone(index, middle.into(), corners)).collect();
    frame_ns(&CameraRules::of_zones(&zones), objects) / f64::from(objects)
}

/// Median over rounds of the time of one frame.
fn frame_ns(rules: &CameraRules, objects: u32) -> f64 {
    let frame = |frame: u32| (0..objects).map(|object| (object.into(), sight(frame, object))).collect();
    let frames: Vec<Vec<(u64, Sight)>> = (0..FRAMES).map(frame).collect();
    let clock = MediaClock { zero_at: UtcMillis::from_millis(1_795_352_700_000) };
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let mut engine = ZoneEngine::new(rules, &["person".to_owned()], ZoneSettings::default());
            let started = Instant::now();
            for (frame, seen) in (0u64..).zip(&frames) {
                let now = MediaTime::from_millis(frame * 200);
                black_box(engine.on_frame((now, clock), [], black_box(seen)));
            }
            started.elapsed().as_secs_f64() * 1e9 / f64::from(FRAMES)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Ten zones of twelve corners spread over the frame, each with filters.
fn filtered_zones() -> Vec<Zone> {
    let filter = ObjectFilter {
        min_confidence: Some(Confidence::try_from(0.5).expect("in range")),
        min_area: Some(Fraction::try_from(0.0005).expect("in range")),
        max_aspect: Some(Aspect::try_from(2.0).expect("in range")),
        ..ObjectFilter::default()
    };
    let middle = |index: usize| Point { x: [0.26, 0.38, 0.5, 0.62, 0.74][index % 5], y: [0.35, 0.65][index / 5] };
    (0..10).map(|index| Zone { filters: vec![filter.clone()], ..zone(index, middle(index), 12) }).collect()
}

/// The same with occupancy, schedules, overlap on every second zone, lines, and a filter that nobody passes.
fn everything() -> CameraRules {
    let mut zones = filtered_zones();
    let spans = serde_json::json!([{ "from": "00:00", "to": "24:00" }]);
    let never = ObjectFilter { min_confidence: Some(Confidence::default()), ..ObjectFilter::default() };
    for (index, zone) in zones.iter_mut().enumerate() {
        zone.schedule = serde_json::from_value(spans.clone()).expect("a schedule");
        zone.occupancy = serde_json::from_value(serde_json::json!({ "at_least": 3 })).expect("an occupancy");
        zone.anchor = if index % 2 == 0 { Anchor::Overlap } else { Anchor::BottomCenter };
    }
    let sure = Some(Confidence::try_from(0.95).expect("in range"));
    zones[9].filters.push(ObjectFilter { min_confidence: sure, ..never });
    let line = |index: u32| {
        let x = 0.2 + f64::from(index) * 0.15;
        Line::new(format!("line-{index}").parse().expect("a slug"), [x, 0.9].into(), [x, 0.1].into())
    };
    CameraRules { lines: (0..5).map(line).collect(), ..CameraRules::of_zones(&zones) }
}

/// A regular polygon around `middle`, so that the four zones cover most of the frame's middle.
fn zone(index: usize, middle: Point, corners: u32) -> Zone {
    let corner = |place: u32| {
        let turn = TAU * f64::from(place) / f64::from(corners);
        Point { x: middle.x + 0.25 * turn.cos(), y: middle.y + 0.25 * turn.sin() }
    };
    let polygon = Polygon::new((0..corners).map(corner).collect()).expect("a regular polygon");
    Zone {
        classes: vec!["person".to_owned()],
        dwell_ms: DwellMs::try_from(10_000).expect("in range").into(),
        ..Zone::new(format!("zone-{index}").parse().expect("a slug"), polygon)
    }
}

/// Objects on loops of their own through the frame, at five frames per second.
fn sight(frame: u32, object: u32) -> Sight {
    let phase = f64::from(frame) * 0.01 + f64::from(object) * 0.7;
    let (x, y) = (960.0 + 800.0 * phase.cos(), 600.0 + 400.0 * (phase * 1.3).sin());
    #[allow(clippy::cast_possible_truncation, reason = "pixels")]
    let (x, y) = (x as f32, y as f32);
    let bbox = PixelBox::new(x - 30.0, y - 120.0, x + 30.0, y).expect("ordered corners");
    let object = Tracked { track: u64::from(object), class: 0, confidence: 0.8, bbox };
    Sight { at: MediaTime::from_millis(u64::from(frame) * 200), frame: FRAME, object }
}
