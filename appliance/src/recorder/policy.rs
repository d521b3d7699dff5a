//! What is recorded of which camera and kept for how long: the settings file, the document and the camera merged.

use std::collections::BTreeMap;
use std::sync::Arc;

use aivms_contract::desired::Recording;
use aivms_contract::id::CameraId;
use tokio::sync::watch;

/// What holds for each camera.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordingPolicy {
    /// For cameras that say nothing themselves.
    site: Recording,
    /// What single cameras say.
    cameras: BTreeMap<CameraId, Recording>,
}

/// The policy that holds now, and its changes.
pub type PolicyWatch = watch::Receiver<Arc<RecordingPolicy>>;

impl RecordingPolicy {
    /// Merges `site` with what single cameras say, which wins.
    #[must_use]
    pub fn new(site: Recording, cameras: impl IntoIterator<Item = (CameraId, Recording)>) -> Self {
        Self { site, cameras: cameras.into_iter().collect() }
    }

    /// What holds for a camera; every value is there when `site` has it.
    #[must_use]
    pub fn of(&self, camera: &CameraId) -> Recording {
        self.cameras.get(camera).map_or_else(|| self.site.clone(), |own| own.or(&self.site))
    }

    /// Whether a camera is recorded; it is unless someone says no.
    #[must_use]
    pub fn records(&self, camera: &CameraId) -> bool {
        self.of(camera).enabled.unwrap_or(true)
    }

    /// Whether a camera's sound is recorded; it is not unless someone asks for it.
    #[must_use]
    pub fn records_sound(&self, camera: &CameraId) -> bool {
        self.of(camera).audio.unwrap_or(false)
    }
}
