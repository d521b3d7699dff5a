//! Clips of footage that the real recorder has made, looked at by ffmpeg picture for picture.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::clip::{ClipCause, ClipJob, ClipSettings};
use aivms_appliance_core::retention::Span;
use aivms_contract::clip::{Clip, Missing};
use aivms_contract::command::{CommandResult, Outcome};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::footage::GapCause;
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::ZoneEventType;
use aivms_footage::VideoCodec;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config;
use crate::outbox::{Outbox, OutboxSettings};
use crate::retention::needs::NeedSource;
use crate::run::KeptEvent;
use crate::state::State;
use crate::testing::footage::{HEIGHT, NUMBERS, Site, WIDTH, at, gate, number, numbered, probed, shown};

fn cutter(site: &Site) -> Cutter {
    Cutter {
        footage: site.footage.clone(),
        gate: site.gate.clone(),
        outgoing: site.outgoing.clone(),
        causes: Arc::new(site.footage.clone()),
        chain: site.chain.clone(),
    }
}

fn job(name: &str, start: i64, end: i64, about: i64) -> ClipJob {
    let cause = ClipCause::Event { id: EventId::from_parts(at(about), 1), at: at(about) };
    ClipJob { id: name.parse().unwrap(), camera_id: gate(), start: at(start), end: at(end), cause }
}

/// Cuts a clip and hands it over; returns it with its file.
fn cut(site: &Site, job: &ClipJob) -> Result<(Clip, std::path::PathBuf), CutError> {
    let cutter = cutter(site);
    let clip = cutter.hand_over(cutter.cut(job)?)?.unwrap();
    let file = site.waiting(&format!("clip-{}", clip.clip_id));
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(clip.sha256.as_deref(), Some(hex::encode(Sha256::digest(&bytes)).as_str()));
    assert_eq!(clip.size_bytes, bytes.len() as u64);
    let place = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
    assert!(place(b"moov") < place(b"mdat"), "a player can begin before it has the whole file");
    // Nobody signs here, and nothing is changed.
    let report = aivms_verify::check(&aivms_verify::Ask { paths: vec![file.clone()], ..Default::default() }).unwrap();
    assert_eq!(report.verdict, aivms_verify::Verdict::Doubtful, "{report}");
    Ok((clip, file))
}

/// The numbers that the pictures of a file tell.
fn numbers(file: &Path) -> Vec<u64> {
    shown(file).iter().map(|picture| number(picture)).collect()
}

/// Of the pictures from `from` to before `to`.
fn expected(from: u64, to: u64) -> Vec<u64> {
    (from..to).map(|number| number % NUMBERS).collect()
}

async fn a_clip_over_cuts_has_every_picture_once(codec: VideoCodec) {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(codec, 2, 7)).await;
    assert!(site.footage.summaries(&gate()).len() >= 3, "there are cuts");
    // 1.4 s is where picture 35 begins, 5.4 s where picture 135 does; 3.08 s where picture 77 does.
    let (clip, file) = cut(&site, &job("c-1", 1_400, 5_400, 3_080)).unwrap();
    assert_eq!(numbers(&file), expected(35, 135));
    assert_eq!((clip.start, clip.duration_ms, clip.missing_ms, clip.masked), (at(1_400), 4_000, 0, false));
    let offset = clip.event_offset_ms.unwrap();
    assert_eq!(numbers(&file)[usize::try_from(offset / 40).unwrap()], 77 % NUMBERS, "{offset}");
    assert_eq!(clip.event_offset_ms, Some(1_680));
    let codecs = clip.codecs.unwrap();
    let wanted = if codec == VideoCodec::H264 { "avc1." } else { "hvc1." };
    assert!(codecs.starts_with(wanted) && codecs.ends_with(",mp4a.40.2"), "{codecs}");
    let length: f64 = probed(&file, "format=duration").parse().unwrap();
    assert!((length - 4.0).abs() < 0.07, "{length}");
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_of_h264_over_cuts_has_every_picture_once_and_tells_the_event_to_the_frame() {
    a_clip_over_cuts_has_every_picture_once(VideoCodec::H264).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_of_h265_over_cuts_has_every_picture_once_and_tells_the_event_to_the_frame() {
    a_clip_over_cuts_has_every_picture_once(VideoCodec::H265).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_over_a_gap_says_what_is_missing_and_sums_up() {
    let site = Site::new(&json!([]));
    let units = numbered(VideoCodec::H264, 0, 4);
    site.record(at(0), &units).await;
    site.record(at(10_000), &units).await;
    let (clip, file) = cut(&site, &job("c-1", 2_000, 16_000, 11_000)).unwrap();
    let missing = |start, end| Missing { start: at(start), end: at(end), cause: GapCause::Camera };
    assert_eq!(clip.missing, [missing(4_000, 10_000), missing(14_000, 16_000)]);
    assert_eq!((clip.duration_ms, clip.missing_ms), (6_000, 8_000));
    assert_eq!(numbers(&file), [expected(50, 100), expected(0, 100)].concat());
    assert_eq!(clip.event_offset_ms, Some(3_000), "the gap is closed up");
    let before = cut(&site, &job("c-2", -9_000, 1_000, 0)).unwrap().0;
    assert_eq!((before.missing[0].cause, before.missing_ms), (GapCause::Deleted, 9_000));
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_without_footage_gives_no_clip_and_the_nearest_footage_is_named() {
    let site = Site::new(&json!([]));
    let error = cut(&site, &job("c-1", 0, 1_000, 0)).unwrap_err();
    assert!(error.to_string().contains("there is none of this camera at all"), "{error}");
    site.record(at(0), &numbered(VideoCodec::H264, 0, 2)).await;
    let error = cut(&site, &job("c-1", 60_000, 61_000, 60_000)).unwrap_err().to_string();
    assert!(error.contains(&format!("the nearest ends at {}", at(2_000))), "{error}");
    site.recorder.close().await;
}

async fn a_masked_clip_is_black_inside_and_keeps_every_picture(codec: VideoCodec) {
    let site = Site::new(&json!([[[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]]));
    site.record(at(0), &numbered(codec, 2, 5)).await;
    let (clip, file) = cut(&site, &job("c-1", 1_400, 4_000, 2_000)).unwrap();
    assert!(clip.masked && clip.codecs.as_deref().is_some_and(|codecs| codecs.starts_with("avc1.")), "{clip:?}");
    assert!(clip.codecs.unwrap().ends_with(",mp4a.40.2"), "sound is passed through");
    assert_eq!((clip.start, clip.duration_ms, clip.event_offset_ms), (at(1_400), 2_600, Some(600)));
    let pictures = shown(&file);
    assert_eq!(pictures.iter().map(|picture| number(picture)).collect::<Vec<_>>(), expected(35, 100));
    for picture in &pictures {
        let inside = (HEIGHT / 2 + 8..HEIGHT).flat_map(|y| (WIDTH / 2 + 8..WIDTH).map(move |x| y * WIDTH + x));
        assert!(inside.map(|at| picture[at]).max().unwrap() <= 24);
        let outside = picture[..(HEIGHT / 2 - 8) * WIDTH].iter();
        let (least, most) = (outside.clone().min().unwrap(), outside.max().unwrap());
        assert!(most - least <= 6, "the rest is as it was: {least} to {most}");
    }
    let folder = std::fs::read_dir(site.dir.path().join("outgoing")).unwrap();
    assert!(folder.count() == 2, "no draft is left beside the clip and its job");
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_clip_of_h264_is_black_inside_and_keeps_every_picture() {
    a_masked_clip_is_black_inside_and_keeps_every_picture(VideoCodec::H264).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_clip_of_h265_is_black_inside_and_keeps_every_picture() {
    a_masked_clip_is_black_inside_and_keeps_every_picture(VideoCodec::H265).await;
}

/// The service over a site, and what it says.
struct Service {
    outbox: Outbox,
    clips: Clips,
    events: tokio::sync::broadcast::Sender<Arc<KeptEvent>>,
    answers: mpsc::Receiver<CommandResult>,
    needed: NeedSource,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Service {
    fn start(site: &Site) -> Self {
        Self::with(site, cutter(site))
    }

    fn with(site: &Site, cutter: Cutter) -> Self {
        let (state, _) = State::open(site.dir.path().join("state")).unwrap();
        let settings = OutboxSettings {
            dir: site.dir.path().join("outbox"),
            max_bytes: 1 << 20,
            group_time: Duration::from_millis(20),
        };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        let (answer, answers) = mpsc::channel(4);
        let (clips, asks) = channel();
        let (need, needed) = watch::channel(None);
        let events = tokio::sync::broadcast::channel(16).0;
        let lengths =
            ClipSettings { pre_roll: Duration::from_secs(1), post_roll: Duration::from_secs(1), ..Default::default() };
        let service = ClipService {
            cutter,
            settings: config::Clips { events: vec![ZoneEventType::Enter], lengths },
            outbox: outbox.clone(),
            answers: answer,
            needed: need,
            data_dir: site.dir.path().to_owned(),
        };
        let stop = CancellationToken::new();
        let work = tokio::spawn(service.run(asks, events.subscribe(), stop.clone()));
        Self { outbox, clips, events, answers, needed, stop, work }
    }

    fn event(&self, id: EventId, at: UtcMillis, event_type: ZoneEventType) {
        let event = json!({"camera_id": "gate", "zone_id": "door", "timestamp": at, "event_type": event_type,
            "object_class": "person", "confidence": 0.5, "track_id": "t1", "bbox": [0.0, 0.0, 1.0, 1.0],
            "frame": {"width": 10, "height": 10}});
        self.events.send(Arc::new(KeptEvent { id, event: serde_json::from_value(event).unwrap() })).unwrap();
    }

    /// The next clip that is told to the cloud.
    async fn told(&self) -> Clip {
        let mut kept = self.outbox.kept();
        tokio::time::timeout(Duration::from_secs(60), kept.wait_for(|seq| *seq > 0)).await.unwrap().unwrap();
        let entries = self.outbox.read_after(0, 1, usize::MAX).await.unwrap();
        match Envelope::from_json(&entries[0].json).unwrap().body {
            Body::Clips(clip) => clip,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.work.await.unwrap();
        self.outbox.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_named_kind_becomes_a_clip_that_names_it_and_waits_for_the_cloud() {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(VideoCodec::H264, 0, 5)).await;
    let service = Service::start(&site);
    let id = EventId::from_parts(at(2_000), 5);
    service.event(EventId::from_parts(at(500), 4), at(500), ZoneEventType::Exit);
    service.event(id, at(2_000), ZoneEventType::Enter);
    let clip = service.told().await;
    assert_eq!((clip.event_id, clip.event_offset_ms), (Some(id), Some(1_000)));
    assert_eq!((clip.start, clip.duration_ms), (at(1_000), 2_000));
    assert!(site.waiting(&format!("clip-{}", clip.clip_id)).exists());
    service.stop().await;
    site.recorder.close().await;
}

#[test]
fn more_requests_for_clips_than_can_be_taken_on_are_refused_without_waiting() {
    let (clips, _asks) = channel();
    let ask = |number: u64| clips.request(format!("c{number}").parse().unwrap(), gate(), at(0), 1);
    let refused: Vec<_> = (0..1_000).filter_map(|number| ask(number).err()).collect();
    assert!(refused.len() > 900 && refused[0].contains("too many clips are waiting"), "{refused:?}");
}

/// Sets a mask when it is asked for causes, which is while a clip is cut.
struct MasksMeanwhile(crate::masks::GateKeeper);

impl Causes for MasksMeanwhile {
    fn causes(&self, _: &aivms_contract::id::CameraId, start: UtcMillis, end: UtcMillis) -> Vec<Missing> {
        let cameras = json!({"cameras": [{"id": "gate", "url": "file:///a",
            "privacy_masks": [[[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]]}]});
        let cameras: aivms_contract::desired::CamerasFile = serde_json::from_value(cameras).unwrap();
        self.0.set(cameras.cameras.as_slice());
        vec![Missing { start, end, cause: GapCause::Camera }]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_is_cut_again_with_a_mask_that_was_set_meanwhile() {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(VideoCodec::H264, 0, 2)).await;
    let cutter = Cutter { causes: Arc::new(MasksMeanwhile(site.keeper.clone())), ..cutter(&site) };
    let mut service = Service::with(&site, cutter);
    service.clips.request("ask".parse().unwrap(), gate(), at(1_000), 2_000).unwrap();
    let answer = service.answers.recv().await.unwrap();
    assert_eq!((answer.outcome, &answer.data["masked"]), (Outcome::Succeeded, &json!(true)));
    assert!(service.told().await.masked);
    service.stop().await;
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_clip_is_answered_when_it_is_cut_and_a_refused_one_at_once() {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(VideoCodec::H264, 0, 4)).await;
    let mut service = Service::start(&site);
    service.clips.request("c0".parse().unwrap(), gate(), at(0), 0).unwrap();
    let refused = service.answers.recv().await.unwrap();
    assert_eq!((refused.id.as_str(), refused.outcome), ("c0", Outcome::Failed));
    assert_eq!(refused.reason.as_deref(), Some("duration_ms: must be at least 1"));
    service.clips.request("ask".parse().unwrap(), gate(), at(1_000), 2_000).unwrap();
    let answer = service.answers.recv().await.unwrap();
    assert_eq!((answer.id.as_str(), answer.outcome), ("ask", Outcome::Succeeded));
    assert_eq!((&answer.data["clip_id"], &answer.data["duration_ms"]), (&json!("c-ask"), &json!(2_000)));
    assert_eq!(service.told().await.command_id, Some("ask".parse().unwrap()));
    service.clips.request("late".parse().unwrap(), gate(), at(600_000), 1_000).unwrap();
    let answer = service.answers.recv().await.unwrap();
    assert_eq!(answer.outcome, Outcome::Failed);
    assert!(answer.reason.unwrap().contains("the nearest ends at"));
    service.stop().await;
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_that_a_restart_interrupts_is_cut_after_it_under_the_same_id() {
    let site = Site::new(&json!([]));
    let service = Service::start(&site);
    let soon = crate::clock::now() + Duration::from_secs(3_600 / 4);
    service.clips.request("later".parse().unwrap(), gate(), soon, 2_000).unwrap();
    let jobs = super::jobs::JobsFile::new(site.dir.path());
    crate::testing::eventually("the request is on the disk", || !jobs.read().waiting.is_empty()).await;
    service.stop().await;
    let mut left = jobs.read();
    assert_eq!(left.waiting.len(), 1);
    assert_eq!(left.waiting[0].id.as_str(), "c-later");
    // As if that time had come.
    (left.waiting[0].start, left.waiting[0].end) = (at(0), at(1_000));
    jobs.write(&left).unwrap();
    site.record(at(0), &numbered(VideoCodec::H264, 0, 2)).await;
    let mut service = Service::start(&site);
    let answer = service.answers.recv().await.unwrap();
    assert_eq!((answer.id.as_str(), &answer.data["clip_id"]), ("later", &json!("c-later")));
    service.stop().await;
    assert!(jobs.read().waiting.is_empty());
    // The answer was lost, the cloud asks again: the same work is done, and what waits for the cloud is the same file.
    let mut service = Service::start(&site);
    service.clips.request("later".parse().unwrap(), gate(), at(0), 1_000).unwrap();
    assert_eq!(service.answers.recv().await.unwrap().data, answer.data);
    service.stop().await;
    site.recorder.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_knows_what_is_still_to_be_cut_also_after_a_restart_and_no_longer_than_that() {
    let site = Site::new(&json!([]));
    site.record(at(0), &numbered(VideoCodec::H264, 0, 4)).await;
    let mut service = Service::start(&site);
    let soon = crate::clock::now() + Duration::from_secs(900);
    service.clips.request("later".parse().unwrap(), gate(), soon, 2_000).unwrap();
    let later = Some(vec![(gate(), Span { start: soon, end: soon + Duration::from_secs(2) })]);
    let _ = service.needed.wait_for(|needed| *needed == later).await.unwrap();
    service.clips.request("now".parse().unwrap(), gate(), at(1_000), 2_000).unwrap();
    assert_eq!(service.answers.recv().await.unwrap().outcome, Outcome::Succeeded);
    assert!(service.needed.has_changed().unwrap(), "it was needed in between");
    assert_eq!(*service.needed.borrow(), later);
    service.stop().await;
    let mut service = Service::start(&site);
    assert_eq!(*service.needed.wait_for(Option::is_some).await.unwrap(), later);
    service.stop().await;
    site.recorder.close().await;
}
