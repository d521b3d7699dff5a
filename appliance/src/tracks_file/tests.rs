//! Recordings on disk: their parts, their bound, and what they replay to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aivms_appliance_core::analysis::{AnalysisSettings, CameraAnalysis};
use aivms_appliance_core::detection::{FrameDetections, Tracked};
use aivms_appliance_core::rules::CameraRules;
use aivms_appliance_core::tracks::RestSettings;
use aivms_contract::desired::Camera;
use aivms_contract::envelope::Body;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::{MediaClock, MediaTime, UtcMillis};

use super::files::Files;
use super::write::{Note, What};
use super::*;

const HOUR_MS: u64 = 3_600_000;

fn camera(zone: &str) -> Camera {
    serde_json::from_value(serde_json::json!({
        "id": "gate",
        "url": "rtsp://admin:hunter2@10.0.0.7/main",
        "username": "admin",
        "password": "hunter2",
        "zones": [{ "id": zone, "polygon": [[0.3, 0], [1, 0], [1, 1], [0.3, 1]], "dwell_ms": 60_000 }],
    }))
    .unwrap()
}

fn info() -> RunInfo {
    RunInfo {
        camera: camera("drive"),
        time_zone: None,
        session: "s1".parse().unwrap(),
        fps: 0.2,
        stationary: RestSettings::default(),
        labels: vec!["person".to_owned()],
    }
}

/// Someone who walks to and fro, each way in two minutes.
fn frame(at_ms: u64) -> FrameDetections {
    let way = (at_ms / 5_000 % 48) as f32;
    let x = if way < 24.0 { way } else { 48.0 - way } * 35.0;
    let bbox = PixelBox::new(x, 100.0, x + 60.0, 260.0).unwrap();
    FrameDetections {
        pts: MediaTime::from_millis(at_ms),
        frame: FrameSize { width: 1000, height: 500 },
        objects: vec![Tracked { track: 1, class: 0, confidence: 0.75, bbox }],
    }
}

fn clock() -> MediaClock {
    MediaClock { zero_at: "2026-11-22T13:50:00Z".parse().unwrap() }
}

/// Records `hours` of the walk with a change of rules in the middle; gives what was said meanwhile.
fn record(dir: &Path, hours: u64, max_bytes: u64) -> String {
    let mut files = Files::open(RecorderSettings { dir: dir.to_owned(), max_bytes });
    let (recorder, mut notes) = TracksRecorder::new();
    let mut tap = recorder.tap(info());
    let rules = CameraRules::of_zones(camera("drive").zones.as_slice());
    let (gate, session) = ("gate".parse().unwrap(), "s1".parse().unwrap());
    let mut analysis = CameraAnalysis::new(gate, &session, info().labels, &rules, AnalysisSettings::for_rate(0.2));
    let mut said: Vec<Body> = vec![];
    let mut write = || files.write(std::iter::from_fn(|| notes.try_recv().ok()).collect());
    for at in (0..hours * HOUR_MS).step_by(5_000) {
        if at == hours * HOUR_MS / 2 {
            let rules = CameraRules::of_zones(camera("lawn").zones.as_slice());
            tap.rules(&rules);
            said.extend(analysis.replace_rules(&rules).bodies);
        }
        tap.frame(&frame(at), clock());
        said.extend(analysis.on_frame(&frame(at), &clock()).bodies);
        if at % 250_000 == 0 {
            write();
        }
    }
    tap.end();
    said.extend(analysis.on_end().bodies);
    write();
    lines(&said)
}

fn lines(bodies: &[Body]) -> String {
    bodies.iter().map(|body| serde_json::to_string(body).unwrap() + "\n").collect()
}

fn recordings(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir.join("gate")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn replayed(files: &[PathBuf]) -> (Result<(), ReadError>, String, Vec<String>) {
    let (mut out, mut warnings) = (vec![], vec![]);
    let result = replay(files, &Rules::default(), false, &mut out, |text| warnings.push(text.to_owned()));
    (result, String::from_utf8(out).unwrap(), warnings)
}

#[test]
fn a_file_per_hour_and_all_of_them_together_replay_to_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let said = record(dir.path(), 3, 1 << 30);
    let files = recordings(dir.path());
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    let expected = ["135000Z-s1-000", "140000Z-s1-001", "150000Z-s1-002", "160000Z-s1-003"];
    assert_eq!(names, expected.map(|name| format!("20261122T{name}.jsonl")));
    let (result, out, warnings) = replayed(&files);
    result.unwrap();
    assert!(out == said && warnings.is_empty(), "{} and {} bytes, {warnings:?}", out.len(), said.len());
    assert!(said.contains("\"drive\"") && said.contains("\"lawn\"") && said.contains("zone_changed"));

    let (result, out, warnings) = replayed(&files[3..]);
    result.unwrap();
    assert!(out.contains("\"lawn\"") && warnings[0].contains("part 3"), "{warnings:?}");
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("admin"), "{text:.300}");
    }
}

#[test]
fn the_oldest_files_make_room_for_new_ones_within_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let most = 200_000;
    record(dir.path(), 6, most);
    let files = recordings(dir.path());
    let total: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(total <= most && total > most / 2, "{total} bytes in {} files", files.len());
    let newest = files.last().unwrap().file_name().unwrap().to_str().unwrap();
    assert!(newest.starts_with("20261122T19"), "{newest}");
    assert!(!files[0].to_str().unwrap().ends_with("-000.jsonl"));
    let (result, _, warnings) = replayed(&files);
    result.unwrap();
    assert_eq!(warnings.len(), 1, "only that the first parts are gone: {warnings:?}");
}

#[test]
fn frames_that_were_left_out_are_counted_in_the_recording_and_told_by_the_replay() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::open(RecorderSettings { dir: dir.path().to_owned(), max_bytes: 1 << 30 });
    let note = |at, lost| Note { info: Arc::new(info()), lost, what: What::Frame(frame(at), clock()) };
    files.write(vec![note(0, 0), note(5_000, 0), note(50_000, 8)]);
    let (result, _, warnings) = replayed(&recordings(dir.path()));
    result.unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("line 4: 8 frames were not recorded"), "{warnings:?}");
}

#[test]
fn a_disk_that_refuses_costs_the_recording_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gate"), "in the way").unwrap();
    let mut files = Files::open(RecorderSettings { dir: dir.path().to_owned(), max_bytes: 1 << 30 });
    let note = |at| Note { info: Arc::new(info()), lost: 0, what: What::Frame(frame(at), clock()) };
    files.write((0..100).map(|i| note(i * 5_000)).collect());
    assert_eq!(std::fs::read_to_string(dir.path().join("gate")).unwrap(), "in the way");
}

#[test]
fn another_clock_is_recorded_and_a_line_cut_off_at_the_end_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::open(RecorderSettings { dir: dir.path().to_owned(), max_bytes: 1 << 30 });
    let later = MediaClock { zero_at: clock().zero_at + std::time::Duration::from_secs(60) };
    let note = |at, clock| Note { info: Arc::new(info()), lost: 0, what: What::Frame(frame(at), clock) };
    files.write((0..20).map(|i| note(300_000 + i * 5_000, if i < 10 { clock() } else { later })).collect());
    let file = recordings(dir.path()).remove(0);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("{\"clock_zero\":").count(), 1);
    let (_, whole, _) = replayed(std::slice::from_ref(&file));
    std::fs::write(&file, &text[..text.len() - 30]).unwrap();
    let (result, cut, warnings) = replayed(std::slice::from_ref(&file));
    result.unwrap();
    assert!(warnings[0].contains("line 22: is cut off"), "{warnings:?}");
    let before_the_end =
        |text: &str| text.lines().filter(|line| !line.contains("\"end\"") && !line.contains("\"exit\"")).count();
    assert!(before_the_end(&cut) <= before_the_end(&whole) && before_the_end(&cut) > 2);
    let last: UtcMillis = "2026-11-22T13:57:30Z".parse().unwrap();
    assert!(whole.contains(&last.to_string()[..16]), "events lie on the later clock: {whole}");
    std::fs::write(&file, "{\"pts\":1,\"frame\":{\"width\":1,\"height\":1},\"objects\":[]}\n").unwrap();
    let (result, ..) = replayed(std::slice::from_ref(&file));
    assert!(result.unwrap_err().to_string().ends_with("line 1: tracks: a header must come first"));
}
