//! What a real run recorded, judged again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aivms_appliance::pipeline::spawn_camera;
use aivms_appliance::tracks_file::{RecorderSettings, TracksRecorder, write_tracks};
use aivms_appliance_core::rules::CameraRules;
use aivms_contract::desired::Zone;
use aivms_contract::envelope::Body;
use aivms_contract::geometry::Polygon;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::{cache, detector, spec};

fn replay(arguments: &[&Path]) -> Output {
    let program = env!("CARGO_BIN_EXE_aivms-appliance");
    Command::new(program).arg("replay").args(arguments).output().unwrap()
}

fn half(id: &str, right: f64) -> Zone {
    let corners = [[0.0, 0.0], [right, 0.0], [right, 1.0], [0.0, 1.0]].map(Into::into).to_vec();
    Zone::new(id.parse().unwrap(), Polygon::new(corners).unwrap())
}

/// Watches the demo video, changes the rules and the connection on the way, and gives what was said.
async fn run_and_record(dir: &Path) -> Vec<Body> {
    let (recorder, notes) = TracksRecorder::new();
    let settings = RecorderSettings { dir: dir.to_owned(), max_bytes: 64 << 20 };
    let writer = tokio::spawn(write_tracks(notes, settings));
    let mut spec = spec(serde_json::json!({
        "id": "junction",
        "url": format!("file://{}", cache("video/vtest.avi").display()),
        "classes": ["person"],
        "zones": [{ "id": "everywhere", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]], "dwell_ms": 1000 }],
    }));
    (spec.detection_fps, spec.recorder) = (5.0, Some(recorder));
    let rules = CameraRules::of_zones(&[half("left", 0.5)]);
    let (sender, mut messages) = mpsc::channel(100_000);
    let camera = spawn_camera(spec, detector(&cache("models/nanodet-g-416.onnx")), sender);
    let (until, mut bodies) = (Instant::now() + Duration::from_secs(100), vec![]);
    let events = |bodies: &[Body], zone: &str| {
        bodies.iter().filter(|body| matches!(body, Body::ZoneEvents(event) if event.zone_id.as_str() == zone)).count()
    };
    for (zone, wanted) in [("everywhere", 5), ("left", 2), ("left", 6)] {
        while events(&bodies, zone) < wanted {
            bodies.push(timeout_at(until, messages.recv()).await.expect("people are seen").unwrap());
        }
        if zone == "everywhere" { camera.replace_rules(rules.clone()) } else { camera.restart() }
    }
    camera.stop().await;
    while let Some(body) = messages.recv().await {
        bodies.push(body);
    }
    writer.await.unwrap();
    bodies
}

fn recordings(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("junction")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_real_run_recorded_replays_to_exactly_what_it_said_and_twice_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = run_and_record(dir.path()).await;
    let said: String = bodies.iter().map(|body| serde_json::to_string(body).unwrap() + "\n").collect();
    let files = recordings(dir.path());
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let first = replay(&files);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout.len(), said.len());
    assert!(first.stdout == said.as_bytes() && first.stdout == replay(&files).stdout);
    assert!(!std::fs::read_to_string(files[0]).unwrap().contains("password"));

    // Other rules on the same people: the events of yesterday with a zone drawn today.
    let other = dir.path().join("cameras.json");
    let camera = serde_json::json!({ "id": "try", "url": "file:///none.mp4", "zones": [half("right-part", 0.99)] });
    std::fs::write(&other, serde_json::json!({ "cameras": [camera] }).to_string()).unwrap();
    let arguments =
        [files.as_slice(), &["--cameras".as_ref(), other.as_path(), "--camera".as_ref(), "try".as_ref()]].concat();
    let judged = replay(&arguments);
    let text = String::from_utf8_lossy(&judged.stdout).into_owned();
    assert!(text.contains("right-part") && !text.contains("everywhere"), "{text}");
    assert_eq!(text.matches("\"start\"").count(), said.matches("\"start\"").count(), "the same people");

    // A damaged line ends the replay with its number; what comes before is judged.
    let whole = std::fs::read_to_string(files[0]).unwrap();
    let damaged = dir.path().join("damaged.jsonl");
    let mut lines: Vec<_> = whole.lines().map(str::to_owned).collect();
    let place = lines.iter().rposition(|line| line.contains("\"pts\"")).unwrap();
    lines[place] = lines[place].replace("\"frame\":{\"width\":", "\"frame\":{\"width\":-");
    std::fs::write(&damaged, lines.join("\n") + "\n").unwrap();
    let refused = replay(&[&damaged]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("damaged.jsonl: line {}: frame.width: invalid value", place + 1)), "{text}");
}
