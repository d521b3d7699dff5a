use std::fs;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::from_lookup(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn load(toml: &str, cameras: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("appliance.toml");
    fs::write(&path, toml).unwrap();
    if let Some(cameras) = cameras {
        fs::write(dir.path().join("cameras.json"), cameras).unwrap();
    }
    Config::load(Some(&path), &environment(variables))
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

#[track_caller]
fn refused(toml: &str, cameras: Option<&str>, variables: &[(&str, &str)], expected: &[&str]) {
    let message = load(toml, cameras, variables).expect_err("these settings are wrong");
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let config = load("", None, &[]).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/aivms"));
    assert_eq!(config.detection.confidence.get(), 0.5);
    assert_eq!(config.detection.fps.get(), 5.0);
    assert_eq!(config.detection.model, Path::new("/var/lib/aivms/models/nanodet-g-416.onnx"));
    assert_eq!(config.recording.dir, Path::new("/var/lib/aivms/recordings"));
    let policy = &config.recording.policy;
    assert_eq!((policy.enabled, policy.audio, policy.max_gib), (Some(true), Some(false), None));
    let days = [policy.continuous_days, policy.motion_days, policy.object_days, policy.event_days];
    assert_eq!(days.map(|days| days.unwrap().get()), [7.0, 7.0, 7.0, 30.0]);
    assert_eq!((config.recording.segment.as_secs(), config.recording.sync.as_secs()), (60, 1));
    assert_eq!(config.recording.min_free_bytes, 5 << 30);
    assert_eq!(config.outbox.max_bytes, 1 << 30);
    assert_eq!(config.reporting.heartbeat, Duration::from_secs(30));
    assert_eq!(config.time_zone.name(), "UTC");
    assert_eq!((config.why.keep, config.why.max_bytes), (Duration::from_secs(86_400), 64 << 20));
    assert!(config.cloud.is_none() && config.cameras.as_slice().is_empty());
}

#[test]
fn the_environment_wins_over_the_file() {
    let toml =
        "[cloud]\nurl = 'https://file.example'\n[detection]\nfps = 2\nconfidence = 0.3\n[edge]\nid = 'edge_file'\n";
    let kept = load(toml, None, &[]).unwrap();
    assert_eq!(kept.cloud.unwrap().url.as_str(), "https://file.example/");
    assert_eq!((kept.detection.fps.get(), kept.detection.confidence.get()), (2.0, 0.3));

    let variables = [
        ("CLOUD_URL", "http://127.0.0.1:8000"),
        ("EDGE_ID", "edge_env"),
        ("EDGE_SECRET", "hush"),
        ("DETECTION_MODEL", "/models/yolo11n.onnx"),
        ("DETECTION_CONFIDENCE", "0.7"),
        ("DETECTION_FPS", "10"),
        ("RECORDING_RETENTION_DAYS", "30"),
    ];
    let config = load(toml, None, &variables).unwrap();
    assert_eq!(config.cloud.unwrap().url.as_str(), "http://127.0.0.1:8000/");
    assert_eq!(config.edge_id.unwrap().as_str(), "edge_env");
    assert_eq!(config.edge_secret.unwrap().reveal(), "hush");
    assert_eq!(config.detection.model, Path::new("/models/yolo11n.onnx"));
    assert_eq!((config.detection.fps.get(), config.detection.confidence.get()), (10.0, 0.7));
    assert_eq!(config.recording.policy.continuous_days.unwrap().get(), 30.0);
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let missing = Path::new("/nonexistent/appliance.toml");
    let message = Config::load(Some(missing), &environment(&[])).unwrap_err().to_string();
    assert!(message.contains("/nonexistent/appliance.toml"), "{message}");
    refused("cameras = 'others.json'", None, &[], &["others.json"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_path() {
    refused("[detection]\nfsp = 5\n", None, &[], &["appliance.toml", "detection.fsp", "unknown field"]);
    refused("clouds = 1\n", None, &[], &["clouds", "unknown field"]);
    refused(
        "",
        Some(r#"{"cameras": [{"id": "a", "url": "file:///a", "colour": 1}]}"#),
        &[],
        &["cameras.json", "cameras", "colour"],
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_path() {
    refused("[detection]\nfps = 0\n", None, &[], &["detection.fps", "above 0"]);
    refused("[detection]\nengine = 'gpu'\n", None, &[], &["detection.engine", "gpu", "deepstream"]);
    refused("[detection]\nprecision = 'fp8'\n", None, &[], &["detection.precision", "fp8", "fp16"]);
    refused("[detection]\nprecision = 'int8'\n", None, &[], &["detection.precision", "detection.int8_calibration"]);
    refused("[detection]\nbatch = 0\n", None, &[], &["detection.batch", "1 to 64"]);
    refused("[detection]\ninterval = 31\n", None, &[], &["detection.interval", "at most 30"]);
    refused("[cloud]\nurl = 'ftp://x'\n", None, &[], &["cloud.url", "https"]);
    refused("[detection]\nrecord_tracks_mib = 3\n", None, &[], &["detection.record_tracks_mib", "at least 16"]);
    refused("[detection]\nstationary_after_s = 0\n", None, &[], &["detection.stationary_after_s", "1 to 3600"]);
    refused("[cloud]\nurl = 'http://cloud.example'\n", None, &[], &["cloud.url", "allow_plain_http"]);
    refused("[cloud]\nurl = 'https://user:hush@cloud.example'\n", None, &[], &["cloud.url", "leave them out"]);
    refused("[outbox]\ngroup_ms = 1001\n", None, &[], &["outbox.group_ms", "at most 1000"]);
    refused("[edge]\nid = 'box'\n", None, &[], &["edge.id", "edge_"]);
    refused("[site]\ntime_zone = 'Europe/Berlinn'\n", None, &[], &["site.time_zone", "Berlinn"]);
    refused("[site]\ntime_zone = 'here and now'\n", None, &[], &["site.time_zone", "a name as Europe/Berlin"]);
    refused("[why]\nmax_mib = 0\n", None, &[], &["why.max_mib", "nonzero"]);
    refused("[detection\n", None, &[], &["appliance.toml"]);
    refused("", None, &[("DETECTION_FPS", "fast")], &["DETECTION_FPS"]);
    refused("", None, &[("EDGE_ID", "box")], &["EDGE_ID", "edge_"]);
    refused("", None, &[("CLOUD_URL", "http://cloud.example")], &["CLOUD_URL", "allow_plain_http"]);
}

#[test]
fn a_wrong_camera_is_refused_with_the_path_of_its_field() {
    let bow = r#"{"cameras": [{"id": "a", "url": "file:///a", "zones": [
        {"id": "z", "polygon": [[0,0],[1,1],[1,0],[0,1]]}]}]}"#;
    refused("", Some(bow), &[], &["cameras.json", "zones", "polygon"]);
    refused("", Some(r#"{"cameras": [{"id": "a", "url": "http://cam/"}]}"#), &[], &["cameras[0].url", "rtsp"]);
    let twice = r#"{"cameras": [{"id": "a", "url": "file:///a"}, {"id": "a", "url": "file:///b"}]}"#;
    refused("", Some(twice), &[], &["cameras", "two cameras have the id"]);
    refused("", Some("{} x"), &[], &["cameras.json"]);
}

#[test]
fn a_class_the_model_does_not_have_is_named_with_its_path() {
    let cameras = r#"{"cameras": [{"id": "a", "url": "file:///a", "classes": ["person"], "zones": [
        {"id": "z", "polygon": [[0,0],[1,0],[0,1]], "classes": ["person", "persn"]}]}]}"#;
    let cameras = load("", Some(cameras), &[]).unwrap().cameras;
    let labels = ["person", "car"].map(str::to_owned);
    let (path, problem) = check_classes(&cameras, &labels).unwrap_err();
    assert_eq!(path, "cameras[0].zones[0].classes[1]");
    assert!(problem.contains("persn"));
    assert_eq!(check_classes(&cameras, &["person".to_owned(), "persn".to_owned()]), Ok(()));
    let polygon = "[[0,0],[1,0],[0,1]]";
    let line = r#""id": "l", "from": [0, 0.5], "to": [1, 0.5]"#;
    for (rules, path) in [
        (r#""filters": [{"classes": ["persn"]}]"#.to_owned(), "filters[0].classes[0]"),
        (format!(r#""masks": [{{"polygon": {polygon}, "classes": ["persn"]}}]"#), "masks[0].classes[0]"),
        (format!(r#""lines": [{{{line}, "classes": ["car", "persn"]}}]"#), "lines[0].classes[1]"),
        (
            format!(r#""lines": [{{{line}, "filters": [{{}}, {{"classes": ["persn"]}}]}}]"#),
            "lines[0].filters[1].classes[0]",
        ),
    ] {
        let cameras = format!(r#"{{"cameras": [{{"id": "a", "url": "file:///a", {rules}}}]}}"#);
        let cameras = load("", Some(&cameras), &[]).unwrap().cameras;
        let refused = check_classes(&cameras, &labels).unwrap_err();
        assert_eq!(refused.0, format!("cameras[0].{path}"));
    }
}

#[test]
fn a_class_that_the_model_does_not_have_is_found_in_every_rule() {
    let rules: serde_json::Value =
        serde_json::from_str(include_str!("../../../bindings/contract/tests/golden/cameras-rules.json")).unwrap();
    let labels = ["person", "car", "truck"].map(str::to_owned);
    let check =
        |json: &serde_json::Value| check_classes(&parse_cameras(Path::new("c"), &json.to_string()).unwrap(), &labels);
    assert_eq!(check(&rules), Ok(()));
    for path in
        ["", "zones[0].", "zones[0].filters[0].", "lines[0].", "lines[0].filters[0].", "masks[1].", "filters[1]."]
    {
        let mut wrong = rules.clone();
        let pointer = format!("/cameras/0/{}", path.replace(['[', '.'], "/").replace(']', "")).replace("//", "/");
        wrong.pointer_mut(pointer.trim_end_matches('/')).unwrap()["classes"] = serde_json::json!(["person", "cat"]);
        assert_eq!(check(&wrong).unwrap_err().0, format!("cameras[0].{path}classes[1]"));
    }
}

#[test]
fn a_wrong_camera_address_is_not_repeated_because_it_may_hold_a_password() {
    let message = load("", Some(r#"{"cameras": [{"id": "a", "url": "http://u:hunter2@cam/"}]}"#), &[]).unwrap_err();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_pytorch_model_is_refused_with_the_command_that_converts_it() {
    let command = "`yolo export model=yolov8n.pt format=onnx imgsz=640`";
    refused("", None, &[("DETECTION_MODEL", "yolov8n.pt")], &["DETECTION_MODEL", command]);
    refused("[detection]\nmodel = 'yolov8n.pt'\n", None, &[], &["detection.model", command]);
    refused("[detection]\nmodel = 'yard.engine'\n", None, &[], &["detection.model", "TensorRT", ".onnx file"]);
}

#[test]
fn a_model_is_a_path_or_a_name_in_the_models_folder() {
    let model = |text: &str| load(text, None, &[]).unwrap().detection.model;
    assert_eq!(model("[detection]\nmodels_dir = '/m'\nmodel = 'yolo11n'\n"), Path::new("/m/yolo11n.onnx"));
    assert_eq!(model("[detection]\nmodels_dir = '/m'\nmodel = '/x/yolo11n.onnx'\n"), Path::new("/x/yolo11n.onnx"));
}

#[test]
fn secrets_are_not_in_debug_output() {
    let config = load("[edge]\nsecret = 'hush'\n", None, &[]).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn the_shipped_example_files_are_read() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("appliance.example.toml");
    let config = Config::load(Some(&example), &environment(&[])).unwrap();
    assert_eq!(config.cameras.as_slice().len(), 2);
    assert!(config.cameras.as_slice().iter().any(|camera| !camera.zones.as_slice().is_empty()));
    assert!(config.cloud.is_some());
}

/// A key that the example forgets is a key nobody finds.
#[test]
fn the_shipped_example_names_every_key() {
    let example = include_str!("../../appliance.example.toml");
    let source = include_str!("file.rs");
    let keys = source.lines().filter_map(|line| line.trim().strip_prefix("pub(super) ")?.split_once(": "));
    for (key, _) in keys.filter(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
        assert!(example.contains(key), "{key} is not in appliance.example.toml");
    }
}

#[test]
fn the_budget_of_uploads_may_differ_by_the_time_of_day() {
    let span = "[[uploads.schedule]]\nkib_per_s = 64\ndays = ['mon']\nfrom = '07:00'\nto = '19:00'\n";
    let uploads = load(&format!("[uploads]\nmax_mib = 100\nkib_per_s = 500\n{span}"), None, &[]).unwrap().uploads;
    assert_eq!((uploads.max_bytes, uploads.bytes_per_s), (100 << 20, Some(500 << 10)));
    assert_eq!(uploads.schedule.iter().map(|(_, rate)| *rate).collect::<Vec<_>>(), [Some(64 << 10)]);
    assert_eq!(load("", None, &[]).unwrap().uploads.bytes_per_s, None);
    refused("[uploads]\nmax_mib = 0\n", None, &[], &["uploads.max_mib"]);
    refused(&span.replace("19:00", "25:00"), None, &[], &["uploads.schedule", "25:00"]);
    refused(&span.replace("to =", "till ="), None, &[], &["uploads.schedule", "till"]);
}
