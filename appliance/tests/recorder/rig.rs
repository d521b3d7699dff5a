//! A recorder with its folders, and cameras that are fed by hand.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aivms_appliance::pipeline::access_unit::{AccessUnit, AudioUnit};
use aivms_appliance::pipeline::consumer::{StreamConsumer, StreamEnd, StreamFeed, StreamRole};
use aivms_appliance::recorder::{
    Folders, Footage, PolicyWatch, Readiness, Recorder, RecorderSettings, RecordingPolicy, Segment,
};
use aivms_contract::desired::Recording;
use aivms_contract::health::Notice;
use aivms_contract::id::CameraId;
use aivms_contract::time::{MediaClock, UtcMillis};
use tokio::sync::{broadcast, watch};

/// Wall time in milliseconds at which the tests' media begins.
pub(crate) const ZERO: i64 = 1_795_352_700_000;

/// Units in flight to the recorder: more than any test feeds at once.
const UNITS: usize = 4096;

/// A recorder and what it was told.
pub(crate) struct Rig {
    pub(crate) recorder: Recorder,
    pub(crate) footage: Footage,
    pub(crate) notices: Arc<Mutex<Vec<Notice>>>,
    policy: watch::Sender<Arc<RecordingPolicy>>,
}

/// Where the footage of a site lies.
pub(crate) fn folders(root: &Path) -> Folders {
    Folders { fast: root.join("recordings"), slow: Some(root.join("slow")) }
}

impl Rig {
    /// Opens a recorder over `root` with segments of `segment`.
    pub(crate) fn open(root: &Path, segment: Duration) -> Self {
        Self::syncing(root, segment, Duration::from_secs(1))
    }

    pub(crate) fn syncing(root: &Path, segment: Duration, sync: Duration) -> Self {
        let site = Recording { audio: Some(true), ..Recording::default() };
        let (policy, changes): (_, PolicyWatch) = watch::channel(Arc::new(RecordingPolicy::new(site, [])));
        let edge = Some("edge_test".parse().unwrap());
        let settings = RecorderSettings { data_dir: root.to_owned(), folders: folders(root), segment, sync, edge };
        let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let noted = Arc::clone(&notices);
        let (recorder, footage) =
            Recorder::open(settings, changes, move |notice| noted.lock().unwrap().push(notice)).unwrap();
        Self { recorder, footage, notices, policy }
    }

    /// Opens one and waits until all that earlier runs left is known.
    pub(crate) async fn complete(root: &Path, segment: Duration) -> Self {
        let rig = Self::open(root, segment);
        rig.is_complete().await;
        rig
    }

    pub(crate) async fn is_complete(&self) {
        let mut readiness = self.footage.readiness();
        within("the index is complete", readiness.wait_for(|ready| *ready == Readiness::Complete)).await.unwrap();
    }

    /// Connects a camera whose media begins at `zero`.
    pub(crate) fn connect(&self, camera: &str, zero: UtcMillis) -> Camera {
        let (units, unit_feed) = broadcast::channel(UNITS);
        let (sounds, sound_feed) = broadcast::channel(UNITS);
        let (clock, clock_feed) = watch::channel(MediaClock { zero_at: zero });
        let id: CameraId = camera.parse().unwrap();
        let feed = StreamFeed { role: StreamRole::Main, units: unit_feed, audio: sound_feed, clock: clock_feed };
        self.recorder.connected(&id, feed);
        Camera { id, units, sounds, clock }
    }

    pub(crate) fn disconnect(&self, camera: Camera) {
        let Camera { id, units, .. } = camera;
        drop(units);
        self.recorder.disconnected(&id, StreamRole::Main, StreamEnd::Restarted);
    }

    /// Switches the recording of all cameras on or off.
    pub(crate) fn enable(&self, enabled: bool) {
        let site = Recording { enabled: Some(enabled), ..Recording::default() };
        self.policy.send_replace(Arc::new(RecordingPolicy::new(site, [])));
    }

    pub(crate) async fn close(self) {
        self.recorder.close().await;
    }

    /// All segments of a camera.
    pub(crate) fn segments(&self, camera: &str) -> Vec<Segment> {
        let all = (UtcMillis::from_millis(0), UtcMillis::from_millis(i64::MAX));
        self.footage.segments(&camera.parse().unwrap(), all.0, all.1)
    }

    /// The bytes of all pictures in segments, in order.
    pub(crate) fn pictures(&self, segments: &[Segment]) -> Vec<bytes::Bytes> {
        let mut pictures = Vec::new();
        for segment in segments {
            let reader = self.footage.open(segment).unwrap();
            for number in 0..segment.fragments.len() {
                pictures.extend(reader.fragment(number).unwrap().video.into_iter().map(|sample| sample.data));
            }
        }
        pictures
    }

    /// Waits until a camera's footage reaches `end`.
    pub(crate) async fn reaches(&self, camera: &str, end: UtcMillis) {
        let id = camera.parse().unwrap();
        until("the footage reaches the time", || self.footage.newest(&id).is_some_and(|newest| newest >= end)).await;
    }
}

/// A camera that is fed by hand.
pub(crate) struct Camera {
    id: CameraId,
    units: broadcast::Sender<AccessUnit>,
    sounds: broadcast::Sender<AudioUnit>,
    pub(crate) clock: watch::Sender<MediaClock>,
}

impl Camera {
    pub(crate) fn feed(&self, unit: AccessUnit) {
        self.units.send(unit).unwrap();
    }

    pub(crate) fn sound(&self, unit: AudioUnit) {
        self.sounds.send(unit).unwrap();
    }

    /// Waits until everything fed was taken.
    pub(crate) async fn taken(&self) {
        until("all units are taken", || self.units.is_empty() && self.sounds.is_empty()).await;
    }
}

/// Waits until `done`.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, wait).await;
}

/// Waits for something that has to come.
pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never came true: {what}"))
}

/// `ZERO` and so many milliseconds.
pub(crate) fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_millis(ZERO + millis)
}

/// Every file below a folder.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A directory in memory where there is one: thousands of syncs of made-up files test nothing.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
