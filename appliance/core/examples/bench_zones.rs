//! Times the zone engine: nanoseconds per object update with four zones.
//!
//! Run with `cargo run --release -p aivms-appliance-core --example bench_zones`; prints one JSON line per figure. The promise is at most 1 µs; a Frigate
//! 0.18 `TrackedObject` takes 28 µs with one zone.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench prints and reads the clock")]

use std::f64::consts::TAU;
use std::hint::black_box;
use std::time::Instant;

use aivms_appliance_core::detection::Tracked;
use aivms_appliance_core::tracks::Sight;
use aivms_appliance_core::zone::{ZoneEngine, ZoneSettings};
use aivms_contract::desired::{DwellMs, Zone};
use aivms_contract::geometry::{FrameSize, PixelBox, Point, Polygon};
use aivms_contract::time::MediaTime;

const FRAME: FrameSize = FrameSize { width: 1920, height: 1080 };
const FRAMES: u32 = 2_000;
const ROUNDS: usize = 9;

fn main() {
    for (corners, objects) in [(4, 10), (4, 50), (4, 500), (12, 50), (64, 50)] {
        let median_ns = time(corners, objects);
        let name = format!("zone.update.{corners}-corners.{objects}-objects");
        println!("{}", serde_json::json!({ "bench": name, "value": median_ns, "unit": "ns" }));
    }
}

/// Median over rounds of the time of one object update.
fn time(corners: u32, objects: u32) -> f64 {
    let zones: Vec<_> = [[0.3, 0.3], [0.7, 0.3], [0.3, 0.7], [0.65, 0.65]]
        .iter()
        .enumerate()
        .map(|(index, &middle)| zone(index, middle.into(), corners))
        .collect();
    let frames: Vec<Vec<Sight>> = (0..FRAMES).map(|frame| (0..objects).map(|o| sight(frame, o)).collect()).collect();
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let mut engine = ZoneEngine::new(&zones, &["person".to_owned()], ZoneSettings::default());
            let mut out = Vec::new();
            let started = Instant::now();
            for sights in &frames {
                for sight in sights {
                    engine.observe(sight.object.track, black_box(sight), &mut out);
                }
                black_box(&mut out).clear();
            }
            started.elapsed().as_secs_f64() * 1e9 / f64::from(FRAMES) / f64::from(objects)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
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
