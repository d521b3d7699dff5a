//! What the disk had to do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the disk had to do since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Fragments written.
    pub fragments: u64,
    /// Bytes of fragments written.
    pub bytes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Time of all syncs together.
    pub sync_time: Duration,
    /// Time of the longest sync.
    pub longest_sync: Duration,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Figures {
    fragments: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    sync_micros: AtomicU64,
    longest_micros: AtomicU64,
}

impl Figures {
    pub(super) fn wrote(&self, bytes: u64) {
        self.fragments.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_micros.fetch_add(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> DiskFigures {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DiskFigures {
            fragments: number(&self.fragments),
            bytes: number(&self.bytes),
            syncs: number(&self.syncs),
            sync_time: Duration::from_micros(number(&self.sync_micros)),
            longest_sync: Duration::from_micros(number(&self.longest_micros)),
        }
    }
}
