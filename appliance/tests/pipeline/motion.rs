//! The motion gate on the real model and real pictures.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::pipeline::Detector;
use aivms_appliance::pipeline::access_unit::{AccessUnit, fan_out};
use aivms_appliance::pipeline::engine::{Engine, EngineCounters, EngineOutput, EngineResults, Feed, Watch};
use aivms_appliance_core::detection::FrameDetections;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::video::first_units;
use crate::{cache, detector_settings};

/// Time between two pictures in media time.
const INTERVAL_MS: u64 = 200;

/// An engine that is fed unit by unit, each answered before the next, so that a slow machine sees what a fast one does.
struct Fed {
    units: broadcast::Sender<AccessUnit>,
    results: EngineResults,
    session: Box<dyn aivms_appliance::pipeline::engine::EngineSession>,
}

impl Fed {
    fn new(detector: Arc<Detector>, first: &AccessUnit) -> Self {
        let (units, received) = fan_out();
        let (output, results) = EngineOutput::new();
        let person = detector.model().class("person").unwrap();
        let watch = Watch { fps: 5.0, confidence: 0.5, classes: vec![person] };
        let (camera, format) = ("yard".parse().unwrap(), Arc::clone(&first.format));
        let session = detector.connect(Feed { camera, format, units: received, watch, output }).unwrap();
        Self { units, results, session }
    }

    /// Shows a unit as the picture number `n`.
    async fn show(&mut self, unit: &AccessUnit, n: u64) -> FrameDetections {
        let at = MediaTime::from_millis(n * INTERVAL_MS);
        let mut unit = AccessUnit { at, ..unit.clone() };
        let buffer = unit.buffer.make_mut();
        buffer.set_pts(gst::ClockTime::from_nseconds(at.as_nanos()));
        buffer.set_dts(gst::ClockTime::NONE);
        self.units.send(unit).unwrap();
        let frame = timeout(Duration::from_secs(60), self.results.frames.recv()).await;
        frame.expect("a picture is answered").expect("the engine runs")
    }

    fn counters(&self) -> EngineCounters {
        self.session.counters()
    }
}

async fn demo_units(wanted: usize) -> Vec<AccessUnit> {
    tokio::task::spawn_blocking(move || first_units(cache("video/vtest.avi"), wanted)).await.unwrap()
}

fn gated() -> Arc<Detector> {
    let mut settings = detector_settings(&cache("models/nanodet-g-416.onnx"));
    settings.motion_gate = true;
    Detector::load(&settings).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_static_scene_the_model_hardly_runs_and_who_stands_there_keeps_the_track() {
    let first = demo_units(1).await.remove(0);
    let mut fed = Fed::new(gated(), &first);
    let mut seen = vec![];
    for n in 0..150 {
        seen.push(fed.show(&first, n).await);
    }
    let tracks = |frame: &FrameDetections| {
        let mut tracks: Vec<_> = frame.objects.iter().map(|object| object.track).collect();
        tracks.sort_unstable();
        tracks
    };
    let standing = tracks(&seen[20]);
    assert!(standing.len() >= 3, "people are in the picture: {standing:?}");
    for frame in &seen[20..] {
        assert_eq!(tracks(frame), standing, "at {:?}", frame.pts);
    }
    // Ten looks at the beginning and one each ten seconds, the first of those sooner.
    let looks = 150 - fed.counters().still;
    assert!((12..=13).contains(&looks), "{looks} looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_people_walk_every_picture_is_looked_at() {
    let units = demo_units(40).await;
    let mut fed = Fed::new(gated(), &units[0]);
    for (n, unit) in units.iter().enumerate() {
        fed.show(unit, n as u64).await;
    }
    assert_eq!(fed.counters().still, 0);
}
