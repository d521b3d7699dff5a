//! Both engines, one after the other, on the same pictures of the demo video.

use std::collections::BTreeSet;
use std::sync::Arc;

use aivms_appliance::pipeline::access_unit::AccessUnit;
use aivms_appliance::pipeline::engine::Engine;
use aivms_appliance::pipeline::{Detector, DetectorSettings};
use aivms_appliance_core::analysis::{AnalysisSettings, CameraAnalysis};
use aivms_appliance_core::detection::FrameDetections;
use aivms_appliance_core::rules::CameraRules;
use aivms_contract::desired::Zone;
use aivms_contract::envelope::Body;
use aivms_contract::time::{MediaClock, UtcMillis};
use aivms_contract::zone_event::ZoneEvent;

use crate::site::{Camera, Site, cache};
use crate::video::demo;

const FPS: f64 = 5.0;
/// Time between two of them.
const SAMPLE_MS: u64 = 200;
/// Pictures of the video, ten a second.
const PICTURES: usize = 300;

/// What an engine says of the video's first pictures, each waited for, so that a slow machine sees the same.
fn watch(engine: &Arc<dyn Engine>, units: &[AccessUnit]) -> Vec<FrameDetections> {
    let mut camera = Camera::connect(engine, "junction", &units[0], FPS);
    units.iter().filter_map(|unit| camera.show(unit)).collect()
}

fn zones() -> Vec<Zone> {
    let zones = serde_json::json!([
        { "id": "everywhere", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]], "dwell_ms": 2000 },
        { "id": "left", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]] },
        { "id": "lawn", "polygon": [[0.3, 0.35], [0.9, 0.35], [0.9, 0.8], [0.3, 0.8]] },
    ]);
    serde_json::from_value(zones).unwrap()
}

fn events(frames: &[FrameDetections], labels: &[String]) -> Vec<ZoneEvent> {
    let rules = CameraRules::of_zones(&zones());
    let camera = "junction".parse().unwrap();
    let mut analysis =
        CameraAnalysis::new(camera, &"test".parse().unwrap(), labels, &rules, AnalysisSettings::for_rate(FPS));
    let clock = MediaClock { zero_at: UtcMillis::from_millis(0) };
    let mut bodies = vec![];
    for frame in frames {
        bodies.extend(analysis.on_frame(frame, &clock).bodies);
    }
    bodies.extend(analysis.on_end().bodies);
    let event = |body| if let Body::ZoneEvents(event) = body { Some(event) } else { None };
    bodies.into_iter().filter_map(event).collect()
}

/// What was told of whom, in an order that does not depend on times, with the times in milliseconds.
fn told(events: &[ZoneEvent]) -> Vec<(String, u64)> {
    let one = |event: &ZoneEvent| {
        let what = format!("{} {:?} {}", event.track_id, event.event_type, event.zone_id);
        (what, u64::try_from(event.timestamp.as_millis()).unwrap())
    };
    let mut told: Vec<_> = events.iter().map(one).collect();
    told.sort();
    told
}

/// Tracks that were anywhere.
fn persons(events: &[ZoneEvent]) -> usize {
    events
        .iter()
        .filter(|event| event.zone_id.as_str() == "everywhere")
        .map(|e| &e.track_id)
        .collect::<BTreeSet<_>>()
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_count_the_same_people_and_tell_the_same_zone_events() {
    let site = Site::new(&cache("models/nanodet-g-416.onnx"));
    let library = Some(cache("onnxruntime/libonnxruntime.so"));
    let model = cache("models/nanodet-g-416.onnx");
    let deepstream = site.engine();
    let settings = DetectorSettings { library, model, description: None, threads: 1, motion_gate: false };
    let cpu: Arc<dyn Engine> = Detector::load(&settings).unwrap();
    let done = tokio::task::spawn_blocking(move || {
        let units = demo(&cache("video/vtest.avi"), PICTURES);
        let labels = cpu.labels().to_vec();
        assert_eq!(labels, deepstream.labels());
        let [a, b] = [&cpu, &deepstream].map(|engine| watch(engine, &units));
        let [a, b] = [a, b].map(|frames| events(&frames, &labels));
        assert_eq!(persons(&a), persons(&b), "people");
        assert!(
            persons(&a) >= 10 && a.len() >= 50,
            "{} people and {} events are too few to agree on",
            persons(&a),
            a.len()
        );
        let [a, b] = [told(&a), told(&b)];
        assert_eq!(a.len(), b.len(), "events of the CPU:\n{a:#?}\nof DeepStream:\n{b:#?}");
        for ((what, at), (same, then)) in a.iter().zip(&b) {
            assert_eq!(what, same);
            assert!(at.abs_diff(*then) <= SAMPLE_MS, "{what} at {at} ms and {then} ms");
        }
    });
    done.await.unwrap();
}
