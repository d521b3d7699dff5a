//! What a camera's task and the writer know of each other: which segment, whether it still takes fragments, and how
//! much waits for the disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aivms_contract::id::CameraId;

/// One segment as its task sees it.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) camera: CameraId,
    failed: AtomicBool,
}

impl Ticket {
    pub(super) fn new(camera: CameraId) -> Self {
        Self { camera, failed: AtomicBool::new(false) }
    }

    /// The disk takes nothing more for this segment; a new one has to be begun.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// Bytes that wait for the disk.
#[derive(Debug, Default)]
pub(super) struct Queued(AtomicU64);

impl Queued {
    /// Counts `bytes` in unless that makes more than `most`.
    pub(super) fn add(&self, bytes: u64, most: u64) -> bool {
        let added = self.0.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        if added > most {
            self.0.fetch_sub(bytes, Ordering::AcqRel);
        }
        added <= most
    }

    pub(super) fn take(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::AcqRel);
    }
}
