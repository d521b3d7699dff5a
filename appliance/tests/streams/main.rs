//! Every unit of every connection reaches those who take a camera's video, and so does the cause of every end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod clips;
mod consumer;
mod faults;
mod files;
mod ledger;
mod network;
#[path = "../support/probe.rs"]
mod probe;
mod recorded;
mod seam;

use std::sync::{Arc, Mutex};

use aivms_appliance::pipeline::camera::{CameraHandle, CameraSpec, spawn_camera};
use aivms_appliance::pipeline::consumer::{Consumers, StreamConsumer};
use aivms_appliance::pipeline::engine::{Engine, EngineCounters, EngineError, EngineSession, Feed};
use aivms_appliance::pipeline::snapshot::Jpeg;
use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::tracks::RestSettings;
use serde_json::Value;

use self::consumer::Counting;

/// An engine that looks at nothing, so that a test has the processor for the streams.
struct Blindfold;

/// Holds the units' way open as a real session does.
struct Idle(#[expect(dead_code, reason = "held for its end")] Feed);

impl Engine for Blindfold {
    fn labels(&self) -> &[String] {
        &[]
    }

    fn connect(self: Arc<Self>, feed: Feed) -> Result<Box<dyn EngineSession>, EngineError> {
        ANALYSED.lock().unwrap().push(feed.format.frame.map(|frame| frame.width));
        Ok(Box::new(Idle(feed)))
    }
}

impl EngineSession for Idle {
    fn counters(&self) -> EngineCounters {
        EngineCounters::default()
    }

    fn snapshot(&self, _wait: std::time::Duration) -> Result<Jpeg, EngineError> {
        unimplemented!("nobody asks a blind engine for a picture")
    }
}

/// Widths of the streams given to engines, in this test's process.
static ANALYSED: Mutex<Vec<Option<u32>>> = Mutex::new(Vec::new());

/// What [`ANALYSED`] holds.
fn analysed() -> Vec<Option<u32>> {
    ANALYSED.lock().unwrap().clone()
}

/// Starts a camera whose units go to `counting`.
fn spawn(camera: Value, counting: &Arc<Counting>) -> CameraHandle {
    spawn_feeding(camera, vec![Arc::clone(counting) as _])
}

/// Starts a camera whose units go to these.
fn spawn_feeding(camera: Value, consumers: Vec<Arc<dyn StreamConsumer>>) -> CameraHandle {
    let spec = CameraSpec {
        camera: serde_json::from_value(camera).unwrap(),
        session: "test".parse().unwrap(),
        detection_fps: 2.0,
        confidence: 0.5,
        classes: vec![],
        time_zone: SiteZone::default(),
        stationary: RestSettings::default(),
        recorder: None,
        consumers: Consumers::from(consumers),
        audio: true,
    };
    let (bodies, mut messages) = tokio::sync::mpsc::channel(1000);
    tokio::spawn(async move { while messages.recv().await.is_some() {} });
    spawn_camera(spec, Arc::new(Blindfold), bodies)
}
