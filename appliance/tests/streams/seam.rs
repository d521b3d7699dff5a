//! What a consumer is told of a camera, whatever the camera's source is.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::pipeline::access_unit::fan_out;
use aivms_appliance::pipeline::consumer::{StreamEnd, StreamRole};
use aivms_appliance::pipeline::source::address::Address;
use aivms_appliance::pipeline::source::{Source, SourceOutput};
use aivms_appliance_core::supervise::Failure;
use serde_json::json;

use crate::consumer::{Counting, PATIENCE, eventually};
use crate::spawn;

fn junction(url: &str) -> serde_json::Value {
    json!({ "id": "junction", "url": url })
}

fn video() -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/video/vtest.avi");
    let file = std::path::absolute(file).unwrap();
    assert!(file.exists(), "{} is missing: run `make setup`", file.display());
    format!("file://{}", file.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_every_unit_from_the_first_on_and_the_reason_of_each_end() {
    let counting = Arc::new(Counting::default());
    let camera = spawn(junction(&video()), &counting);
    let first = counting.connection("junction", 0, 5).await;
    camera.restart();
    let second = counting.connection("junction", 1, 5).await;
    camera.stop().await;
    for seen in [first, second] {
        let units = seen.units.lock().unwrap();
        assert!(units[0].key, "it begins with the first unit");
        assert_eq!(seen.clock.utc(units[0].at).since(seen.clock.zero_at), units[0].at.since(Default::default()));
        assert!(units.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert_eq!((seen.role, *seen.lost.lock().unwrap()), (StreamRole::Main, 0));
    }
    let ends: Vec<_> = counting.ends("junction").into_iter().map(|(_, end, _)| end).collect();
    assert_eq!(ends, [StreamEnd::Restarted, StreamEnd::Stopped]);
}

/// Plays a file for somebody who wants no sound; says how many of 40 pictures came.
async fn play_unheard(file: std::path::PathBuf) -> Result<usize, tokio::task::JoinError> {
    let (sender, mut units) = fan_out();
    let (output, _ends) = SourceOutput::new(sender);
    let source = tokio::task::spawn_blocking(move || Source::start(&Address::File(file), output).unwrap()).await?;
    let mut came = 0;
    while came < 40 && matches!(tokio::time::timeout(PATIENCE, units.recv()).await, Ok(Ok(_))) {
        came += 1;
    }
    tokio::task::spawn_blocking(move || source.stop()).await.map(|()| came)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sound_of_a_file_plays_with_its_pictures_over_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tone.mp4");
    let ffmpeg = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15:duration=2"])
        .args(["-f", "lavfi", "-i", "sine=sample_rate=16000:duration=2", "-c:v", "libx264", "-g", "15"])
        .args(["-pix_fmt", "yuv420p", "-c:a", "aac"])
        .arg(&file)
        .status();
    assert!(ffmpeg.unwrap().success());
    let counting = Arc::new(Counting::default());
    let camera = spawn(junction(&format!("file://{}", file.display())), &counting);
    let seen = counting.connection("junction", 0, 70).await;
    camera.stop().await;
    let unheard = play_unheard(file).await;
    assert_eq!(unheard.unwrap(), 40, "the pictures come also where nobody listens");
    let (units, sound) = (seen.units.lock().unwrap(), seen.sound.lock().unwrap());
    assert_eq!((sound[0].format.sample_rate, sound[0].format.channels), (16_000, 1));
    let (last, picture) = (sound[sound.len() - 1].at, units[units.len() - 1].at);
    assert!(picture.since(last) < Duration::from_millis(400), "{last:?} {picture:?}");
    assert!(sound.windows(2).all(|two| two[0].at <= two[1].at), "time goes on");
    let frames = picture.since(units[0].at).as_millis() / 64;
    assert!(sound.len() as u128 + 8 > frames, "{} of {frames} frames", sound.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_that_fails_is_told_with_its_cause() {
    let counting = Arc::new(Counting::default());
    let camera = spawn(junction("file:///nothing/here.mp4"), &counting);
    let ends = eventually("two failures", || Some(counting.ends("junction")).filter(|ends| ends.len() >= 2)).await;
    assert!(ends.iter().all(|(role, end, _)| (*role, end) == (StreamRole::Main, &StreamEnd::Failed(Failure::Missing))));
    assert!(counting.connections("junction").is_empty());
    camera.stop().await;
    assert_eq!(counting.ends("junction").last().unwrap().1, StreamEnd::Stopped);
}
