//! What a network camera sends arrives as it was sent, whichever client connects to it.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::pipeline::access_unit::AccessUnit;
use aivms_appliance::pipeline::consumer::{StreamEnd, StreamRole};
use aivms_appliance_core::supervise::Failure;
use aivms_contract::geometry::FrameSize;
use aivms_contract::health::CameraState;
use aivms_rig::{Audio, ClipSpec, Codec, Mount, TestCamera};
use serde_json::json;

use crate::clips::{CLIENTS, camera, clip, missing, server};
use crate::consumer::{Counting, Seen, eventually};
use crate::spawn;

/// Pictures in which the clip comes to its end and begins again.
const ENOUGH: usize = 75;
/// Frames of sound over which time is measured.
const FRAMES: usize = 36;

/// Most that a span of time may be off: a client that goes by the camera's own times knows it well, the jitter buffer
/// of rtspsrc corrects them by arrivals, which a loaded machine holds up.
fn off_by(client: &str) -> Duration {
    Duration::from_millis(if client == "rtspsrc" { 900 } else { 100 })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_picture_arrives_once_and_in_order_from_the_first_on() {
    let kinds = [("h264", Codec::H264, 0), ("b-frames", Codec::H264, 2), ("h265", Codec::H265, 0)];
    let clips = kinds.map(|(_, codec, b_frames)| clip(ClipSpec { codec, b_frames, ..ClipSpec::default() }));
    let servers = clips.each_ref().map(|clip| server(std::slice::from_ref(clip)));
    let counting = Arc::new(Counting::default());
    let mut running = vec![];
    for client in CLIENTS {
        for ((name, ..), server) in kinds.iter().zip(&servers) {
            running.push(spawn(camera(&format!("{name}-{client}"), &server.url("/main"), client), &counting));
        }
    }
    for client in CLIENTS {
        for ((name, codec, b_frames), clip) in kinds.iter().zip(&clips) {
            let seen = counting.connection(&format!("{name}-{client}"), 0, ENOUGH).await;
            let units = seen.units.lock().unwrap();
            assert_eq!(missing(&units, clip), [], "{name} {client}");
            assert!(units[0].key, "{name} {client}: it begins with a key picture");
            check_form(&units, *codec, *b_frames > 0, &format!("{name} {client}"));
            let span = units[60].at.since(units[0].at);
            let right = span.abs_diff(Duration::from_secs(4)) < off_by(client);
            assert!(right, "{name} {client}: 60 pictures in {span:?}");
            assert_eq!(*seen.lost.lock().unwrap(), 0);
        }
    }
    for camera in running {
        camera.stop().await;
    }
}

/// Parameter sets in front of each key picture, sizes, and the order of times.
fn check_form(units: &[AccessUnit], codec: Codec, reordered: bool, what: &str) {
    for unit in units {
        let data = unit.buffer.map_readable().unwrap();
        assert!(data.starts_with(&[0, 0, 0, 1]) || data.starts_with(&[0, 0, 1]), "{what}: byte-stream");
        let kinds: Vec<_> = data.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3]).collect();
        let has_sets = match codec {
            Codec::H264 => kinds.iter().any(|kind| kind & 0x1f == 7) && kinds.iter().any(|kind| kind & 0x1f == 8),
            Codec::H265 => [32, 33, 34].iter().all(|set| kinds.iter().any(|kind| kind >> 1 & 0x3f == *set)),
        };
        assert!(has_sets || !unit.key, "{what}: {kinds:?}");
        assert_eq!(unit.format.frame, Some(FrameSize { width: 320, height: 240 }), "{what}");
    }
    let back = units.windows(2).any(|two| two[1].at < two[0].at);
    assert_eq!(back, reordered, "{what}: only B-frames are shown before what was sent earlier");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_arrives_as_aac_beside_the_pictures_and_holds_them_up_nowhere() {
    let kinds = [("aac", Audio::Aac, 16_000), ("pcma", Audio::Pcma, 8_000), ("pcmu", Audio::Pcmu, 8_000)];
    let clips = kinds.map(|(_, audio, _)| clip(ClipSpec { audio: Some(audio), ..ClipSpec::default() }));
    let servers = clips.each_ref().map(|clip| server(std::slice::from_ref(clip)));
    let counting = Arc::new(Counting::default());
    let mut running = vec![];
    for client in CLIENTS {
        for ((name, ..), server) in kinds.iter().zip(&servers) {
            running.push(spawn(camera(&format!("{name}-{client}"), &server.url("/main"), client), &counting));
        }
    }
    for client in CLIENTS {
        for ((name, _, rate), clip) in kinds.iter().zip(&clips) {
            let name = format!("{name}-{client}");
            let seen = counting.connection(&name, 0, ENOUGH).await;
            assert_eq!(missing(&seen.units.lock().unwrap(), clip), [], "{name}");
            eventually(&format!("sound of {name}"), || (seen.sound.lock().unwrap().len() > FRAMES).then_some(())).await;
            check_sound(&seen, *rate, off_by(client), &name);
        }
    }
    for camera in running {
        camera.stop().await;
    }
}

fn check_sound(seen: &Seen, rate: u32, off_by: Duration, what: &str) {
    let (sound, units) = (seen.sound.lock().unwrap(), seen.units.lock().unwrap());
    assert_eq!((sound[0].format.sample_rate, sound[0].format.channels), (rate, 1), "{what}");
    assert!(sound.windows(2).all(|two| two[0].at < two[1].at), "{what}: time goes on");
    let span = sound[FRAMES].at.since(sound[0].at);
    let right = Duration::from_secs(1) * 1024 / rate * u32::try_from(FRAMES).unwrap();
    assert!(span.abs_diff(right) < off_by, "{what}: {FRAMES} frames in {span:?}");
    assert!(sound[0].buffer.size() > 4 && sound[0].buffer.map_readable().unwrap()[0] != 0xff, "{what}: without ADTS");
    // Both began together in the camera; what sound comes first is on the pictures' time.
    let (first, picture) = (sound[0].at, units[0].at);
    let apart = first.since(picture) + picture.since(first);
    assert!(apart < Duration::from_millis(600) + off_by, "{what}: sound and pictures are {apart:?} apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_stream_is_recorded_and_the_smaller_one_analysed_each_under_its_own_supervision() {
    let big = clip(ClipSpec { size: (640, 360), ..ClipSpec::default() });
    let small = clip(ClipSpec::default());
    let mounts = || vec![Mount::of_clips("/main", std::slice::from_ref(&big))];
    let (main, sub) = (TestCamera::start(mounts(), 0).unwrap(), server(std::slice::from_ref(&small)));
    let port = main.port();
    let counting = Arc::new(Counting::default());
    let mut both = camera("gate", &main.url("/main"), "retina");
    both["sub_url"] = json!(sub.url("/main"));
    let gate = spawn(both, &counting);
    let of = |role: StreamRole, number: usize| {
        let found = move |all: Vec<Arc<Seen>>| all.into_iter().filter(|seen| seen.role == role).nth(number);
        let counting = Arc::clone(&counting);
        async move { eventually("a connection", || found(counting.connections("gate")).filter(|s| s.count() > 15)).await }
    };
    let (recorded, analysed) = (of(StreamRole::Main, 0).await, of(StreamRole::Sub, 0).await);
    let width = |seen: &Seen| seen.units.lock().unwrap()[0].format.frame.map(|frame| frame.width);
    assert_eq!((width(&recorded), width(&analysed)), (Some(640), Some(320)));
    assert_eq!(crate::analysed(), [Some(320)], "the big one is decoded by nobody");

    drop(main);
    let told = gate.health().wait_for(|health| health.cause.is_some()).await.unwrap().clone();
    assert_eq!(told.state, CameraState::Streaming, "{told:?}");
    assert!(told.cause.unwrap().starts_with("the main stream, which is recorded, fails: camera gate "));
    let ends = counting.ends("gate");
    assert!(ends.iter().all(|(role, ..)| *role == StreamRole::Main), "{ends:?}");
    assert!(matches!(ends[0].1, StreamEnd::Failed(Failure::Ended | Failure::Unreachable)), "{ends:?}");

    let _main = TestCamera::start(mounts(), port).unwrap();
    of(StreamRole::Main, 1).await;
    eventually("no trouble any more", || gate.health().borrow().cause.is_none().then_some(())).await;
    gate.stop().await;
    assert_eq!(counting.connections("gate").iter().filter(|seen| seen.role == StreamRole::Sub).count(), 1);
    assert_eq!(missing(&analysed.units.lock().unwrap(), &small), []);
    let stopped = counting.ends("gate").into_iter().filter(|(_, end, _)| *end == StreamEnd::Stopped);
    let mut roles: Vec<_> = stopped.map(|(role, ..)| role).collect();
    roles.sort_unstable();
    assert_eq!(roles, [StreamRole::Main, StreamRole::Sub]);
}
