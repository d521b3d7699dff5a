//! The program as people and service managers call it: exit codes and messages.
#![expect(clippy::unwrap_used, reason = "a test that can't set itself up has failed")]

use std::path::Path;
use std::process::{Command, Output};

fn appliance(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aivms-appliance"));
    for name in ["CLOUD_URL", "EDGE_ID", "EDGE_SECRET", "DETECTION_MODEL", "DETECTION_CONFIDENCE", "DETECTION_FPS"] {
        command.env_remove(name);
    }
    command.current_dir(dir).args(arguments).envs(variables.iter().copied()).output().unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, message: &str) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(message), "{message:?} is not in {text}");
}

fn folder(settings: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("appliance.toml"), settings).unwrap();
    dir
}

#[test]
fn wrong_settings_end_every_command_with_the_code_of_wrong_settings() {
    let dir = folder("data_dir = 'data'\n[detection]\nfsp = 5\n");
    for command in ["run", "enroll", "status", "why"] {
        check(&appliance(dir.path(), &[command, "--config", "appliance.toml"], &[]), 78, "detection.fsp");
    }
    check(&appliance(dir.path(), &["doctor", "--config", "appliance.toml"], &[]), 1, "detection.fsp");
    check(&appliance(dir.path(), &["run", "--config", "missing.toml"], &[]), 78, "missing.toml");
    check(&appliance(dir.path(), &["fly"], &[]), 2, "fly");
}

#[test]
fn a_missing_model_or_edge_id_ends_the_start_with_one_message_that_names_it() {
    let dir = folder("data_dir = 'data'\n[detection]\nmodel = 'no-such.onnx'\n");
    let run = ["run", "--config", "appliance.toml"];
    check(&appliance(dir.path(), &run, &[]), 78, "EDGE_ID");
    let output = appliance(dir.path(), &run, &[("EDGE_ID", "edge_1")]);
    check(&output, 78, "no-such.onnx");
    let errors = String::from_utf8_lossy(&output.stderr).matches("error: ").count();
    assert_eq!(errors, 1);
    check(&appliance(dir.path(), &run, &[("EDGE_ID", "edge_1"), ("DETECTION_MODEL", "yolov8n.pt")]), 78, "yolo export");
}

#[test]
fn enrolment_names_what_is_missing_and_never_prints_the_secret() {
    let dir = folder("data_dir = 'data'\n");
    let enroll = ["enroll", "--config", "appliance.toml"];
    check(&appliance(dir.path(), &enroll, &[]), 1, "CLOUD_URL");
    let url = ("CLOUD_URL", "http://127.0.0.1:9");
    check(&appliance(dir.path(), &enroll, &[url]), 1, "EDGE_ID");
    check(&appliance(dir.path(), &enroll, &[url, ("EDGE_ID", "edge_1")]), 1, "EDGE_SECRET");
    let output = appliance(dir.path(), &enroll, &[url, ("EDGE_ID", "edge_1"), ("EDGE_SECRET", "hunter2")]);
    check(&output, 1, "can't be reached");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
}

#[test]
fn models_are_not_built_without_deepstream_and_the_message_says_what_is_missing() {
    // Whether the elements or the library is named depends on the machine.
    let dir = folder("data_dir = 'data'\n[detection]\nengine = 'deepstream'\ndeepstream_dir = 'nowhere'\n");
    let model = |command| appliance(dir.path(), &["model", command, "--config", "appliance.toml"], &[]);
    check(&model("list"), 0, "no engines in");
    check(&model("build"), 1, "install DeepStream");
    check(&model("check"), 1, "install DeepStream");
    let run = ["run", "--config", "appliance.toml"];
    check(&appliance(dir.path(), &run, &[("EDGE_ID", "edge_1")]), 78, "install DeepStream");
}

#[test]
fn status_without_a_running_appliance_says_so() {
    let dir = folder("data_dir = 'data'\n");
    check(&appliance(dir.path(), &["status", "--config", "appliance.toml"], &[]), 1, "no appliance runs");
}

#[test]
fn replay_reads_standard_input_and_names_the_line_that_it_cannot_read() {
    let dir = folder("");
    let camera = r#"{"id":"gate","url":"","zones":[{"id":"yard","polygon":[[0,0],[1,0],[1,1],[0,1]]}]}"#;
    let header = format!(
        r#"{{"tracks":1,"part":0,"session":"s","camera":{camera},"fps":5,"clock_zero":"2026-11-22T12:00:00Z","labels":["car"]}}"#
    );
    let frame = |ms: u64| {
        let object = r#"{"track":7,"class":0,"confidence":0.5,"bbox":[10,10,50,50]}"#;
        format!(r#"{{"pts":{},"frame":{{"width":100,"height":100}},"objects":[{object}]}}"#, ms * 1_000_000)
    };
    let tracks = std::iter::once(header).chain((0..5).map(|i| frame(i * 200))).map(|line| line + "\n");
    let text: String = tracks.collect();
    std::fs::write(dir.path().join("tracks.jsonl"), &text).unwrap();
    let read = appliance(dir.path(), &["replay", "tracks.jsonl"], &[]);
    check(&read, 0, r#""event_type":"enter""#);
    let mut piped = Command::new(env!("CARGO_BIN_EXE_aivms-appliance"));
    let input = std::fs::File::open(dir.path().join("tracks.jsonl")).unwrap();
    let piped = piped.args(["replay", "-"]).stdin(input).output().unwrap();
    assert_eq!(piped.stdout, read.stdout);

    std::fs::write(dir.path().join("cameras.json"), r#"{"cameras":[{"id":"other","url":"file:///a.mp4"}]}"#).unwrap();
    let by = |camera: &[&str]| {
        let arguments = [&["replay", "tracks.jsonl", "--cameras", "cameras.json"], camera].concat();
        appliance(dir.path(), &arguments, &[])
    };
    check(&by(&[]), 1, "tracks.jsonl: line 1: camera.id");
    check(&by(&["--camera", "third"]), 1, "cameras.json: cameras: none has the id third");
    let other = by(&["--camera", "other"]);
    check(&other, 0, "start");
    assert!(!String::from_utf8_lossy(&other.stdout).contains("enter"), "it has no zone");

    std::fs::write(dir.path().join("bad.jsonl"), text.replacen("\"class\":0", "\"class\":-1", 2)).unwrap();
    check(
        &appliance(dir.path(), &["replay", "bad.jsonl"], &[]),
        1,
        "bad.jsonl: line 2: objects[0].class: invalid value",
    );
    check(&appliance(dir.path(), &["replay", "none.jsonl"], &[]), 1, "none.jsonl: line 1: can't be read");
    check(&appliance(dir.path(), &["replay"], &[]), 2, "TRACKS");
}

#[test]
fn why_tells_the_reasons_that_are_on_the_disk_on_the_sites_clock() {
    let dir = folder("data_dir = 'data'\n[site]\ntime_zone = 'Asia/Kathmandu'\n");
    let why = |more: &[&str]| appliance(dir.path(), &[&["why", "--config", "appliance.toml"], more].concat(), &[]);
    check(&why(&[]), 0, "no reasons are kept yet");
    let decision = r#"{"at":"2026-11-22T13:03:11.250Z","camera_id":"gate","zone_id":"yard","track_id":"gate-k3-7","object_class":"person","event_type":"enter","made":false,"why":[{"gate":"schedule","passed":false}]}"#;
    std::fs::create_dir_all(dir.path().join("data/why")).unwrap();
    let file = dir.path().join("data/why/2026-11-22T13_00000.jsonl");
    std::fs::write(file, format!("{decision}\n{{\"at\":\"2026-")).unwrap();
    let line = "2026-11-22 (Asia/Kathmandu, UTC+05:45)\n18:48:11 gate/yard: person gate-k3-7 did not enter: outside the schedule";
    check(&why(&["--at", "2026-11-22T18:48"]), 0, line);
    check(&why(&["--at", "2026-11-22T13:03:00Z", "--zone", "yard", "--camera", "gate", "--json"]), 0, decision);
    check(&why(&["--at", "2026-11-22T18:48", "--camera", "lobby"]), 0, "nothing was decided about this");
    for wrong in [&["--at", "noon"][..], &["--since", "2"], &["--since", "2h", "--at", "14:03"], &["--camera", "A/B"]] {
        check(&why(wrong), 2, wrong[0]);
    }
}
