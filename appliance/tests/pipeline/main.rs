//! The path from a camera to zone events, with real video, real RTSP and the real model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod decoder;
mod detect;
mod file;
mod hot_change;
mod motion;
mod reference;
mod replay;
mod rtsp;
mod rtsp_camera;
mod video;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aivms_appliance::pipeline::camera::CameraSpec;
use aivms_appliance::pipeline::consumer::Consumers;
use aivms_appliance::pipeline::infer::{Detector, DetectorSettings};
use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::tracks::RestSettings;

/// A file that `make setup` has fetched into the repository's cache.
fn cache(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(name);
    let path = std::path::absolute(path).unwrap();
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

fn detector_settings(model: &Path) -> DetectorSettings {
    let library = Some(cache("onnxruntime/libonnxruntime.so"));
    DetectorSettings { library, model: model.to_owned(), description: None, threads: 1, motion_gate: false }
}

fn detector(model: &Path) -> Arc<Detector> {
    Detector::load(&detector_settings(model)).unwrap()
}

/// A camera analysed twice a second.
fn spec(camera: serde_json::Value) -> CameraSpec {
    CameraSpec {
        camera: serde_json::from_value(camera).unwrap(),
        session: "test".parse().unwrap(),
        detection_fps: 2.0,
        confidence: 0.5,
        classes: vec![],
        time_zone: SiteZone::default(),
        stationary: RestSettings::default(),
        recorder: None,
        consumers: Consumers::default(),
        audio: false,
    }
}
