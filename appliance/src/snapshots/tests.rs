//! Pictures taken out of footage that the real recorder has made.

use std::path::Path;
use std::time::Duration;

use aivms_appliance_core::analysis::BestPicture;
use aivms_contract::command::Outcome;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::EventId;
use aivms_contract::snapshot::{Pictured, Snapshot};
use aivms_contract::time::UtcMillis;
use aivms_footage::VideoCodec;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::taker::Wish;
use super::*;
use crate::clock;
use crate::config;
use crate::outbox::{Outbox, OutboxSettings};
use crate::run::KeptEvent;
use crate::state::State;
use crate::testing::footage::{HEIGHT, NUMBERS, Site, WIDTH, at, gate, numbered};

fn taker(site: &Site) -> Taker {
    Taker {
        footage: site.footage.clone(),
        gate: site.gate.clone(),
        outgoing: site.outgoing.clone(),
        boxes: RecentBoxes::default(),
    }
}

fn taken(taker: &Taker, wish: Wish, now: UtcMillis) -> Result<Snapshot, TakeError> {
    taker.hand_over(taker.take(wish, now)?)
}

fn wish(name: &str, at: Option<UtcMillis>) -> Wish {
    let id = name.parse().unwrap();
    Wish { id, camera: gate(), at, object: None, boxes: false, event: None, command: None }
}

/// The brightness of a JPEG's pixels, as they were in the video.
fn pixels(file: &Path) -> Vec<u8> {
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "mjpeg", "-i"])
        .arg(file)
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    assert_eq!(output.stdout.len(), WIDTH * HEIGHT);
    output.stdout.into_iter().map(|value| u8::try_from(u32::from(value) * 219 / 255 + 16).unwrap()).collect()
}

fn number(picture: &[u8]) -> u64 {
    u64::from(picture[4 * WIDTH + 4].saturating_sub(38)) / 4
}

async fn a_snapshot_shows_exactly_the_picture_of_its_time(codec: VideoCodec) {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(codec, 2, 4)).await;
    let taker = taker(&site);
    for (name, millis, picture) in [("s-1", 0, 0), ("s-2", 1_000, 25), ("s-3", 2_759, 68), ("s-4", 2_760, 69)] {
        let snapshot = taken(&taker, wish(name, Some(at(millis))), at(0)).unwrap();
        let pixels = pixels(&site.waiting(&format!("snapshot-{name}")));
        assert_eq!(
            (number(&pixels), snapshot.timestamp),
            (picture % NUMBERS, at(picture.cast_signed() * 40)),
            "{name}"
        );
        assert_eq!(snapshot.frame, FrameSize { width: 128, height: 96 });
    }
    let error = taken(&taker, wish("s-5", Some(at(60_000))), at(0)).unwrap_err().to_string();
    assert!(error.contains("gate") && error.contains("no footage"), "{error}");
    let now = at(3_500);
    assert_eq!(taken(&taker, wish("s-6", None), now).unwrap().timestamp, at(3_960), "the newest for now");
    assert!(taken(&taker, wish("s-7", None), at(60_000)).is_err(), "too old for now");
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_h264_shows_exactly_the_picture_of_its_time() {
    a_snapshot_shows_exactly_the_picture_of_its_time(VideoCodec::H264).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_h265_shows_exactly_the_picture_of_its_time() {
    a_snapshot_shows_exactly_the_picture_of_its_time(VideoCodec::H265).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_black_where_the_mask_is_and_a_box_is_drawn_only_when_asked_for() {
    let site = Site::new(&json!([[[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]]));
    site.record(at(0), &numbered(VideoCodec::H264, 0, 2)).await;
    let object = Pictured {
        track_id: "t1".parse().unwrap(),
        object_class: "person".to_owned(),
        confidence: 0.9,
        bbox: PixelBox::new(100.0, 50.0, 600.0, 350.0).unwrap(),
    };
    // Analysed in a picture five times as large.
    let analysed = FrameSize { width: 640, height: 480 };
    let taker = taker(&site);
    for (name, boxes) in [("s-1", false), ("s-2", true)] {
        let object = Some((object.clone(), analysed));
        let snapshot = taken(&taker, Wish { object, boxes, ..wish(name, Some(at(400))) }, at(0)).unwrap();
        assert!(snapshot.masked && snapshot.boxes == boxes);
        assert_eq!(snapshot.object.unwrap().bbox, PixelBox::new(20.0, 10.0, 120.0, 70.0).unwrap());
        let pixels = pixels(&site.waiting(&format!("snapshot-{name}")));
        let inside = (HEIGHT / 2 + 4..HEIGHT).flat_map(|y| (WIDTH / 2 + 4..WIDTH).map(move |x| y * WIDTH + x));
        assert!(inside.map(|at| pixels[at]).max().unwrap() <= 20, "also where the box would be");
        let (on_the_line, elsewhere) = (pixels[11 * WIDTH + 60], pixels[4 * WIDTH + 60]);
        assert_eq!(on_the_line.abs_diff(elsewhere) > 30, boxes, "{on_the_line} {elsewhere}");
    }
    let boxes = Wish { boxes: true, ..wish("s-3", Some(at(400))) };
    assert!(matches!(taken(&taker, boxes, at(0)), Err(TakeError::NoBoxes(_))), "nothing was analysed");
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_taken_before_a_mask_was_set_does_not_leave() {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(VideoCodec::H264, 0, 2)).await;
    let taker = taker(&site);
    let draft = taker.take(wish("s-1", Some(at(400))), at(0)).unwrap();
    site.mask(&json!([[[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]]));
    let refused = taker.hand_over(draft);
    assert!(matches!(refused, Err(TakeError::MasksChanged)), "{refused:?}");
    assert_eq!(std::fs::read_dir(site.dir.path().join("outgoing")).unwrap().count(), 0);
    assert!(taken(&taker, wish("s-1", Some(at(400))), at(0)).unwrap().masked);
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_with_an_event_gets_one_picture_that_names_it_and_commands_are_answered() {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(VideoCodec::H264, 0, 4)).await;
    let (state, _) = State::open(site.dir.path().join("state")).unwrap();
    let dir = site.dir.path().join("outbox");
    let settings = OutboxSettings { dir, max_bytes: 1 << 20, group_time: Duration::from_millis(20) };
    let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
    let (answer, mut answers) = mpsc::channel(4);
    let settings = config::Snapshots { events: true, tracks: false, boxes: false };
    let service = SnapshotService { taker: taker(&site), settings, outbox: outbox.clone(), answers: answer };
    let ((sink, pictures), (snapshots, asks)) = (channel(), requests());
    let (events, stop) = (broadcast::channel(16).0, CancellationToken::new());
    let work = tokio::spawn(service.run(asks, pictures, events.subscribe(), stop.clone()));

    let id = EventId::from_parts(at(1_000), 3);
    let event = json!({"camera_id": "gate", "zone_id": "door", "timestamp": at(1_000), "event_type": "enter",
        "object_class": "person", "confidence": 0.5, "track_id": "t1", "bbox": [0.0, 0.0, 1.0, 1.0],
        "frame": {"width": 10, "height": 10}});
    events.send(Arc::new(KeptEvent { id, event: serde_json::from_value(event).unwrap() })).unwrap();
    let picture = |track: &str, has_event| BestPicture {
        camera_id: gate(),
        at: at(1_400),
        object: Pictured {
            track_id: track.parse().unwrap(),
            object_class: "person".to_owned(),
            confidence: 0.9,
            bbox: PixelBox::new(0.0, 0.0, 5.0, 5.0).unwrap(),
        },
        frame: FrameSize { width: 10, height: 10 },
        has_event,
    };
    sink.offer(vec![picture("t2", false), picture("t1", true)]);
    let snapshot = told(&outbox, 0).await;
    assert_eq!((snapshot.event_id, snapshot.timestamp), (Some(id), at(1_400)), "and none of the track without one");
    assert_eq!(snapshot.object.unwrap().track_id.as_str(), "t1");

    snapshots.request("ask".parse().unwrap(), gate(), Some(at(2_000)), false).unwrap();
    let answer = answers.recv().await.unwrap();
    assert_eq!((answer.outcome, &answer.data["snapshot_id"]), (Outcome::Succeeded, &json!("s-ask")));
    snapshots.request("never".parse().unwrap(), gate(), Some(clock::now()), false).unwrap();
    assert_eq!(answers.recv().await.unwrap().outcome, Outcome::Failed);
    stop.cancel();
    work.await.unwrap();
    outbox.close().await;
    site.recorder.close().await;
}

/// The snapshot that is told to the cloud after place `after`.
async fn told(outbox: &Outbox, after: u64) -> Snapshot {
    let mut kept = outbox.kept();
    tokio::time::timeout(Duration::from_secs(60), kept.wait_for(|seq| *seq > after)).await.unwrap().unwrap();
    let entries = outbox.read_after(after, 1, usize::MAX).await.unwrap();
    match Envelope::from_json(&entries[0].json).unwrap().body {
        Body::Snapshots(snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}
