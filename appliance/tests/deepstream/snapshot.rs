//! Single pictures, from either engine.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::pipeline::engine::{Engine, EngineError};
use aivms_appliance::pipeline::{Detector, DetectorSettings};
use aivms_contract::geometry::FrameSize;

use crate::site::{Camera, Site, bright, cache};
use crate::video::light;

const SIZE: FrameSize = FrameSize { width: 640, height: 360 };

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_next_analysed_picture_in_the_cameras_size_on_both_engines() {
    let site = Site::new(&bright());
    let library = Some(cache("onnxruntime/libonnxruntime.so"));
    let settings = DetectorSettings { library, model: bright(), description: None, threads: 1, motion_gate: false };
    let engines: [Arc<dyn Engine>; 2] = [site.engine(), Detector::load(&settings).unwrap()];
    let done = tokio::task::spawn_blocking(move || {
        for engine in engines {
            let units = light(200, SIZE);
            let mut camera = Camera::connect(&engine, "a", &units[0], 60.0);
            assert_eq!(camera.session.snapshot(Duration::from_millis(1)).unwrap_err(), EngineError::NoPicture);
            camera.show(&units[0]).unwrap();
            let sender = camera.sender();
            let jpeg = std::thread::scope(|scope| {
                // A picture that comes before it is asked for does not count; one of these comes after.
                scope.spawn(|| {
                    for unit in &units[1..] {
                        let _ = sender.send(unit.clone());
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
                camera.session.snapshot(Duration::from_secs(60)).unwrap()
            });
            assert!(units[1..].iter().any(|unit| unit.at == jpeg.at));
            assert_eq!(jpeg.frame, SIZE);
            assert_eq!((&jpeg.data[..2], &jpeg.data[jpeg.data.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
        }
    });
    done.await.unwrap();
}
