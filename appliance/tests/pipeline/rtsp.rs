//! A network camera through all its faults: each is told with its cause, and the camera comes back by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::camera::{CameraHandle, CameraSpec, spawn_camera};
use aivms_appliance::pipeline::engine::Engine;
use aivms_appliance::pipeline::{Detector, probe};
use aivms_contract::envelope::Body;
use aivms_contract::geometry::FrameSize;
use aivms_contract::health::{CameraHealth, CameraState};
use tokio::sync::mpsc;

use crate::rtsp_camera::{PASSWORD, RtspCamera, TEST_PICTURE, USER, mute_host, silent_camera};

/// Long enough for a loaded machine; a test waits this long only to fail.
const DEADLINE: Duration = Duration::from_secs(50);

fn detector() -> Arc<Detector> {
    crate::detector(&crate::cache("models/nanodet-g-416.onnx"))
}

fn spec(id: &str, url: &str, password: &str) -> CameraSpec {
    crate::spec(serde_json::json!({ "id": id, "url": url, "username": USER, "password": password }))
}

fn spawn(spec: CameraSpec, engine: &Arc<Detector>) -> (CameraHandle, mpsc::Receiver<Body>) {
    let (bodies, messages) = mpsc::channel(1000);
    (spawn_camera(spec, Arc::clone(engine) as Arc<dyn Engine>, bodies), messages)
}

/// Waits until the camera's health is as wanted.
async fn health(camera: &CameraHandle, wanted: impl Fn(&CameraHealth) -> bool) -> CameraHealth {
    let mut health = camera.health();
    let found = tokio::time::timeout(DEADLINE, health.wait_for(|health| wanted(health))).await.map(Result::unwrap);
    match found {
        Ok(health) => health.clone(),
        Err(_) => panic!("still {:?}", camera.health().borrow()),
    }
}

async fn frames(camera: &CameraHandle, more: u64) {
    let (start, first) = (Instant::now(), camera.counters().frames_analysed);
    while camera.counters().frames_analysed < first + more {
        assert!(start.elapsed() < DEADLINE, "{:?} {:?}", camera.counters(), camera.health().borrow());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn streams(health: &CameraHealth) -> bool {
    health.state == CameraState::Streaming
}

fn retries_because(cause: &str) -> impl Fn(&CameraHealth) -> bool {
    move |health| {
        health.state == CameraState::Retrying && health.cause.as_ref().is_some_and(|said| said.contains(cause))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_a_network_camera_are_analysed() {
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let (camera, _messages) = spawn(spec("gate", &server.url(), PASSWORD), &detector());
    assert_eq!(health(&camera, streams).await.cause, None);
    frames(&camera, 4).await;
    camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_as_such_and_tried_again() {
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let (camera, _messages) = spawn(spec("gate", &server.url(), "wrong secret"), &detector());
    let told = health(&camera, retries_because("401")).await.cause.unwrap();
    assert!(told.contains("gate") && told.contains("check username and password"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    health(&camera, |_| camera.counters().connections >= 3).await;
    camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_the_camera_does_not_have_is_told() {
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let url = server.url().replace("/main", "/other");
    let (camera, _messages) = spawn(spec("gate", &url, PASSWORD), &detector());
    health(&camera, retries_because("answers 404: check the path")).await;
    camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_dies_is_watched_again_when_it_is_back() {
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let port = server.port;
    let (camera, _messages) = spawn(spec("gate", &server.url(), PASSWORD), &detector());
    frames(&camera, 2).await;
    drop(server);
    health(&camera, |health| health.state == CameraState::Retrying).await;
    health(&camera, retries_because("cannot be reached")).await;
    let _server = RtspCamera::start(TEST_PICTURE, port);
    health(&camera, streams).await;
    frames(&camera, 2).await;
    camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_falls_silent_is_connected_anew() {
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let (camera, _messages) = spawn(spec("gate", &server.url(), PASSWORD), &detector());
    frames(&camera, 2).await;
    server.freeze(true);
    health(&camera, retries_because("stopped sending video")).await;
    server.freeze(false);
    health(&camera, streams).await;
    frames(&camera, 2).await;
    camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_never_sends_is_told_apart_from_a_host_that_never_answers() {
    let engine = detector();
    let (_listener, mute) = mute_host().unwrap();
    let silent = format!("rtsp://127.0.0.1:{}/main", silent_camera().unwrap());
    let (silent, _messages) = spawn(spec("silent", &silent, PASSWORD), &engine);
    let (mute, _others) = spawn(spec("mute", &format!("rtsp://127.0.0.1:{mute}/main"), PASSWORD), &engine);
    health(&silent, retries_because("connected but sends no video")).await;
    health(&mute, retries_because("cannot be reached")).await;
    silent.stop().await;
    mute.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_camera_does_not_touch_another() {
    let engine = detector();
    let (good, bad) = (RtspCamera::start(TEST_PICTURE, 0), RtspCamera::start(TEST_PICTURE, 0));
    let (good_camera, _messages) = spawn(spec("good", &good.url(), PASSWORD), &engine);
    let (bad_camera, _others) = spawn(spec("bad", &bad.url(), PASSWORD), &engine);
    frames(&good_camera, 2).await;
    frames(&bad_camera, 2).await;
    drop(bad);
    health(&bad_camera, retries_because("cannot be reached")).await;
    frames(&good_camera, 10).await;
    let counters = good_camera.counters();
    assert_eq!((counters.connections, good_camera.health().borrow().state), (1, CameraState::Streaming));
    bad_camera.stop().await;
    good_camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_builds_the_connection_anew_at_once() {
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let (camera, _messages) = spawn(spec("gate", &server.url(), PASSWORD), &detector());
    frames(&camera, 2).await;
    camera.restart();
    let start = Instant::now();
    while camera.counters().connections < 2 {
        assert!(start.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    frames(&camera, 2).await;
    assert_eq!(camera.counters().left_behind, 0);
    camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_told_by_camera_and_field_and_connects_to_nothing() {
    let engine = detector();
    let (odd, _messages) = spawn(spec("gate", "http://host/", PASSWORD), &engine);
    let told = health(&odd, |health| health.cause.is_some()).await.cause.unwrap();
    assert!(told.starts_with("camera gate: url: the scheme \"http\" is not known"), "{told}");
    let mut misspelt = spec("yard", "rtsp://127.0.0.1:9/main", PASSWORD);
    misspelt.camera.classes = vec!["persn".to_owned()];
    let (misspelt, _others) = spawn(misspelt, &engine);
    let told = health(&misspelt, |health| health.cause.is_some()).await.cause.unwrap();
    assert!(told.starts_with("camera yard: classes: the model knows no \"persn\"; it knows person, "), "{told}");
    assert_eq!((odd.counters().connections, misspelt.counters().connections), (0, 0));
    odd.stop().await;
    misspelt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_look_tells_what_a_camera_sends_or_why_it_does_not() {
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let look = |url: String, password| async move { probe(&url, Some(USER), Some(password), DEADLINE / 5).await };
    let report = look(server.url(), PASSWORD).await.unwrap();
    assert_eq!((report.codec.as_str(), report.frame), ("H.264", Some(FrameSize { width: 320, height: 240 })));
    assert!(report.fps.is_some_and(|fps| (14.0..16.0).contains(&fps)), "{report}");
    let refused = look(server.url(), "wrong secret").await.unwrap_err().to_string();
    assert!(refused.contains("answers 401: check username and password") && !refused.contains("secret"), "{refused}");
    let closed = server.url();
    drop(server);
    let gone = look(closed, PASSWORD).await.unwrap_err().to_string();
    assert!(gone.contains("cannot be reached"), "{gone}");
    let tls = look("rtsps://127.0.0.1:9/main".to_owned(), PASSWORD).await.unwrap_err().to_string();
    assert!(tls.contains("cannot be reached"), "{tls}");
    let device = look("v4l2:///dev/video99".to_owned(), PASSWORD).await.unwrap_err().to_string();
    assert!(device.contains("the file or device of its url does not exist"), "{device}");
    let odd = look("rtsp//camera".to_owned(), PASSWORD).await.unwrap_err().to_string();
    assert!(odd.starts_with("url: "), "{odd}");
}

#[tokio::test(flavor = "multi_thread")]
async fn motion_jpeg_is_analysed_and_a_format_nobody_reads_is_named() {
    let engine = detector();
    let picture = |encoder: &str| {
        let raw = "videotestsrc is-live=true ! video/x-raw,format=I420,width=352,height=288,framerate=15/1";
        RtspCamera::start(&format!("{raw} ! {encoder}"), 0)
    };
    let jpeg = picture("jpegenc ! rtpjpegpay name=pay0 pt=26");
    let old = picture("rtpvrawpay name=pay0 pt=96");
    let (jpeg_camera, _messages) = spawn(spec("jpeg", &jpeg.url(), PASSWORD), &engine);
    let (old_camera, _others) = spawn(spec("old", &old.url(), PASSWORD), &engine);
    frames(&jpeg_camera, 2).await;
    health(&old_camera, retries_because("its video format RAW is not supported; set it to H.264")).await;
    jpeg_camera.stop().await;
    old_camera.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_no_threads_behind() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let server = RtspCamera::start(TEST_PICTURE, 0);
    let (camera, _messages) = spawn(spec("gate", &server.url(), PASSWORD), &detector());
    frames(&camera, 1).await;
    let mut counts = vec![];
    for connection in 2..=16 {
        camera.restart();
        let start = Instant::now();
        while camera.counters().connections < connection || !streams(&camera.health().borrow()) {
            assert!(start.elapsed() < DEADLINE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        counts.push(threads());
    }
    // GStreamer and the runtime keep some threads for reuse; what grows with each connection would show by now.
    let (early, late) = (counts[2..7].iter().max(), counts[10..].iter().max());
    assert!(late <= early.map(|count| count + 6).as_ref(), "{counts:?}");
    camera.stop().await;
}
