//! What retention and the ledger know of each camera, put together for health reports and the status file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aivms_contract::footage::{Continuity, DeletionReason, FootageEvent, Gap};
use aivms_contract::health::{DiskHealth, RecordingHealth, RecordingState};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use crate::health::FootageVitals;

/// Gaps remembered of each camera; the oldest goes.
const MAX_GAPS: usize = 20;

/// The status file's part on footage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FootageStatus {
    /// Each camera that has footage or is recorded.
    pub cameras: Vec<CameraStatus>,
    /// What retention can't satisfy, and what is wrong with the disks; for a person.
    pub problems: Vec<String>,
    /// Locks, and bytes of what they hold.
    #[serde(default)]
    pub locks: usize,
    /// See `locks`.
    #[serde(default)]
    pub locked_bytes: u64,
}

/// What the status file says of one camera's footage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraStatus {
    /// The camera.
    pub camera_id: CameraId,
    /// Days that the forecast is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_days: Option<f32>,
    /// Its latest gaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// What the last cleanup deleted, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goes: Vec<Going>,
}

/// Footage of one camera that goes for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Going {
    /// Why.
    pub reason: DeletionReason,
    /// Days of video.
    pub days: f32,
    /// Bytes that become free.
    pub bytes: u64,
}

/// Footage of one camera, as the last cleanup found it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) bytes: u64,
    pub(super) oldest: Option<UtcMillis>,
    pub(super) forecast_days: Option<f32>,
    pub(super) wanted_days: Option<f32>,
    pub(super) goes: Vec<Going>,
}

/// What the last cleanup found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Found {
    pub(super) cameras: BTreeMap<CameraId, Kept>,
    pub(super) disks: Vec<DiskHealth>,
    pub(super) problems: Vec<String>,
    pub(super) locks: usize,
    pub(super) locked_bytes: u64,
}

/// Whether and how one camera is recorded at the moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Whether video reaches the disk.
    pub state: RecordingState,
    /// Why it does not.
    pub cause: Option<String>,
    /// How much of the day was recorded so far.
    pub today: Continuity,
}

/// Where both write what they know. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Board {
    inner: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    found: Found,
    running: BTreeMap<CameraId, Running>,
    gaps: BTreeMap<CameraId, VecDeque<Gap>>,
}

impl Board {
    pub(super) fn set_found(&self, found: Found) {
        self.lock().found = found;
    }

    /// Replaces what is known of the cameras that are recorded.
    pub fn set_running(&self, running: BTreeMap<CameraId, Running>) {
        self.lock().running = running;
    }

    /// Remembers a gap that was told.
    pub fn remember(&self, camera: &CameraId, event: &FootageEvent) {
        let FootageEvent::Gap(gap) = event else { return };
        let mut content = self.lock();
        let gaps = content.gaps.entry(camera.clone()).or_default();
        gaps.retain(|known| known.start != gap.start);
        gaps.push_back(gap.clone());
        if gaps.len() > MAX_GAPS {
            gaps.pop_front();
        }
    }

    /// The latest gaps of a camera that were told.
    #[must_use]
    pub fn gaps(&self, camera: &CameraId) -> Vec<Gap> {
        self.lock().gaps.get(camera).into_iter().flatten().cloned().collect()
    }

    /// For health reports and the status file.
    #[must_use]
    pub fn vitals(&self) -> FootageVitals {
        let content = self.lock();
        let of = |(camera, running): (&CameraId, &Running)| {
            let kept = content.found.cameras.get(camera).cloned().unwrap_or_default();
            let health = RecordingHealth {
                state: running.state,
                cause: running.cause.clone(),
                bytes: kept.bytes,
                oldest: kept.oldest,
                forecast_days: kept.forecast_days,
                continuity_percent: percent(&running.today),
            };
            (camera.clone(), health)
        };
        let cameras = content.running.iter().map(of).collect();
        FootageVitals { cameras, disks: content.found.disks.clone(), status: content.status() }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn status(&self) -> FootageStatus {
        let known = self.found.cameras.keys().chain(self.running.keys());
        let cameras: BTreeSet<_> = known.collect();
        let of = |camera: &CameraId| {
            let kept = self.found.cameras.get(camera);
            CameraStatus {
                camera_id: camera.clone(),
                wanted_days: kept.and_then(|kept| kept.wanted_days),
                gaps: self.gaps.get(camera).into_iter().flatten().cloned().collect(),
                goes: kept.map(|kept| kept.goes.clone()).unwrap_or_default(),
            }
        };
        FootageStatus {
            cameras: cameras.into_iter().map(of).collect(),
            problems: self.found.problems.clone(),
            locks: self.found.locks,
            locked_bytes: self.found.locked_bytes,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a day")]
fn percent(today: &Continuity) -> Option<f32> {
    (today.expected_ms > 0).then(|| 100.0 * today.recorded_ms as f32 / today.expected_ms as f32)
}
