//! What a network camera sends is in the files, picture for picture, whichever client connects to it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::recorder::{Folders, Footage, Recorder, RecorderSettings, RecordingPolicy};
use aivms_contract::desired::Recording;
use aivms_contract::time::UtcMillis;
use aivms_footage::AccessUnits;
use aivms_footage::track::VideoCodec;
use aivms_rig::{Audio, ClipSpec, Codec};
use bytes::Bytes;

use crate::clips::{CLIENTS, camera, clip, server};
use crate::consumer::Counting;
use crate::probe::pictures_in;
use crate::spawn_feeding;

/// Pictures in which several segments begin.
const ENOUGH: usize = 75;

#[tokio::test(flavor = "multi_thread")]
async fn every_picture_of_a_network_camera_is_in_its_segments_and_ffprobe_counts_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = [
        ("h264", ClipSpec::default()),
        ("b-frames", ClipSpec { b_frames: 2, ..ClipSpec::default() }),
        ("h264-g711", ClipSpec { audio: Some(Audio::Pcma), ..ClipSpec::default() }),
        ("h265-aac", ClipSpec { codec: Codec::H265, audio: Some(Audio::Aac), ..ClipSpec::default() }),
    ];
    let servers = kinds.map(|(_, spec)| server(&[clip(spec)]));
    let (recorder, footage) = recorder(dir.path());
    let counting = Arc::new(Counting::default());
    let mut running = vec![];
    for client in CLIENTS {
        for ((name, _), server) in kinds.iter().zip(&servers) {
            let camera = camera(&format!("{name}-{client}"), &server.url("/main"), client);
            running.push(spawn_feeding(camera, vec![Arc::clone(&counting) as _, Arc::new(recorder.clone())]));
        }
    }
    for client in CLIENTS {
        for (name, _) in &kinds {
            counting.connection(&format!("{name}-{client}"), 0, ENOUGH).await;
        }
    }
    for camera in running {
        camera.stop().await;
    }
    recorder.close().await;
    for client in CLIENTS {
        for (name, spec) in &kinds {
            check(&footage, &counting, &format!("{name}-{client}"), spec);
        }
    }
}

fn recorder(dir: &Path) -> (Recorder, Footage) {
    let site = Recording { audio: Some(true), ..Recording::default() };
    let (policy, changes) = tokio::sync::watch::channel(Arc::new(RecordingPolicy::new(site, [])));
    drop(policy);
    let settings = RecorderSettings {
        data_dir: dir.to_owned(),
        folders: Folders { fast: dir.join("recordings"), slow: None },
        segment: Duration::from_secs(2),
        sync: Duration::from_secs(1),
        edge: None,
    };
    Recorder::open(settings, changes, |notice| panic!("{notice:?}")).unwrap()
}

/// Compares the files with what another consumer saw.
fn check(footage: &Footage, counting: &Counting, camera: &str, spec: &ClipSpec) {
    let codec = if spec.codec == Codec::H265 { VideoCodec::H265 } else { VideoCodec::H264 };
    let mut units = AccessUnits::new(codec);
    let mut expected = vec![];
    for seen in counting.connections(camera) {
        for unit in seen.units.lock().unwrap().iter() {
            expected.push(units.take(&unit.buffer.map_readable().unwrap()).unwrap().data);
        }
    }
    let all = (UtcMillis::from_millis(0), UtcMillis::from_millis(i64::MAX));
    let segments = footage.segments(&camera.parse().unwrap(), all.0, all.1);
    assert!(segments.len() >= 2, "{camera}: {} segments", segments.len());
    let (mut pictures, mut probed, mut sounds) = (Vec::<Bytes>::new(), 0, 0);
    for segment in &segments {
        let reader = footage.open(segment).unwrap();
        for number in 0..segment.fragments.len() {
            let fragment = reader.fragment(number).unwrap();
            pictures.extend(fragment.video.into_iter().map(|sample| sample.data));
            sounds += fragment.audio.len();
        }
        probed += pictures_in(&segment.path);
        decode(&segment.path);
    }
    assert!(pictures == expected, "{camera}: {} pictures of {}", pictures.len(), expected.len());
    assert_eq!(probed, expected.len(), "{camera}");
    assert_eq!(sounds > 20, spec.audio.is_some(), "{camera}: {sounds} frames of sound");
}

/// Keeps the times of the file: in ticks of the frame rate, which is ffmpeg's own choice, two pictures that a busy network
/// brought close together have one time.
const AS_TIMED: [&str; 7] = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"];

/// Pictures and sound decode without a complaint.
fn decode(path: &Path) {
    let output = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args(AS_TIMED).output();
    let complaints = output.expect("ffmpeg is installed").stderr;
    assert!(complaints.is_empty(), "{}: {}", path.display(), String::from_utf8_lossy(&complaints));
}
