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
    for command in ["run", "enroll", "status"] {
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
fn status_without_a_running_appliance_says_so() {
    let dir = folder("data_dir = 'data'\n");
    check(&appliance(dir.path(), &["status", "--config", "appliance.toml"], &[]), 1, "no appliance runs");
}
