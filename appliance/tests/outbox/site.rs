//! One site's directories, and messages whose content says what it should be.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aivms_appliance::outbox::{Entry, Outbox, OutboxSettings};
use aivms_appliance::state::State;
use aivms_contract::alert::{Alert, Severity};
use aivms_contract::clip::Clip;
use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::footage::{Footage, FootageEvent, Gap, GapCause};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::health::{Health, Notice, OutboxHealth};
use aivms_contract::id::EdgeId;
use aivms_contract::snapshot::Snapshot;
use aivms_contract::temperature::Temperatures;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};

/// Directories of one edge.
pub(crate) struct Site {
    root: tempfile::TempDir,
    max_bytes: u64,
}

impl Site {
    /// An edge without any files.
    pub(crate) fn new() -> Self {
        Self::bounded(64 * 1024 * 1024)
    }

    /// As [`Site::new`] with another limit of the outbox.
    pub(crate) fn bounded(max_bytes: u64) -> Self {
        Self { root: tempfile::tempdir().unwrap(), max_bytes }
    }

    /// Where the outbox lies.
    pub(crate) fn outbox_dir(&self) -> PathBuf {
        self.root.path().join("outbox")
    }

    /// Where the state lies.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Settings of the outbox.
    pub(crate) fn settings(&self) -> OutboxSettings {
        settings(self.root.path(), self.max_bytes)
    }

    /// Opens both and expects nothing to tell.
    pub(crate) fn open(&self) -> (Outbox, State) {
        let (outbox, state, notices) = self.open_noting();
        assert_eq!(notices, []);
        (outbox, state)
    }

    /// Opens both.
    pub(crate) fn open_noting(&self) -> (Outbox, State, Vec<Notice>) {
        open(self.root.path(), self.max_bytes)
    }
}

/// Settings of the outbox of the site at `root`.
pub(crate) fn settings(root: &Path, max_bytes: u64) -> OutboxSettings {
    OutboxSettings { dir: root.join("outbox"), max_bytes, group_time: Duration::from_millis(5) }
}

/// Opens state and outbox of the site at `root`.
pub(crate) fn open(root: &Path, max_bytes: u64) -> (Outbox, State, Vec<Notice>) {
    let (state, mut notices) = State::open(root.join("state")).unwrap();
    let (outbox, more) = Outbox::open(settings(root, max_bytes), edge(), &state).unwrap();
    notices.extend(more);
    (outbox, state, notices)
}

/// The edge of all sites.
pub(crate) fn edge() -> EdgeId {
    "edge_one".parse().unwrap()
}

/// A message that carries `number` and about `bytes` bytes that follow from it.
pub(crate) fn body(kind: UpKind, number: u64, bytes: usize) -> Body {
    let at = UtcMillis::from_millis(1_795_352_700_000 + i64::try_from(number).unwrap());
    let text = text(number, bytes);
    let (camera_id, frame) = ("gate".parse().unwrap(), FrameSize { width: 1920, height: 1080 });
    let bbox = PixelBox::new(1.0, 2.0, 3.0, 4.0).unwrap();
    let track_id = format!("t{number}").parse().unwrap();
    match kind {
        UpKind::Detections => Body::Detections(Detection {
            camera_id,
            timestamp: at,
            object_class: text,
            confidence: 0.5,
            bbox,
            frame,
            track_id,
            phase: TrackPhase::Update,
            age_ms: number,
            stationary: false,
        }),
        UpKind::ZoneEvents => Body::ZoneEvents(ZoneEvent {
            camera_id,
            zone_id: "yard".parse().unwrap(),
            timestamp: at,
            event_type: ZoneEventType::Enter,
            object_class: text,
            confidence: 0.5,
            track_id,
            bbox,
            frame,
            dwell_ms: None,
            exit_reason: None,
            direction: None,
            count: None,
            speed_kmh: None,
            why: vec![],
        }),
        UpKind::Alerts => Body::Alerts(Alert {
            camera_id,
            timestamp: at,
            alert_type: "camera_offline".into(),
            severity: Severity::Warning,
            title: text,
            clip_id: None,
            event_id: None,
        }),
        UpKind::Health => Body::Health(Health {
            timestamp: at,
            version: text,
            uptime_s: 1,
            disk_total_bytes: 1,
            disk_free_bytes: 1,
            cameras: Vec::new(),
            footage_disks: Vec::new(),
            chains: Vec::new(),
            outbox: OutboxHealth::default(),
            uploads: None,
            temperatures: Temperatures::default(),
            notices: Vec::new(),
        }),
        UpKind::Clips => Body::Clips(Clip {
            clip_id: format!("c{number}").parse().unwrap(),
            camera_id,
            start: at,
            duration_ms: 1000,
            size_bytes: bytes as u64,
            event_id: None,
            command_id: None,
            missing_ms: 0,
            missing: Vec::new(),
            event_offset_ms: None,
            codecs: None,
            sha256: None,
            masked: false,
        }),
        UpKind::Snapshots => Body::Snapshots(Snapshot {
            snapshot_id: format!("s{number}").parse().unwrap(),
            camera_id,
            timestamp: at,
            frame: FrameSize { width: 1920, height: 1080 },
            size_bytes: 1,
            sha256: text,
            object: None,
            event_id: None,
            command_id: None,
            boxes: false,
            masked: false,
        }),
        UpKind::Footage => Body::Footage(Footage {
            camera_id,
            timestamp: at,
            event: FootageEvent::Gap(Gap { start: at, end: None, cause: GapCause::Camera, detail: Some(text) }),
        }),
        other => panic!("{} is not durable", other.as_str()),
    }
}

/// The number that [`body`] put into an entry.
pub(crate) fn number_of(entry: &Entry) -> u64 {
    let envelope = Envelope::from_json(&entry.json).unwrap();
    u64::try_from(envelope.at.as_millis() - 1_795_352_700_000).unwrap()
}

/// Checks that an entry is the message `number` as [`body`] made it, under its own sequence number.
pub(crate) fn check_entry(outbox: &Outbox, entry: &Entry, number: u64) {
    let envelope = Envelope::from_json(&entry.json).unwrap();
    assert_eq!(envelope.seq, entry.seq);
    assert_eq!(envelope.outbox, *outbox.id());
    assert_eq!(envelope.edge, edge());
    assert_eq!(envelope.body.kind(), entry.kind);
    let bytes = match &envelope.body {
        Body::Detections(found) => found.object_class.len(),
        Body::ZoneEvents(found) => found.object_class.len(),
        Body::Alerts(found) => found.title.len(),
        Body::Health(found) => found.version.len(),
        Body::Clips(found) => usize::try_from(found.size_bytes).unwrap(),
        Body::Snapshots(found) => found.sha256.len(),
        Body::Footage(Footage { event: FootageEvent::Gap(gap), .. }) => gap.detail.as_ref().unwrap().len(),
        Body::Footage(other) => panic!("{other:?}"),
    };
    assert_eq!(envelope.body, body(entry.kind, number, bytes));
}

/// Whether one of the notices has this code and these words.
pub(crate) fn tells(notices: &[Notice], code: &str, about: &str) -> bool {
    notices.iter().any(|notice| notice.code == code && notice.message.contains(about))
}

/// Changes one bit of a file, in the byte that `at` picks.
pub(crate) fn flip(path: &Path, at: impl FnOnce(&[u8]) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn text(number: u64, bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(number);
    std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect()
}
