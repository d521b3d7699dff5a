//! What goes wrong is told to those whom it concerns, and what comes after works.

use std::sync::Arc;

use aivms_appliance::pipeline::access_unit::{AccessUnit, StreamFormat};
use aivms_appliance::pipeline::decode::DecodeError;
use aivms_appliance::pipeline::deepstream::{DeepStreamEngine, Precision};
use aivms_appliance::pipeline::engine::EngineError;
use aivms_appliance::pipeline::{CameraSpec, spawn_camera};
use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::tracks::RestSettings;
use aivms_contract::geometry::FrameSize;
use aivms_contract::health::CameraHealth;

use crate::site::{Camera, PATIENCE, Site, bright, cache, library};
use crate::video::light;

const SIZE: FrameSize = FrameSize { width: 320, height: 180 };

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_pipeline_is_told_to_all_its_cameras_and_never_used_again() {
    let site = Site::new(&bright());
    let (engine, units) = (site.engine(), light(8, SIZE));
    let done = tokio::task::spawn_blocking(move || {
        let mut cameras = ["a", "b"].map(|id| Camera::connect(&engine, id, &units[0], 60.0));
        cameras.iter_mut().for_each(|camera| drop(camera.show(&units[0]).unwrap()));
        std::fs::write(site.fault(), "").unwrap();
        cameras[0].send(&units[1]);
        for camera in &mut cameras {
            assert!(matches!(camera.end(), EngineError::Pipeline(why) if why.contains("told to fail")));
        }
        std::fs::remove_file(site.fault()).unwrap();
        // One comes back before the other has left.
        let [a, b] = cameras;
        drop(a);
        let mut back = Camera::connect(&engine, "a", &units[0], 60.0);
        units.iter().for_each(|unit| drop(back.show(unit).unwrap()));
        drop(b);
        assert_eq!(back.session.counters().analysed, 8);
    });
    done.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_changes_its_format_ends_alone() {
    let site = Site::new(&bright());
    let (engine, units) = (site.engine(), light(8, SIZE));
    let done = tokio::task::spawn_blocking(move || {
        let [mut good, mut odd] = ["a", "b"].map(|id| Camera::connect(&engine, id, &units[0], 60.0));
        odd.show(&units[0]).unwrap();
        let format = Arc::new(StreamFormat::new("image/jpeg, framerate=25/1".parse().unwrap()));
        odd.send(&AccessUnit { format, ..units[1].clone() });
        assert_eq!(odd.end(), EngineError::Decode(DecodeError::FormatChanged));
        drop(odd);
        units.iter().for_each(|unit| drop(good.show(unit).unwrap()));
    });
    done.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_does_not_say_its_size_finds_its_pipeline_at_the_second_connection() {
    let site = Site::new(&bright());
    let engine = site.engine();
    let done = tokio::task::spawn_blocking(move || {
        let mut units = light(5, FrameSize { width: 320, height: 320 });
        let silent = "video/x-h264, stream-format=byte-stream, alignment=au".parse().unwrap();
        let format = Arc::new(StreamFormat::new(silent));
        units.iter_mut().for_each(|unit| unit.format = Arc::clone(&format));
        let mut first = Camera::connect(&engine, "a", &units[0], 60.0);
        first.send(&units[0]);
        assert_eq!(first.end(), EngineError::Decode(DecodeError::FormatChanged));
        drop(first);
        let mut second = Camera::connect(&engine, "a", &units[0], 60.0);
        units.iter().for_each(|unit| drop(second.show(unit).unwrap()));
    });
    done.await.unwrap();
}

/// A camera's task, as the edge runs it, over the demo video in real time.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_comes_back_by_itself_after_the_shared_pipeline_has_failed() {
    let site = Site::new(&bright());
    let spec = CameraSpec {
        camera: serde_json::from_value(serde_json::json!({
            "id": "junction",
            "url": format!("file://{}", cache("video/vtest.avi").display()),
        }))
        .unwrap(),
        session: "test".parse().unwrap(),
        detection_fps: 5.0,
        confidence: 0.5,
        classes: vec![],
        time_zone: SiteZone::default(),
        recorder: None,
        consumers: aivms_appliance::pipeline::consumer::Consumers::default(),
        audio: false,
        stationary: RestSettings::default(),
    };
    let (sender, mut messages) = tokio::sync::mpsc::channel(1000);
    tokio::spawn(async move { while messages.recv().await.is_some() {} });
    let camera = spawn_camera(spec, site.engine(), sender);
    let analysed = |more: u64| {
        let (camera, before) = (&camera, camera.counters().frames_analysed);
        async move {
            while camera.counters().frames_analysed < before + more {
                pause().await;
            }
        }
    };
    let in_time = |wait| tokio::time::timeout(PATIENCE, wait);
    in_time(Box::pin(analysed(3)) as Wait<'_>).await.expect("it is analysed");
    std::fs::write(site.fault(), "").unwrap();
    let mut health = camera.health();
    let failed = async move {
        let told = |health: &CameraHealth| health.cause.as_ref().is_some_and(|cause| cause.contains("told to fail"));
        health.wait_for(told).await.unwrap();
    };
    in_time(Box::pin(failed)).await.expect("the cause is shown");
    std::fs::remove_file(site.fault()).unwrap();
    in_time(Box::pin(analysed(5))).await.expect("it is analysed again");
    camera.stop().await;
}

/// Something that is waited for.
type Wait<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

#[test]
fn what_is_missing_for_deepstream_is_named_with_the_remedy() {
    let metadata = library();
    let refuses = |change: fn(&mut Site), says: &[&str]| {
        let mut site = Site::new(&bright());
        change(&mut site);
        let refused = DeepStreamEngine::load(site.settings, Arc::clone(&metadata));
        let text = refused.map(drop).unwrap_err().to_string();
        assert!(says.iter().all(|part| text.contains(part)), "{text} lacks one of {says:?}");
    };
    refuses(
        |site| site.settings.dir = "/nonexistent".into(),
        &["/nonexistent/lib/libnvds_nvmultiobjecttracker.so", "detection.deepstream_dir"],
    );
    refuses(|site| site.settings.model = "/nonexistent/yolo.onnx".into(), &["/nonexistent/yolo.onnx"]);
    refuses(|site| site.settings.precision = Precision::Int8, &["detection.precision", "detection.int8_calibration"]);
}
