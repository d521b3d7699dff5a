//! The read side of the recorder, for everybody else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aivms_contract::health::Notice;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::FragmentInfo;
use tokio::sync::{broadcast, watch};

use super::catalogue::{Catalogue, Entry};
use super::event::{EVENTS, RecorderEvent};
use super::figures::{DiskFigures, Figures};
use super::index::IndexHandle;
use super::layout::Folders;
use super::moving;
use super::reader::{SegmentReader, read_table};
use super::segment::{DiskTier, Segment, SegmentKey, SegmentSummary, Tags};

/// Says why footage could not be read, moved or deleted.
#[derive(Debug, thiserror::Error)]
pub enum FootageError {
    /// There is no such segment, or not any more.
    #[error("{key}: there is no such segment; it may have been deleted meanwhile")]
    Unknown {
        /// What was asked for.
        key: SegmentKey,
    },
    /// The file can't be read, written or deleted.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file holds something else than its table says.
    #[error("{path}: fragment {fragment} is damaged or missing")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The number of the fragment in its segment.
        fragment: usize,
    },
    /// The file's head is damaged.
    #[error("{path}: not a segment, or its head is damaged")]
    NoSegment {
        /// The file.
        path: PathBuf,
    },
    /// There is no second disk.
    #[error("there is no {0} disk; set recording.slow_dir")]
    NoDisk(&'static str),
}

/// How far the recorder has come with what earlier runs left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// The index is being opened: only what this run recorded is known.
    Opening,
    /// The newest footage of each camera is known and mended, older one may still be missing.
    Recovered,
    /// Everything is known; index and files agree.
    Complete,
}

/// All footage of this edge. A cheap handle.
///
/// What is said to block reads or writes files: call it on a thread that may.
#[derive(Debug, Clone)]
pub struct Footage {
    pub(super) shared: Arc<Shared>,
}

/// What the handle and the recorder's threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) catalogue: Catalogue,
    pub(super) index: IndexHandle,
    pub(super) folders: Folders,
    pub(super) events: broadcast::Sender<RecorderEvent>,
    pub(super) readiness: watch::Sender<Readiness>,
    /// Why the disk takes nothing at the moment.
    pub(super) trouble: watch::Sender<Option<String>>,
    pub(super) figures: Figures,
    /// Held while a file is made, until it is in the catalogue.
    pub(super) making: Mutex<()>,
    pub(super) note: Note,
}

/// Where what a person should know goes.
#[derive(Clone)]
pub(super) struct Note(pub(super) Arc<dyn Fn(Notice) + Send + Sync>);

impl Footage {
    /// The cameras that have footage.
    #[must_use]
    pub fn cameras(&self) -> Vec<CameraId> {
        self.shared.catalogue.cameras()
    }

    /// All segments of a camera in order, without tables, the one still open last. From memory.
    #[must_use]
    pub fn summaries(&self, camera: &CameraId) -> Vec<SegmentSummary> {
        self.shared.catalogue.summaries(camera)
    }

    /// The segments of a camera that overlap the span from `from` to before `to`, in order, the one still open last,
    /// with complete fragments only. Blocks for about a millisecond.
    ///
    /// A segment whose table can't be read, from the index or from its file, is left out with a warning.
    #[must_use]
    pub fn segments(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Vec<Segment> {
        let (closed, open) = self.shared.catalogue.overlapping(camera, from, to);
        let with_table = |(start, entry)| {
            let key = SegmentKey { camera: camera.clone(), start };
            let read = self.shared.with_table(&key, entry);
            read.inspect_err(|error| tracing::warn!(%error, "a segment is left out")).ok()
        };
        closed.into_iter().filter_map(with_table).chain(open).collect()
    }

    /// One closed segment. Blocks for about a millisecond.
    ///
    /// # Errors
    /// It is not there, or its table can't be read.
    pub fn segment(&self, key: &SegmentKey) -> Result<Segment, FootageError> {
        let unknown = || FootageError::Unknown { key: key.clone() };
        let entry = self.shared.catalogue.entry(key).ok_or_else(unknown)?;
        self.shared.with_table(key, entry)
    }

    /// Beginning of a camera's oldest footage.
    #[must_use]
    pub fn oldest(&self, camera: &CameraId) -> Option<UtcMillis> {
        self.shared.catalogue.oldest(camera)
    }

    /// End of a camera's newest footage so far.
    #[must_use]
    pub fn newest(&self, camera: &CameraId) -> Option<UtcMillis> {
        self.shared.catalogue.newest_end(camera)
    }

    /// End of what the runs before this one left of a camera: where the gap of a restart begins. Known from
    /// [`Readiness::Recovered`] on.
    #[must_use]
    pub fn last_recorded(&self, camera: &CameraId) -> Option<UtcMillis> {
        self.shared.catalogue.left(camera)
    }

    /// End of what this run has recorded of a camera and a power cut can't take any more.
    #[must_use]
    pub fn synced(&self, camera: &CameraId) -> Option<UtcMillis> {
        self.shared.catalogue.synced(camera)
    }

    /// How far the recorder has come with what earlier runs left. Nothing should be deleted before
    /// [`Readiness::Complete`].
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.shared.readiness.subscribe()
    }

    /// Why the disk takes no video at the moment, for a person; `None` while it does.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared.trouble.subscribe()
    }

    /// Where footage lies.
    #[must_use]
    pub fn folders(&self) -> &Folders {
        &self.shared.folders
    }

    /// Adds tags to the segments that overlap a span, the open one included. They reach the disk within some seconds;
    /// tags of a segment that a crash left open come back as [`Tags::ALL`].
    pub fn tag(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis, tags: Tags) {
        for key in self.shared.catalogue.tag(camera, from, to, tags) {
            if let Some(entry) = self.shared.catalogue.entry(&key) {
                self.shared.index.change(&key, entry);
            }
        }
    }

    /// Opens the file of a segment. Blocks.
    ///
    /// # Errors
    /// The file is gone or can't be read.
    pub fn open(&self, segment: &Segment) -> Result<SegmentReader, FootageError> {
        match SegmentReader::open(&segment.path, &segment.fragments) {
            Err(FootageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                // It may have been moved to another disk since the caller was told of it.
                let key = segment.key();
                let entry = self.shared.catalogue.entry(&key).ok_or(FootageError::Unknown { key: key.clone() })?;
                SegmentReader::open(&self.shared.folders.file(&key, entry.tier), &segment.fragments)
            }
            opened => opened,
        }
    }

    /// Deletes closed segments, files first and rows after, and gives the bytes that became free. Blocks.
    ///
    /// A segment that is not there counts as deleted, so that an order that was cut off can be given again.
    ///
    /// # Errors
    /// A file can't be deleted; those before it are.
    pub fn remove(&self, keys: &[SegmentKey]) -> Result<u64, FootageError> {
        moving::remove(&self.shared, keys)
    }

    /// Moves a closed segment to another disk: copied and synced there, then the row, then the old file goes. Blocks.
    ///
    /// # Errors
    /// There is no such segment or disk, or a file can't be read or written; the segment is then where it was.
    pub fn relocate(&self, key: &SegmentKey, tier: DiskTier) -> Result<(), FootageError> {
        moving::relocate(&self.shared, key, tier)
    }

    /// What the disk had to do since the start.
    #[must_use]
    pub fn disk_figures(&self) -> DiskFigures {
        self.shared.figures.read()
    }

    /// Listens to what happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<RecorderEvent> {
        self.shared.events.subscribe()
    }
}

impl Shared {
    pub(super) fn new(index: IndexHandle, folders: Folders, note: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self {
            catalogue: Catalogue::default(),
            index,
            folders,
            events: broadcast::channel(EVENTS).0,
            readiness: watch::channel(Readiness::Opening).0,
            trouble: watch::channel(None).0,
            figures: Figures::default(),
            making: Mutex::default(),
            note: Note(Arc::new(note)),
        }
    }

    pub(super) fn tell(&self, event: RecorderEvent) {
        // Nobody listens at times.
        let _ = self.events.send(event);
    }

    pub(super) fn note(&self, notice: Notice) {
        (self.note.0)(notice);
    }

    fn with_table(&self, key: &SegmentKey, entry: Entry) -> Result<Segment, FootageError> {
        let path = self.folders.file(key, entry.tier);
        let fragments = match self.index.table(key) {
            Some(fragments) => fragments,
            // Not written yet, or lost with the index.
            None => read_table(&path)?,
        };
        Ok(entry.segment(key, path, fragments))
    }
}

impl Entry {
    /// The whole segment.
    pub(super) fn segment(self, key: &SegmentKey, path: PathBuf, fragments: Arc<[FragmentInfo]>) -> Segment {
        Segment {
            camera: key.camera.clone(),
            start: key.start,
            end: self.end,
            path,
            tier: self.tier,
            bytes: self.bytes,
            tags: self.tags,
            closed: true,
            fragments,
        }
    }
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Note")
    }
}

/// Names the file in an error.
pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FootageError {
    let path = path.to_owned();
    move |source| FootageError::Io { path, source }
}
