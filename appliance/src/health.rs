//! Measures the edge for its health report and heartbeat.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use aivms_appliance_core::schedule::SiteZone;
use aivms_contract::health::{CameraHealth, CameraState, DiskHealth, Health, Notice, OutboxHealth, RecordingHealth};
use aivms_contract::id::CameraId;
use aivms_contract::status::Status;
use aivms_contract::temperature::Temperatures;
use aivms_contract::time::UtcMillis;
use tokio::sync::watch;

use crate::chain::Chain;
use crate::retention::board::FootageStatus;
use crate::uploads::Outgoing;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Most notices waiting for a report; beyond it the oldest goes. Notices are rare, and all of them are logged too.
const MAX_NOTICES: usize = 50;
/// Longest text of a cause or notice in bytes, so that a report of every camera fits a message.
const MAX_TEXT_BYTES: usize = 300;

/// What is known of the running appliance. The parts write into it; reports and heartbeats are read from it.
pub struct Vitals {
    started: Instant,
    data_dir: PathBuf,
    /// Absent until the list of configured cameras is known.
    cameras: RwLock<Option<BTreeMap<CameraId, CameraVitals>>>,
    applied_version: AtomicU64,
    time_zone: RwLock<SiteZone>,
    notices: Mutex<VecDeque<Notice>>,
    footage: RwLock<FootageVitals>,
    uploads: RwLock<Option<Outgoing>>,
    chain: RwLock<Option<Chain>>,
    temperatures: RwLock<Temperatures>,
}

/// What is known of footage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FootageVitals {
    /// Each recorded camera.
    pub cameras: BTreeMap<CameraId, RecordingHealth>,
    /// Each disk.
    pub disks: Vec<DiskHealth>,
    /// What the status file says besides.
    pub status: FootageStatus,
}

/// What is known of one configured camera.
#[derive(Debug, Clone)]
pub enum CameraVitals {
    /// It is switched off.
    Disabled {
        /// Since when.
        since: UtcMillis,
    },
    /// Its task says how it is.
    Running(watch::Receiver<CameraHealth>),
}

/// Room on the disk of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All bytes of it.
    pub total_bytes: u64,
    /// Bytes left for an ordinary user.
    pub free_bytes: u64,
}

impl Vitals {
    /// Starts counting the uptime of an appliance that keeps its data in `data_dir`.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            started: Instant::now(),
            data_dir,
            cameras: RwLock::default(),
            applied_version: AtomicU64::new(0),
            time_zone: RwLock::default(),
            notices: Mutex::default(),
            footage: RwLock::default(),
            uploads: RwLock::default(),
            chain: RwLock::default(),
            temperatures: RwLock::default(),
        }
    }

    /// Replaces the list of configured cameras.
    pub fn set_cameras(&self, cameras: BTreeMap<CameraId, CameraVitals>) {
        *self.cameras.write().unwrap_or_else(PoisonError::into_inner) = Some(cameras);
    }

    /// The configured cameras; `None` until they are known.
    #[must_use]
    pub fn configured(&self) -> Option<BTreeSet<CameraId>> {
        let cameras = self.cameras.read().unwrap_or_else(PoisonError::into_inner);
        cameras.as_ref().map(|cameras| cameras.keys().cloned().collect())
    }

    /// Sets the version of the desired document that runs.
    pub fn set_applied_version(&self, version: u64) {
        self.applied_version.store(version, Ordering::Relaxed);
    }

    /// The version of the desired document that runs; 0 for the local files.
    #[must_use]
    pub fn applied_version(&self) -> u64 {
        self.applied_version.load(Ordering::Relaxed)
    }

    /// Sets the time zone in which schedules are meant.
    pub fn set_time_zone(&self, zone: SiteZone) {
        *self.time_zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
    }

    /// The time zone in which schedules are meant.
    #[must_use]
    pub fn time_zone(&self) -> SiteZone {
        self.time_zone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets what is known of footage.
    pub fn set_footage(&self, footage: FootageVitals) {
        *self.footage.write().unwrap_or_else(PoisonError::into_inner) = footage;
    }

    /// Says whose heads are told in reports.
    pub fn set_chain(&self, chain: Chain) {
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = Some(chain);
    }

    /// Sets the queue of files for the cloud, of which reports tell.
    pub fn set_uploads(&self, outgoing: Outgoing) {
        *self.uploads.write().unwrap_or_else(PoisonError::into_inner) = Some(outgoing);
    }

    /// Sets what the machine's sensors measured last.
    pub fn set_temperatures(&self, temperatures: Temperatures) {
        *self.temperatures.write().unwrap_or_else(PoisonError::into_inner) = temperatures;
    }

    /// What the status file says of footage.
    #[must_use]
    pub fn footage_status(&self) -> FootageStatus {
        self.footage().status.clone()
    }

    fn footage(&self) -> RwLockReadGuard<'_, FootageVitals> {
        self.footage.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a notice for the next health report.
    pub fn note(&self, mut notice: Notice) {
        tracing::warn!(
            notice.code = notice.code,
            camera.id = notice.camera_id.as_ref().map(CameraId::as_str),
            "{}",
            notice.message
        );
        notice.message = shortened(notice.message);
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() == MAX_NOTICES {
            notices.pop_front();
        }
        notices.push_back(notice);
    }

    /// Takes the notices kept so far out, for a report that will be delivered.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// The state of every configured camera.
    #[must_use]
    pub fn cameras(&self) -> Vec<CameraHealth> {
        let cameras = self.cameras.read().unwrap_or_else(PoisonError::into_inner);
        let footage = self.footage();
        let with_recording = |(id, vitals): (&CameraId, &CameraVitals)| {
            let recording = footage.cameras.get(id).cloned();
            CameraHealth { recording: recording.map(shortened_cause), ..vitals.health(id) }
        };
        cameras.iter().flatten().map(with_recording).collect()
    }

    /// A full report. A disk that can't be measured counts as one without room.
    #[must_use]
    pub fn report(&self, now: UtcMillis, outbox: OutboxHealth, notices: Vec<Notice>) -> Health {
        let disk = disk_space(&self.data_dir).unwrap_or(DiskSpace { total_bytes: 0, free_bytes: 0 });
        Health {
            timestamp: now,
            version: VERSION.to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            disk_total_bytes: disk.total_bytes,
            disk_free_bytes: disk.free_bytes,
            cameras: self.cameras(),
            footage_disks: self.footage().disks.clone(),
            outbox,
            chains: self
                .chain
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map_or_else(Vec::new, Chain::heads),
            uploads: self.uploads.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Outgoing::health),
            temperatures: self.temperatures.read().unwrap_or_else(PoisonError::into_inner).clone(),
            notices,
        }
    }

    /// A heartbeat.
    #[must_use]
    pub fn heartbeat(&self, now: UtcMillis, outbox_entries: u64) -> Status {
        let cameras = self.cameras();
        let count = |state: fn(CameraState) -> bool| {
            u32::try_from(cameras.iter().filter(|camera| state(camera.state)).count()).unwrap_or(u32::MAX)
        };
        Status {
            at: now,
            version: VERSION.to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            cameras_streaming: count(|state| state == CameraState::Streaming),
            cameras_enabled: count(|state| state != CameraState::Disabled),
            outbox_entries,
            applied_version: self.applied_version(),
        }
    }
}

impl CameraVitals {
    fn health(&self, id: &CameraId) -> CameraHealth {
        match self {
            Self::Disabled { since } => CameraHealth {
                camera_id: id.clone(),
                state: CameraState::Disabled,
                cause: None,
                since: *since,
                detect_fps: 0.0,
                recording: None,
            },
            Self::Running(health) => {
                let health = health.borrow().clone();
                CameraHealth { cause: health.cause.map(shortened), ..health }
            }
        }
    }
}

/// Measures the disk that holds `folder`.
///
/// # Errors
/// What the system said.
pub fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(DiskSpace {
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

fn shortened_cause(recording: RecordingHealth) -> RecordingHealth {
    RecordingHealth { cause: recording.cause.map(shortened), ..recording }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::limits::MAX_PAYLOAD_BYTES;
    use serde_json::json;

    fn camera(id: &str, state: CameraState, cause: &str) -> CameraHealth {
        let since = UtcMillis::from_millis(0);
        CameraHealth {
            camera_id: id.parse().unwrap(),
            state,
            cause: Some(cause.to_owned()),
            since,
            detect_fps: 5.0,
            recording: None,
        }
    }

    fn running(camera: CameraHealth) -> (CameraId, CameraVitals) {
        (camera.camera_id.clone(), CameraVitals::Running(watch::channel(camera).1))
    }

    fn notice(message: &str) -> Notice {
        Notice { code: "test".to_owned(), message: message.to_owned(), camera_id: None }
    }

    #[test]
    fn a_heartbeat_counts_the_cameras_that_stream_and_those_that_should() {
        let vitals = Vitals::new(std::env::temp_dir());
        vitals.set_cameras(BTreeMap::from([
            running(camera("a", CameraState::Streaming, "")),
            running(camera("b", CameraState::Retrying, "401")),
            ("c".parse().unwrap(), CameraVitals::Disabled { since: UtcMillis::from_millis(0) }),
        ]));
        vitals.set_applied_version(3);
        let status = vitals.heartbeat(UtcMillis::from_millis(0), 12);
        assert_eq!((status.cameras_streaming, status.cameras_enabled), (1, 2));
        assert_eq!((status.outbox_entries, status.applied_version), (12, 3));
    }

    #[test]
    fn the_largest_report_fits_a_message() {
        let vitals = Vitals::new(std::env::temp_dir());
        let long = "ä".repeat(10_000);
        let cameras = (0..aivms_contract::desired::MAX_CAMERAS)
            .map(|number| running(camera(&format!("{number:064}"), CameraState::Retrying, &long)));
        vitals.set_cameras(cameras.collect());
        for _ in 0..100 {
            vitals.note(notice(&long));
        }
        let hot = |number| json!({ "name": format!("{number:064}"), "celsius": -99.999 });
        let hot: Vec<_> = (0..aivms_contract::temperature::MAX_TEMPERATURES).map(hot).collect();
        vitals.set_temperatures(serde_json::from_value(hot.into()).unwrap());
        let report = vitals.report(UtcMillis::from_millis(0), OutboxHealth::default(), vitals.take_notices());
        assert_eq!(report.notices.len(), MAX_NOTICES);
        assert!(serde_json::to_vec(&report).unwrap().len() < MAX_PAYLOAD_BYTES - 1024);
        assert!(report.disk_total_bytes > 0);
        assert!(vitals.take_notices().is_empty());
    }
}
