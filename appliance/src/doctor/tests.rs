use super::*;
use crate::identity::DeviceKey;
use crate::status::tests::example;
use crate::testing::{Authority, HttpServer};

fn write_settings(dir: &Path, cloud_url: &str) -> PathBuf {
    let path = dir.join("appliance.toml");
    let text = format!(
        "data_dir = 'data'\n[cloud]\nurl = '{cloud_url}'\n[edge]\nid = 'edge_1'\n[detection]\nmodel = 'none.onnx'\n"
    );
    std::fs::write(&path, text).unwrap();
    let cameras = r#"{"cameras": [{"id": "gone", "url": "file:///nonexistent/video.mp4"},
        {"id": "off", "url": "rtsp://192.0.2.1/", "enabled": false}]}"#;
    std::fs::write(dir.join("cameras.json"), cameras).unwrap();
    path
}

fn find<'a>(checks: &'a [Check], subject: &str) -> &'a Check {
    checks.iter().find(|check| check.subject == subject).unwrap_or_else(|| panic!("{subject} is not in {checks:?}"))
}

#[tokio::test]
async fn each_fault_is_found_and_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = HttpServer::answering(|_| (200, String::new())).with_date("Tue, 01 Jan 2030 00:00:00 GMT");
    let path = write_settings(dir.path(), &server.url());
    let checks = examine(Some(&path), &Environment::default()).await;
    let verdict = |subject| find(&checks, subject).verdict;
    assert_eq!(verdict("configuration"), Verdict::Ok);
    assert_eq!(verdict("data folder"), Verdict::Ok);
    assert_eq!(verdict("appliance"), Verdict::Warn);
    assert!(find(&checks, "certificate").finding.contains("aivms-appliance enroll"));
    assert_eq!((verdict("cloud"), verdict("clock")), (Verdict::Ok, Verdict::Fail));
    assert!(find(&checks, "detector").finding.contains("none.onnx"));
    assert_eq!((verdict("camera gone"), verdict("camera off")), (Verdict::Fail, Verdict::Ok));
    let (text, worst) = render(&checks);
    assert_eq!(worst, Verdict::Fail);
    assert_eq!(text.lines().count(), checks.len());
    assert!(text.contains("FAIL  clock          this device's clock is"), "{text}");
}

#[tokio::test]
async fn wrong_settings_are_the_one_finding() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("appliance.toml");
    std::fs::write(&path, "[detection]\nfsp = 3\n").unwrap();
    let checks = examine(Some(&path), &Environment::default()).await;
    assert_eq!(checks.len(), 1);
    assert!(checks[0].verdict == Verdict::Fail && checks[0].finding.contains("detection.fsp"), "{checks:?}");
}

#[test]
fn a_certificate_is_judged_by_its_dates_and_its_edge() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_settings(dir.path(), "http://127.0.0.1:9");
    let config = Config::load(Some(&path), &Environment::default()).unwrap();
    let check = |edge: &str, days: u64| {
        let key = DeviceKey::generate().unwrap();
        let enrollment = Authority::new().enroll(&key.certificate_request().unwrap(), "acme", edge, 8883);
        let now = clock::now() + Duration::from_secs(days * 86_400);
        check_certificate(&config, Ok(Some(key.certified(enrollment).unwrap())), now)
    };
    assert_eq!(check("edge_1", 0).verdict, Verdict::Ok);
    assert_eq!(check("edge_1", 61).verdict, Verdict::Warn);
    assert_eq!(check("edge_1", 91).verdict, Verdict::Fail);
    assert_eq!(check("edge_2", 0).verdict, Verdict::Fail);
}

#[test]
fn a_running_appliance_is_judged_by_what_it_says_of_its_connection() {
    let at = clock::now();
    let mut status = example(at);
    assert_eq!(check_appliance(Some(&status), at).verdict, Verdict::Warn);
    status.link.state = LinkState::Connected;
    assert_eq!(check_appliance(Some(&status), at).verdict, Verdict::Ok);
    assert_eq!(check_appliance(Some(&status), at + Duration::from_secs(60)).verdict, Verdict::Warn);
    assert_eq!(check_appliance(None, at).verdict, Verdict::Warn);
}

#[test]
fn a_data_folder_that_cant_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let check = check_disk(&file.join("data"));
    assert!(check.verdict == Verdict::Fail && check.finding.contains("file/data"), "{check:?}");
}
