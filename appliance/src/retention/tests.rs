//! Retention on a real disk: real segments, the real recorder's index, the real chain, outbox and state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::clip::ClipSettings;
use aivms_appliance_core::retention::Span;
use aivms_contract::desired::Recording;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::footage::{DeletionReason, FootageEvent};
use aivms_contract::geometry::FrameSize;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::{
    Fragment, FragmentTable, Sample, SegmentAbout, Tracks, VideoCodec, VideoTrack, init_segment, write_fragment,
    write_tail,
};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::locking::Locking;
use super::locks::{Lock, Locks};
use super::needs::{Needs, Surroundings};
use super::*;
use crate::chain::{Chain, ChainSettings};
use crate::outbox::OutboxSettings;
use crate::recorder::{Folders, Recorder, RecorderSettings, RecordingPolicy, SegmentKey};
use crate::state::State;

/// Longest wait for what is to happen within some passes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An edge with footage and nothing else.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) state: State,
    pub(crate) outbox: Outbox,
}

/// What runs on it.
pub(crate) struct Parts {
    recorder: Recorder,
    pub(crate) footage: Footage,
    pub(crate) chain: Chain,
    pub(crate) locks: Locks,
    policy: watch::Sender<Arc<RecordingPolicy>>,
}

pub(crate) fn camera(name: &str) -> CameraId {
    name.parse().unwrap()
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(dir.path().join("state")).unwrap();
        let settings = OutboxSettings {
            dir: dir.path().join("outbox"),
            max_bytes: 64 << 20,
            group_time: Duration::from_millis(5),
        };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        Self { dir, state, outbox }
    }

    pub(crate) fn folders(&self) -> Folders {
        Folders { fast: self.dir.path().join("fast"), slow: Some(self.dir.path().join("nas/slow")) }
    }

    /// Lays down a closed segment of a minute with `bytes` of video, as a recorder would have left it.
    pub(crate) fn lay(&self, name: &str, start: UtcMillis, bytes: usize) -> PathBuf {
        let key = SegmentKey { camera: camera(name), start };
        let path = self.folders().file(&key, DiskTier::Fast);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A baseline configuration; nothing here decodes it.
        let config = [1, 66, 0, 30, 0xff, 0xe1, 0, 4, 0x67, 66, 0, 30, 1, 0, 4, 0x68, 0xce, 0x38, 0x80];
        let video = VideoTrack {
            codec: VideoCodec::H264,
            frame: FrameSize { width: 320, height: 240 },
            config: Bytes::copy_from_slice(&config),
        };
        let about = SegmentAbout { edge: None, camera: camera(name), start };
        let mut file = init_segment(&Tracks { video, audio: None }, &about);
        let mut unit = vec![0x55; bytes];
        unit[..5].copy_from_slice(&[&u32::try_from(bytes - 4).unwrap().to_be_bytes()[..], &[0x65]].concat());
        let sample = Sample { dts: 0, composition: 0, duration: 60 * 90_000, key: true, data: unit.into() };
        let fragment = Fragment { wall: start, video: vec![sample], audio: Vec::new() };
        let offset = u64::try_from(file.len()).unwrap();
        let info = write_fragment(&fragment, 1, offset, &mut file).unwrap();
        file.extend(write_tail(&FragmentTable { fragments: vec![info] }));
        std::fs::write(&path, file).unwrap();
        path
    }

    /// Lays down `count` segments that end now, and gives their files, oldest first.
    pub(crate) fn lay_until_now(&self, name: &str, count: u64, bytes: usize) -> Vec<PathBuf> {
        let now = clock::now();
        let start = |number: u64| now - Duration::from_secs((count - number) * 60);
        (0..count).map(|number| self.lay(name, start(number), bytes)).collect()
    }

    /// Opens the recorder over what lies there.
    pub(crate) async fn open(&self, site: Recording) -> Parts {
        let (policy, changes) = watch::channel(Arc::new(RecordingPolicy::new(site, [])));
        let settings = RecorderSettings {
            data_dir: self.dir.path().to_owned(),
            folders: self.folders(),
            segment: Duration::from_secs(60),
            sync: Duration::from_secs(1),
            edge: None,
        };
        let (recorder, footage) = Recorder::open(settings, changes, |_| {}).unwrap();
        let chains = ChainSettings {
            recordings: self.folders().fast,
            slow: self.folders().slow,
            edge: "edge_1".parse().unwrap(),
        };
        let (chain, writer) = Chain::new(chains, watch::channel(None).1);
        std::thread::spawn(|| writer.run());
        footage.readiness().wait_for(|ready| *ready == Readiness::Complete).await.unwrap();
        Parts { recorder, footage, chain, locks: Locks::open(self.state.clone()), policy }
    }

    /// What the outbox holds on footage.
    pub(crate) async fn told(&self) -> Vec<(CameraId, FootageEvent)> {
        let entries = self.outbox.read_after(0, 1000, usize::MAX).await.unwrap();
        let event = |json: &[u8]| match Envelope::from_json(json).unwrap().body {
            Body::Footage(footage) => Some((footage.camera_id, footage.event)),
            _ => None,
        };
        entries.iter().filter_map(|entry| event(&entry.json)).collect()
    }
}

impl Parts {
    fn retention(&self, site: &Site, floor_bytes: u64) -> Retention {
        Retention {
            footage: self.footage.clone(),
            policy: self.policy.subscribe(),
            floor_bytes,
            locks: self.locks.clone(),
            needs: Needs::new(Some(site.outbox.clone()), usual(), Vec::new()),
            chain: self.chain.clone(),
            outbox: site.outbox.clone(),
            cloud: None,
            board: Board::default(),
        }
    }

    fn locking(&self, site: &Site) -> Locking {
        Locking {
            locks: self.locks.clone(),
            footage: self.footage.clone(),
            chain: self.chain.clone(),
            outbox: site.outbox.clone(),
        }
    }

    /// Runs retention until `is_done`, then stops it in order.
    async fn clean_until(&self, site: &Site, is_done: impl Fn() -> bool) -> Board {
        self.clean(self.retention(site, 0), is_done).await
    }

    async fn clean(&self, retention: Retention, is_done: impl Fn() -> bool) -> Board {
        let (board, stop) = (retention.board.clone(), CancellationToken::new());
        let work = tokio::spawn(retention.run(stop.clone()));
        eventually(is_done).await;
        stop.cancel();
        work.await.unwrap();
        board
    }

    pub(crate) async fn close(self) {
        self.recorder.close().await;
    }
}

pub(crate) async fn eventually(is_done: impl Fn() -> bool) {
    let wait = async {
        while !is_done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens in time");
}

/// With clips of the usual lengths.
fn usual() -> Surroundings {
    Surroundings::of(&ClipSettings::default())
}

fn alert(at: UtcMillis) -> Body {
    Body::Alerts(aivms_contract::alert::Alert {
        camera_id: camera("door"),
        timestamp: at,
        alert_type: "test".to_owned(),
        severity: aivms_contract::alert::Severity::Info,
        title: String::new(),
        clip_id: None,
        event_id: None,
    })
}

fn recording(json: &serde_json::Value) -> Recording {
    serde_json::from_value(json.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_over_its_bytes_loses_its_oldest_files_after_the_chain_and_before_the_rows_and_the_cloud_is_told() {
    let site = Site::new();
    // Ninety minutes of a MiB each; 80 MiB are allowed.
    let files = site.lay_until_now("door", 90, 1 << 20);
    let parts = site.open(recording(&serde_json::json!({"max_gib": 80.5 / 1024.0}))).await;
    assert_eq!(parts.footage.summaries(&camera("door")).len(), 90);
    let board = parts.clean_until(&site, || !files[9].exists()).await;

    assert!(files[..10].iter().all(|file| !file.exists()) && files[10..].iter().all(|file| file.exists()));
    assert_eq!(parts.footage.summaries(&camera("door")).len(), 80);
    let told = site.told().await;
    let [(told_camera, FootageEvent::Deleted(deleted))] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told_camera, deleted.reason), (&camera("door"), DeletionReason::CameraBytes));
    assert_eq!(deleted.end.since(deleted.start).as_secs(), 600);
    assert!(parts.chain.head(&camera("door")).is_some(), "the chain has the deletion");
    let vitals = board.vitals();
    assert_eq!(vitals.disks.len(), 1, "the slow disk is not mounted");
    assert!(vitals.status.problems.iter().any(|problem| problem.contains("slow disk")));
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_footage_outlives_its_limit_a_restart_and_a_lost_index() {
    let site = Site::new();
    let files = site.lay_until_now("door", 90, 1 << 20);
    let policy = recording(&serde_json::json!({"max_gib": 70.5 / 1024.0}));
    let parts = site.open(policy.clone()).await;
    let first = parts.footage.oldest(&camera("door")).unwrap();
    let lock = Lock {
        camera_id: camera("door"),
        start: first,
        end: first + Duration::from_secs(300),
        reason: "theft".to_owned(),
    };
    let id: aivms_contract::id::LockId = "lock1".parse().unwrap();
    let answer = parts.locking(&site).lock(id.clone(), lock.clone()).await.unwrap();
    assert_eq!((answer["recorded_ms"].as_u64(), answer["missing_ms"].as_u64()), (Some(300_000), Some(0)));
    assert!(answer["bytes"].as_u64().unwrap() > 5 << 20, "what it costs");
    // Given again, as after a crash before the answer.
    assert_eq!(parts.locking(&site).lock(id.clone(), lock).await.unwrap(), answer);
    parts.close().await;

    std::fs::remove_dir_all(site.dir.path().join("index")).unwrap();
    let parts = site.open(policy).await;
    parts.clean_until(&site, || !files[24].exists()).await;
    assert!(files[..5].iter().all(|file| file.exists()), "what is locked stays");
    assert!(files[5..25].iter().all(|file| !file.exists()) && files[25..].iter().all(|file| file.exists()));
    let locked = |told: &[(CameraId, FootageEvent)]| {
        told.iter().filter(|(_, event)| matches!(event, FootageEvent::Locked(_))).count()
    };
    assert_eq!(locked(&site.told().await), 1, "told once");

    // Without the lock it goes as the rest did.
    assert_eq!(parts.locking(&site).unlock(id.clone()).await.unwrap()["was_locked"], true);
    assert_eq!(parts.locking(&site).unlock(id).await.unwrap()["was_locked"], false);
    site.lay("door", clock::now() - Duration::from_secs(600_000), 6 << 20);
    parts.close().await;
    let parts = site.open(recording(&serde_json::json!({"max_gib": 65.5 / 1024.0}))).await;
    parts.clean_until(&site, || !files[4].exists()).await;
    parts.close().await;
}

/// Which of the files are still there.
fn left(files: &[PathBuf]) -> Vec<bool> {
    files.iter().map(|file| file.exists()).collect()
}

/// A site with ten segments of a MiB more than it may keep: its files from the oldest on, and when that one begins.
async fn overfull() -> (Site, Vec<PathBuf>, Parts, UtcMillis) {
    let site = Site::new();
    let files = site.lay_until_now("door", 90, 1 << 20);
    let parts = site.open(recording(&serde_json::json!({"max_gib": 80.5 / 1024.0}))).await;
    let oldest = parts.footage.oldest(&camera("door")).unwrap();
    (site, files, parts, oldest)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unacknowledged_event_needs_stays_until_the_cloud_has_it() {
    let (site, files, parts, oldest) = overfull().await;
    let seq = site.outbox.append(alert(oldest + Duration::from_secs(100))).await.unwrap();
    parts.clean_until(&site, || !files[11].exists()).await;
    // From 85 s to 130 s: the second and the third segment.
    let left = left(&files);
    assert_eq!(left[..13], [false, true, true, false, false, false, false, false, false, false, false, false, true]);

    site.outbox.acknowledge(seq).await.unwrap();
    site.lay("door", oldest - Duration::from_secs(600), 2 << 20);
    parts.close().await;
    let parts = site.open(recording(&serde_json::json!({"max_gib": 77.5 / 1024.0}))).await;
    parts.clean_until(&site, || !files[2].exists()).await;
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_keeps_all_that_its_clip_shows_however_long_clips_are() {
    let (site, files, parts, oldest) = overfull().await;
    site.outbox.append(alert(oldest + Duration::from_secs(100))).await.unwrap();
    let minute = Duration::from_secs(60);
    let lengths = ClipSettings { pre_roll: minute, post_roll: minute, ..ClipSettings::default() };
    let needs = Needs::new(Some(site.outbox.clone()), Surroundings::of(&lengths), Vec::new());
    let retention = Retention { needs, ..parts.retention(&site, 0) };
    parts.clean(retention, || !files[12].exists()).await;
    // From 40 s to 160 s: the first three segments.
    let left = left(&files);
    assert!(left[..3].iter().all(|left| *left) && left[3..13].iter().all(|left| !left) && left[13], "{left:?}");
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_that_is_not_cut_yet_keeps_its_footage_and_nothing_goes_before_the_clips_are_known() {
    let (site, files, parts, oldest) = overfull().await;
    let (clips, needed) = watch::channel(None);
    let needs = |needed| Needs::new(Some(site.outbox.clone()), usual(), vec![needed]);
    let mut early = needs(needed.clone());
    let early = tokio::time::timeout(Duration::from_millis(100), early.spans()).await;
    assert!(early.is_err(), "it waits for the list of clips");
    let span = Span { start: oldest + Duration::from_secs(70), end: oldest + Duration::from_secs(130) };
    clips.send_replace(Some(vec![(camera("door"), span)]));
    let retention = Retention { needs: needs(needed.clone()), ..parts.retention(&site, 0) };
    parts.clean(retention, || !files[11].exists()).await;
    let left = left(&files);
    assert_eq!(left[..4], [false, true, true, false], "the second and the third segment");
    assert!(left[12..].iter().all(|left| *left));

    // Once it is cut, they go as the others did.
    clips.send_replace(Some(Vec::new()));
    parts
        .policy
        .send_replace(Arc::new(RecordingPolicy::new(recording(&serde_json::json!({"max_gib": 77.5 / 1024.0})), [])));
    let retention = Retention { needs: needs(needed), ..parts.retention(&site, 0) };
    parts.clean(retention, || !files[2].exists()).await;
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn footage_that_moves_to_the_slow_disk_is_found_there() {
    let site = Site::new();
    std::fs::create_dir(site.dir.path().join("nas")).unwrap();
    let files = site.lay_until_now("door", 2, 1 << 20);
    let parts = site.open(Recording::default()).await;
    let around = Around {
        policy: Arc::default(),
        locks: std::collections::BTreeMap::new(),
        needs: std::collections::BTreeMap::new(),
        floor_bytes: 0,
        limits: Limits::default(),
        held: Vec::new(),
        is_slow_refusing: false,
    };
    let (holdings, problems) = survey::survey(&parts.footage, &around).unwrap();
    assert!(problems.is_empty() && holdings.slow.is_some(), "{problems:?}");
    let segment = holdings.cameras[&camera("door")].segments[0];
    let step = aivms_appliance_core::retention::Step {
        camera: camera("door"),
        segment,
        action: aivms_appliance_core::retention::Action::MoveToSlow,
    };
    let mut sweep = Sweep::new(parts.footage.clone(), parts.chain.clone(), parts.locks.clone());
    sweep.carry_out(Plan { steps: vec![step], problems: Vec::new() }, u64::MAX, true).await;
    let tiers: Vec<_> = parts.footage.summaries(&camera("door")).iter().map(|segment| segment.tier).collect();
    assert_eq!(tiers, [DiskTier::Slow, DiskTier::Fast]);
    let key = SegmentKey { camera: camera("door"), start: segment.start };
    assert!(!files[0].exists() && site.folders().file(&key, DiskTier::Slow).exists());
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_deleted_stops_no_other_and_is_entered_in_the_chain_once() {
    let site = Site::new();
    let (door, yard) = (site.lay_until_now("door", 66, 1 << 20), site.lay_until_now("yard", 66, 1 << 20));
    let parts = site.open(recording(&serde_json::json!({"max_gib": 62.5 / 1024.0}))).await;
    // Nobody deletes a folder as a file.
    std::fs::remove_file(&door[0]).unwrap();
    std::fs::create_dir(&door[0]).unwrap();
    let mut retention = parts.retention(&site, 0);
    let mut sweep = Sweep::new(parts.footage.clone(), parts.chain.clone(), parts.locks.clone());
    assert_eq!(retention.clean_up(&mut sweep, |wall, _| wall).await, 7, "three of the door and four of the yard");
    assert!(door[1..4].iter().chain(&yard[..4]).all(|file| !file.exists()) && door[0].exists());
    let head = parts.chain.head(&camera("door"));

    // It is not counted on any more: another goes in its place.
    assert_eq!(retention.clean_up(&mut sweep, |wall, _| wall).await, 1);
    assert!(!door[4].exists() && door[5].exists());
    let problems = retention.board.vitals().status.problems;
    assert!(problems.iter().any(|problem| problem.contains("1 files of camera door")), "{problems:?}");

    // Tried again, it is in the chain already.
    let entered = parts.chain.head(&camera("door"));
    assert_ne!(entered, head, "of the other");
    let segment = survey_of(&parts).cameras[&camera("door")].segments[0];
    let action = aivms_appliance_core::retention::Action::Delete(DeletionReason::CameraBytes);
    let step = aivms_appliance_core::retention::Step { camera: camera("door"), segment, action };
    let again = Plan { steps: vec![step], problems: Vec::new() };
    assert_eq!(sweep.carry_out(again.clone(), u64::MAX, true).await, 0);
    assert_eq!(parts.chain.head(&camera("door")), entered);
    std::fs::remove_dir(&door[0]).unwrap();
    assert_eq!(sweep.carry_out(again, u64::MAX, true).await, 1);
    assert!(sweep.held().is_empty());
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_that_refuses_files_is_left_alone_with_what_lies_on_it() {
    let site = Site::new();
    let slow = site.folders().slow.unwrap();
    std::fs::create_dir_all(&slow).unwrap();
    let files = site.lay_until_now("door", 5, 1000);
    let parts = site.open(Recording::default()).await;
    let segments = survey_of(&parts).cameras[&camera("door")].segments.clone();
    let plan = |segments: &[aivms_appliance_core::retention::Stored], action| Plan {
        steps: segments
            .iter()
            .map(|segment| aivms_appliance_core::retention::Step { camera: camera("door"), segment: *segment, action })
            .collect(),
        problems: Vec::new(),
    };
    let to_slow = aivms_appliance_core::retention::Action::MoveToSlow;
    let mut sweep = Sweep::new(parts.footage.clone(), parts.chain.clone(), parts.locks.clone());
    assert_eq!(sweep.carry_out(plan(&segments[..1], to_slow), u64::MAX, true).await, 1);

    // Files can be made on it, but not where they belong.
    std::fs::rename(slow.join("door"), slow.join("away")).unwrap();
    std::fs::write(slow.join("door"), b"").unwrap();
    assert_eq!(sweep.carry_out(plan(&segments[1..], to_slow), u64::MAX, true).await, 0);
    assert!(files[1..].iter().all(|file| file.exists()));
    assert_eq!((sweep.held().len(), sweep.is_slow_refusing()), (3, true), "the fourth was not tried");
    let mut retention = parts.retention(&site, 0);
    let around = retention.around(&sweep).await.unwrap();
    let (holdings, problems) = survey::survey(&parts.footage, &around).unwrap();
    assert_eq!(holdings.slow, None, "plans do without it");
    assert!(problems.iter().any(|problem| problem.contains("slow disk")), "{problems:?}");

    let on_slow = survey_of(&parts).cameras[&camera("door")].segments[0];
    assert_eq!(on_slow.tier, aivms_appliance_core::retention::Tier::Slow);
    let age = aivms_appliance_core::retention::Action::Delete(DeletionReason::Age);
    let head = parts.chain.head(&camera("door"));
    assert_eq!(sweep.carry_out(plan(&[on_slow], age), u64::MAX, false).await, 0);
    assert_eq!(parts.chain.head(&camera("door")), head, "nothing is entered that does not go");
    assert_eq!(parts.footage.summaries(&camera("door")).len(), 5);
    parts.close().await;
}

/// A survey with nothing around.
fn survey_of(parts: &Parts) -> aivms_appliance_core::retention::Holdings {
    let around = Around {
        policy: Arc::default(),
        locks: std::collections::BTreeMap::new(),
        needs: std::collections::BTreeMap::new(),
        floor_bytes: 0,
        limits: Limits::default(),
        held: Vec::new(),
        is_slow_refusing: false,
    };
    survey::survey(&parts.footage, &around).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_reach_also_the_segments_that_come_after_them() {
    let site = Site::new();
    site.lay_until_now("door", 3, 1000);
    let parts = site.open(Recording::default()).await;
    let (tagger, work) = tagging::tagger(parts.footage.clone(), usual());
    let work = tokio::spawn(work);
    // Tags of segments without an index are all set; so this only shows that nothing is lost on the way.
    tagger.see(&alert(clock::now()));
    drop(tagger);
    tokio::time::timeout(PATIENCE, work).await.expect("it ends with the last tagger").unwrap();
    let tags: Vec<_> = parts.footage.summaries(&camera("door")).iter().map(|segment| segment.tags).collect();
    assert!(tags.iter().all(|tags| tags.contains(crate::recorder::Tags::EVENT)), "{tags:?}");
    parts.close().await;
}
