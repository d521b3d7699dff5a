//! What goes wrong is told to those whom it concerns, and what comes after works.

use std::sync::Arc;

use aivms_appliance::pipeline::access_unit::{AccessUnit, StreamFormat};
use aivms_appliance::pipeline::decode::DecodeError;
use aivms_appliance::pipeline::deepstream::{DeepStreamEngine, Precision};
use aivms_appliance::pipeline::engine::EngineError;
use aivms_contract::geometry::FrameSize;

use crate::site::{Camera, Site, bright, library};
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
