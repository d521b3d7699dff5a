//! The signed chain of each camera's footage on the disk, and the manifests of clips.
//!
//! Each camera has a folder `chain/` beside its footage with files of lines, to which one thread appends
//! ([`ChainWriter`]). Everybody else has a [`Chain`], whose calls return once the line is durable. What lines say and
//! how they are checked is in [`aivms_footage::chain`]; `aivms-appliance verify` reads them.

mod clip;
mod file;
mod follow;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aivms_contract::footage::{DeletionReason, Gap, Locked};
use aivms_contract::health::ChainHead;
use aivms_contract::id::{CameraId, EdgeId, LockId};
use aivms_contract::media::Sha256Hex;
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{Chained, Deletion, Entry, Leaf, MAX_STARTS, SealTime, SignError};
use tokio::sync::{mpsc, oneshot, watch};

pub use clip::{ClipOrigin, ClipPart};
pub use follow::follow;
pub use writer::ChainWriter;

use crate::identity::Identity;

/// Orders that wait for the thread. When full, callers wait: each of them needs its line on the disk anyway.
const ORDERS: usize = 256;

/// Where chains are kept, and whose they are.
#[derive(Debug, Clone)]
pub struct ChainSettings {
    /// The folder that is recorded to; each camera has one in it.
    pub recordings: PathBuf,
    /// The folder of the slower disk.
    pub slow: Option<PathBuf>,
    /// This edge.
    pub edge: EdgeId,
}

/// The way to the chains of all cameras. A cheap handle.
#[derive(Debug, Clone)]
pub struct Chain {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

/// A closed segment to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Wall time of its first picture.
    pub start: UtcMillis,
    /// Wall time of its end.
    pub end: UtcMillis,
    /// The file, complete and synced.
    pub path: PathBuf,
    /// Its fragments; empty to read them from the file.
    pub leaves: Vec<Leaf>,
    /// Whether it was closed just now or found without a record.
    pub sealed: SealTime,
}

/// Says why something could not be entered or read.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment's file is not one.
    #[error("{}: {problem}", path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The key gives no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The appliance is ending.
    #[error("the chain takes nothing more: the appliance is ending")]
    Ending,
}

#[derive(Debug)]
struct Shared {
    settings: ChainSettings,
    identity: watch::Receiver<Option<Arc<Identity>>>,
    heads: Mutex<BTreeMap<CameraId, Chained>>,
}

/// What the thread is asked.
#[derive(Debug)]
enum Order {
    Enter(Entering),
    Close(oneshot::Sender<()>),
}

/// What is to be entered in one camera's chain.
#[derive(Debug)]
struct Entering {
    camera: CameraId,
    what: Vec<What>,
    done: oneshot::Sender<Result<(), ChainError>>,
}

#[derive(Debug)]
enum What {
    Segment(ClosedSegment),
    Entry(Entry),
}

impl Chain {
    /// Makes the way to the chains and the thread's work, which must be run ([`ChainWriter::run`]).
    #[must_use]
    pub fn new(settings: ChainSettings, identity: watch::Receiver<Option<Arc<Identity>>>) -> (Self, ChainWriter) {
        let (orders, taken) = mpsc::channel(ORDERS);
        let shared = Arc::new(Shared { settings, identity, heads: Mutex::default() });
        (Self { orders, shared: Arc::clone(&shared) }, ChainWriter::new(taken, shared))
    }

    /// Enters a closed segment.
    ///
    /// # Errors
    /// The disk refused it, the file is not a segment, or the appliance is ending.
    pub async fn segment_closed(&self, camera: &CameraId, segment: ClosedSegment) -> Result<(), ChainError> {
        self.enter(camera, vec![What::Segment(segment)]).await
    }

    /// Enters a span without video, once it has ended.
    ///
    /// # Errors
    /// The disk refused it, or the appliance is ending.
    pub async fn gap(&self, camera: &CameraId, gap: Gap) -> Result<(), ChainError> {
        self.enter(camera, vec![What::Entry(Entry::Gap(gap))]).await
    }

    /// Enters that the segments beginning at `starts` will be deleted. Only then may they go.
    ///
    /// # Errors
    /// The disk refused it, or the appliance is ending.
    pub async fn deleted(
        &self,
        camera: &CameraId,
        starts: &[UtcMillis],
        bytes: u64,
        reason: DeletionReason,
    ) -> Result<(), ChainError> {
        let deletion = |(index, starts): (usize, &[UtcMillis])| {
            let starts = starts.iter().map(|start| start.as_millis()).collect();
            let bytes = if index == 0 { bytes } else { 0 };
            What::Entry(Entry::Deleted(Deletion { starts, bytes, reason }))
        };
        self.enter(camera, starts.chunks(MAX_STARTS).enumerate().map(deletion).collect()).await
    }

    /// Enters that footage is kept whatever retention says.
    ///
    /// # Errors
    /// The disk refused it, or the appliance is ending.
    pub async fn locked(&self, camera: &CameraId, lock: Locked) -> Result<(), ChainError> {
        self.enter(camera, vec![What::Entry(Entry::Locked(lock))]).await
    }

    /// Enters that a lock was taken away.
    ///
    /// # Errors
    /// The disk refused it, or the appliance is ending.
    pub async fn unlocked(&self, camera: &CameraId, lock_id: LockId) -> Result<(), ChainError> {
        self.enter(camera, vec![What::Entry(Entry::Unlocked { lock_id })]).await
    }

    /// The last record of a camera's chain, once this run has entered one.
    #[must_use]
    pub fn head(&self, camera: &CameraId) -> Option<Chained> {
        self.shared.heads().get(camera).copied()
    }

    /// The last records of all chains, for health reports.
    #[must_use]
    pub fn heads(&self) -> Vec<ChainHead> {
        let told = |(camera, head): (&CameraId, &Chained)| ChainHead {
            camera_id: camera.clone(),
            seq: head.seq,
            sha256: Sha256Hex::from_bytes(head.hash.0),
        };
        self.shared.heads().iter().map(told).collect()
    }

    /// Ends the thread once everything before is on the disk.
    pub async fn close(&self) {
        let (done, answer) = oneshot::channel();
        if self.orders.send(Order::Close(done)).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// The segments that a camera's chain has a record of. Blocks: all of the chain is read.
    #[must_use]
    pub fn sealed(&self, camera: &CameraId) -> BTreeSet<UtcMillis> {
        let paths = file::files(&file::folder(&self.shared.settings.recordings, camera));
        let mut sealed = BTreeSet::new();
        for path in paths {
            match std::fs::read(&path) {
                Ok(text) => sealed.extend(file::sealed_in(&text)),
                Err(error) => tracing::warn!(%error, "{}: can't be read", path.display()),
            }
        }
        sealed
    }

    async fn enter(&self, camera: &CameraId, what: Vec<What>) -> Result<(), ChainError> {
        if what.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        let order = Entering { camera: camera.clone(), what, done };
        self.orders.send(Order::Enter(order)).await.map_err(|_| ChainError::Ending)?;
        answer.await.map_err(|_| ChainError::Ending)?
    }
}

impl Shared {
    fn heads(&self) -> std::sync::MutexGuard<'_, BTreeMap<CameraId, Chained>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
