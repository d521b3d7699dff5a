//! Cameras come and go; the others do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aivms_appliance_core::detection::Tracked;
use aivms_contract::geometry::FrameSize;

use crate::site::{Camera, Site, bright};
use crate::video::light;

/// Comings and goings that the others are to bear.
const VISITS: usize = 8;
const HD: FrameSize = FrameSize { width: 640, height: 360 };

#[tokio::test(flavor = "multi_thread")]
async fn no_frame_of_a_camera_is_lost_while_others_come_and_go() {
    let site = Site::new(&bright());
    let (engine, units) = (site.engine(), light(300, HD));
    let (stop, visits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut steady: Vec<_> = ["a", "b"].map(|id| Camera::connect(&engine, id, &units[0], 60.0)).into();
    let guests: Vec<_> = (0..2)
        .map(|guest| {
            let (engine, units) = (Arc::clone(&engine), units.clone());
            let (stop, visits) = (Arc::clone(&stop), Arc::clone(&visits));
            tokio::task::spawn_blocking(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut camera = Camera::connect(&engine, &format!("guest{guest}"), &units[0], 60.0);
                    // Of its first pictures each comes out; the last are still under way when it leaves.
                    units[..5].iter().for_each(|unit| drop(camera.show(unit).unwrap()));
                    units[5..9].iter().for_each(|unit| camera.send(unit));
                    drop(camera);
                    visits.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let steady = tokio::task::spawn_blocking(move || {
        // Each picture is waited for, so a slow machine loses none either; `show` fails on a lost or doubled one.
        let mut shown = 0;
        for unit in &units {
            if shown >= 60 && visits.load(Ordering::Relaxed) >= VISITS {
                break;
            }
            shown += 1;
            for camera in &mut steady {
                let seen = camera.show(unit).unwrap();
                assert_eq!((seen.frame, seen.objects.len()), (HD, usize::from(unit.at != units[0].at)));
            }
        }
        let visits = visits.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        (steady, shown, visits)
    });
    let (steady, shown, visits) = steady.await.unwrap();
    for guest in guests {
        guest.await.unwrap();
    }
    assert!(visits >= VISITS, "only {visits} visits in {shown} pictures");
    for camera in &steady {
        let counters = camera.session.counters();
        assert_eq!((counters.analysed, counters.frames_skipped, counters.units_dropped), (shown, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_camera_gets_its_own_pictures_in_its_own_size_whatever_shares_its_muxer() {
    let site = Site::new(&bright());
    let engine = site.engine();
    let size = |width, height| FrameSize { width, height };
    let done = tokio::task::spawn_blocking(move || {
        // Two of one shape, one upright, one nearly square; all at once.
        let sizes = [size(640, 360), size(1280, 720), size(360, 640), size(320, 256)];
        let units = sizes.map(|size| light(10, size));
        let connect = |number: usize| Camera::connect(&engine, &format!("camera{number}"), &units[number][0], 60.0);
        let mut cameras: Vec<_> = (0..sizes.len()).map(connect).collect();
        for (number, camera) in cameras.iter_mut().enumerate() {
            let size = sizes[number];
            for (picture, unit) in units[number].iter().enumerate() {
                let seen = camera.show(unit).unwrap();
                assert_eq!(seen.frame, size);
                // An object is told when it has been seen twice.
                assert_eq!(seen.objects.len(), usize::from(picture > 0), "{picture} of {size:?}");
                seen.objects.iter().for_each(|object| check_light(object, size));
            }
        }
    });
    done.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_are_not_inferred_are_bridged_by_the_tracker() {
    let mut site = Site::new(&bright());
    site.settings.interval = 1;
    let (engine, units) = (site.engine(), light(12, HD));
    let done = tokio::task::spawn_blocking(move || {
        let mut camera = Camera::connect(&engine, "a", &units[0], 60.0);
        let seen: Vec<_> = units.iter().map(|unit| camera.show(unit).unwrap().objects).collect();
        // Every second picture is inferred; the object is told from its second sight on, and keeps its track.
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        for object in seen.iter().flatten() {
            assert_eq!(object.track, seen[2][0].track);
            check_light(object, HD);
        }
    });
    done.await.unwrap();
}

/// The box is that of bright.onnx around the lit cell, in pixels of the camera.
fn check_light(object: &Tracked, size: FrameSize) {
    let pixel = size.width.max(size.height) as f32 / 64.0;
    let wanted = [12.0, 4.0, 28.0, 20.0].map(|side| side * pixel);
    let off = object.bbox.corners().into_iter().zip(wanted).map(|(is, wanted)| (is - wanted).abs());
    assert!(off.into_iter().all(|off| off <= 1.5), "{object:?} and not {wanted:?} on {size:?}");
    assert!(object.confidence > 0.9, "{object:?}");
}
