//! The real model on real video: people are found, keep their track, and enter zones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::pipeline::decode::Decoder;
use aivms_appliance::pipeline::{CameraSpec, Detector, DetectorSettings, spawn_camera};
use aivms_appliance_core::analysis::{AnalysisSettings, CameraAnalysis};
use aivms_appliance_core::detection::FrameDetections;
use aivms_appliance_core::rules::CameraRules;
use aivms_appliance_core::tracker::{Tracker, TrackerSettings};
use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::Body;
use aivms_contract::time::{MediaClock, UtcMillis};
use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::video::{decode, first_units};
use crate::{cache, detector, detector_settings, spec};

fn junction() -> CameraSpec {
    let mut spec = spec(serde_json::json!({
        "id": "junction",
        "url": format!("file://{}", cache("video/vtest.avi").display()),
        "classes": ["person"],
        "zones": [{ "id": "everywhere", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]], "dwell_ms": 2000, "debounce_ms": 0 }],
    }));
    spec.detection_fps = 5.0;
    spec
}

/// What the parts of the path say of the demo video's first pictures, each waited for, so that a slow machine sees
/// the same as a fast one.
fn watch_each_picture(detector: &Arc<Detector>, pictures: usize) -> Vec<Body> {
    let CameraSpec { camera, session, detection_fps, confidence, time_zone, .. } = junction();
    let units = first_units(cache("video/vtest.avi"), pictures);
    let decoder = Decoder::start(&units[0].format, &detector.model().input, detection_fps).unwrap();
    let person = detector.model().class("person").unwrap();
    let mut tracker = Tracker::new(TrackerSettings::for_confidence(confidence as f32));
    let settings = AnalysisSettings::for_rate(detection_fps);
    let rules = CameraRules::of(&camera, &time_zone);
    let mut analysis = CameraAnalysis::new(camera.id, &session, detector.labels(), &rules, settings);
    let clock = MediaClock { zero_at: UtcMillis::from_millis(0) };
    let (mut eye, mut bodies) = (detector.eye(), vec![]);
    for frame in units.iter().filter_map(|unit| decode(&decoder, unit)) {
        let (mut objects, _) = eye.look(&frame, tracker.settings().low_confidence).unwrap();
        objects.retain(|object| object.class == person);
        let (pts, frame) = (frame.at, frame.letterbox.frame());
        let objects = tracker.update(pts, frame, &objects);
        bodies.extend(analysis.on_frame(&FrameDetections { pts, frame, objects }, &clock).bodies);
    }
    bodies.extend(analysis.on_end().bodies);
    bodies
}

fn detections(bodies: &[Body]) -> Vec<&Detection> {
    bodies
        .iter()
        .filter_map(|body| if let Body::Detections(detection) = body { Some(detection) } else { None })
        .collect()
}

fn zone_events(bodies: &[Body]) -> Vec<&ZoneEvent> {
    bodies.iter().filter_map(|body| if let Body::ZoneEvents(event) = body { Some(event) } else { None }).collect()
}

/// Four people stand or walk in the middle of the picture for the whole of the first seconds.
fn finds_people(detector: &Arc<Detector>) {
    let bodies = watch_each_picture(detector, 60);
    let mut longest: BTreeMap<_, u64> = BTreeMap::new();
    for detection in detections(&bodies) {
        assert_eq!(detection.object_class, "person");
        let [x1, y1, x2, y2] = detection.bbox.corners();
        assert!(x1 >= 0.0 && y1 >= 0.0 && x2 <= 768.0 && y2 <= 576.0, "{detection:?}");
        assert!(detection.bbox.height() > detection.bbox.width(), "people stand upright: {detection:?}");
        let age = longest.entry(&detection.track_id).or_default();
        *age = detection.age_ms.max(*age);
    }
    let steady = longest.values().filter(|age| **age >= 3000).count();
    assert!((2..=8).contains(&steady), "{steady} tracks of 3 s and more: {longest:?}");
    assert!(longest.len() <= 16, "{} tracks for a handful of people", longest.len());
    let events = zone_events(&bodies);
    let of = |wanted| events.iter().filter(|event| event.event_type == wanted).map(|event| &event.track_id).collect();
    let (enter, dwell): (BTreeSet<_>, BTreeSet<_>) = (of(ZoneEventType::Enter), of(ZoneEventType::Dwell));
    assert!(dwell.len() >= 2 && dwell.is_subset(&enter), "{enter:?} {dwell:?}");
}

#[test]
fn nanodet_finds_the_people_of_the_demo_video_and_keeps_their_tracks() {
    finds_people(&detector(&cache("models/nanodet-g-416.onnx")));
}

#[test]
fn yolox_finds_the_people_of_the_demo_video_and_keeps_their_tracks() {
    // Set-up does not fetch this model: it is checked where somebody has put it.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../.cache/models", "../../shared/models", "../../../shared/models"];
    let found = places.iter().map(|place| root.join(place).join("yolox_nano.onnx")).find(|model| model.exists());
    let Some(model) = found else { return eprintln!("yolox_nano.onnx is not here: nothing checked") };
    let description = Some(root.join("models/yolox-nano-416.toml"));
    finds_people(&Detector::load(&DetectorSettings { description, ..detector_settings(&model) }).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_camera_ends_its_tracks_and_stays_before_it_says_so() {
    let (sender, mut messages) = mpsc::channel(10_000);
    let camera = spawn_camera(junction(), detector(&cache("models/nanodet-g-416.onnx")), sender);
    let (until, mut bodies) = (Instant::now() + Duration::from_secs(50), vec![]);
    while zone_events(&bodies).is_empty() || detections(&bodies).len() < 3 {
        bodies.push(timeout_at(until, messages.recv()).await.expect("people are seen").unwrap());
    }
    camera.stop().await;
    while let Some(body) = messages.recv().await {
        bodies.push(body);
    }
    let phase = |wanted: TrackPhase| -> BTreeSet<_> {
        detections(&bodies).into_iter().filter(|d| d.phase == wanted).map(|d| d.track_id.clone()).collect()
    };
    assert_eq!(phase(TrackPhase::Start), phase(TrackPhase::End));
    let mut inside = BTreeSet::new();
    for event in zone_events(&bodies) {
        match event.event_type {
            ZoneEventType::Enter => assert!(inside.insert(&event.track_id)),
            ZoneEventType::Exit => assert!(inside.remove(&event.track_id)),
            _ => {}
        }
    }
    assert!(inside.is_empty(), "{inside:?}");
}

#[test]
fn what_is_wrong_with_a_detector_is_said_with_the_file_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let good = detector_settings(&cache("models/nanodet-g-416.onnx"));
    let in_folder = |name: &str, from: Option<&PathBuf>| {
        let path = folder.path().join(name);
        match from {
            Some(from) => drop(std::fs::copy(from, &path).unwrap()),
            None => std::fs::write(&path, "").unwrap(),
        }
        path
    };
    let refuses = |settings: DetectorSettings, says: &[&str]| {
        let text = Detector::load(&settings).map(drop).unwrap_err().to_string();
        assert!(says.iter().all(|part| text.contains(part)), "{text} lacks one of {says:?}");
    };
    let no_library = Some(folder.path().join("libnone.so"));
    refuses(DetectorSettings { library: no_library, ..good.clone() }, &["libnone.so", "make setup"]);
    let model = folder.path().join("nanodet-g-416.onnx");
    refuses(DetectorSettings { model, ..good.clone() }, &["nanodet-g-416.onnx", "make setup"]);
    let model = in_folder("yolo11n.pt", None);
    let description = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/nanodet-g-416.toml"));
    refuses(DetectorSettings { model, description, ..good.clone() }, &["yolo11n.pt", "yolo export model="]);
    let model = folder.path().join("yolo11n-640.onnx");
    refuses(DetectorSettings { model, ..good.clone() }, &["No such file", "`yolo export model=yolo11n.pt format=onnx"]);
    let model = folder.path().join("yard.engine");
    refuses(DetectorSettings { model, ..good.clone() }, &["yard.engine", "TensorRT"]);
    let model = in_folder("mine.onnx", Some(&good.model));
    refuses(DetectorSettings { model: model.clone(), ..good.clone() }, &["mine.onnx", "no description", "mine.toml"]);
    std::fs::write(folder.path().join("mine.toml"), "family = \"nanodet\"\ncolor = 3").unwrap();
    refuses(DetectorSettings { model: model.clone(), ..good.clone() }, &["mine.toml", "color"]);
    let description = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/yolox-nano-416.toml"));
    refuses(DetectorSettings { model, description, ..good.clone() }, &["mine.onnx", "no output of shape"]);
    let model = in_folder("yolox-nano-416.onnx", None);
    refuses(DetectorSettings { model, ..good.clone() }, &["yolox-nano-416.onnx", "can't load it"]);
    assert!(Detector::load(&good).is_ok());
}
