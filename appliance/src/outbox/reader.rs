//! Reading entries in order while the writer goes on.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aivms_contract::health::Notice;
use bytes::Bytes;
use tokio::sync::watch;

use super::Entry;
use super::index::{Index, SpoolFile};
use super::recover::read_from;
use super::spool::{self, FileName, MAX_RECORD_BYTES, Piece, Record};

/// Bytes read at once; holds at least two of the largest records, so that each read gets on.
const WINDOW_BYTES: u64 = 2 * MAX_RECORD_BYTES as u64 + 8 * 1024;

/// What the handles and the writer thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    index: Mutex<Index>,
    /// Where the last reading ended, since the next one begins there.
    mark: Mutex<Option<Mark>>,
    /// Last sequence number on disk.
    pub(crate) kept: watch::Sender<u64>,
    notices: Mutex<Vec<Notice>>,
}

/// A place between two records.
#[derive(Debug, Clone, Copy)]
struct Mark {
    name: FileName,
    offset: u64,
    after: u64,
}

/// What one call has gathered and may still gather.
struct Gather {
    entries: Vec<Entry>,
    after: u64,
    max_entries: usize,
    bytes_left: usize,
}

impl Shared {
    pub(crate) fn new(dir: PathBuf, index: Index) -> Self {
        let kept = watch::Sender::new(index.last());
        Self { dir, index: Mutex::new(index), mark: Mutex::default(), kept, notices: Mutex::default() }
    }

    /// The index; held only for looking or changing, never while the disk is used.
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Entries with higher sequence numbers than `after`: at least one if there is one, then up to both limits.
    pub(crate) fn read_after(&self, after: u64, max_entries: usize, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut gather = Gather { entries: Vec::new(), after, max_entries, bytes_left: max_bytes };
        while gather.wants_more() {
            let Some(file) = self.file_behind(gather.after) else { break };
            match self.read_file(&file, &mut gather) {
                Ok(()) => {}
                // The writer has deleted or replaced it since; the index knows by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_gone(&file) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.report_damage(&file, 0, file.bytes);
                    gather.after = file.last;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(gather.entries)
    }

    fn file_behind(&self, after: u64) -> Option<SpoolFile> {
        let index = self.index();
        let position = index.files.partition_point(|file| file.last <= after);
        index.files.get(position).cloned()
    }

    fn is_gone(&self, file: &SpoolFile) -> bool {
        !self.index().files.iter().any(|other| other.name == file.name)
    }

    fn read_file(&self, file: &SpoolFile, gather: &mut Gather) -> io::Result<()> {
        let mut mark = self.mark(file, gather.after);
        while mark.offset < file.bytes && gather.wants_more() {
            let end = file.bytes.min(mark.offset + WINDOW_BYTES);
            let bytes = read_from(&file.name.path(&self.dir), mark.offset, end)?;
            let missing = end - mark.offset - bytes.len() as u64;
            let taken = gather.take_from(&bytes, end == file.bytes || missing > 0);
            if taken.damaged > 0 || missing > 0 {
                self.report_damage(file, mark.offset, taken.damaged as u64 + missing);
            }
            mark.offset += taken.bytes as u64;
            if missing > 0 && taken.bytes == bytes.len() {
                mark.offset = file.bytes;
            }
        }
        if mark.offset >= file.bytes {
            // The rest may be gone, but the file is done with; without this a damaged end would be read for ever.
            gather.after = gather.after.max(file.last);
        }
        mark.after = gather.after;
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
        Ok(())
    }

    fn mark(&self, file: &SpoolFile, after: u64) -> Mark {
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        mark.filter(|mark| mark.name == file.name && mark.after == after).unwrap_or(Mark {
            name: file.name,
            offset: 0,
            after,
        })
    }

    /// A file that was sound at open is no longer: says so once per reading, never silently.
    fn report_damage(&self, file: &SpoolFile, offset: u64, bytes: u64) {
        let message = format!("outbox: {bytes} damaged bytes in {} behind offset {offset} were skipped", file.name);
        tracing::error!(file = %file.name, offset, bytes, "damaged spool file");
        let notice = Notice { code: "events_lost".to_owned(), message, camera_id: None };
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }
}

/// How far a window was used.
struct Taken {
    bytes: usize,
    damaged: usize,
}

impl Gather {
    fn wants_more(&self) -> bool {
        self.entries.len() < self.max_entries && (self.entries.is_empty() || self.bytes_left > 0)
    }

    /// Takes records from a window; `whole` says that the file ends with it.
    fn take_from(&mut self, window: &[u8], whole: bool) -> Taken {
        let mut taken = Taken { bytes: 0, damaged: 0 };
        for piece in spool::walk(window) {
            match piece {
                Piece::Damage { at, bytes } if at + bytes < window.len() || whole => {
                    taken.damaged += bytes;
                    taken.bytes = at + bytes;
                }
                Piece::Damage { at, bytes } => {
                    // Either a record cut by the window, which begins the next one, or damage that goes on.
                    let cut = bytes.min(MAX_RECORD_BYTES - 1);
                    taken.damaged += bytes - cut;
                    taken.bytes = at + bytes - cut;
                }
                Piece::Record(record, at) => {
                    if !self.take(&record) {
                        break;
                    }
                    taken.bytes = at + spool::HEAD_BYTES + record.payload.len();
                }
            }
        }
        taken
    }

    /// Takes a record, or passes over one that is not wanted; false when the limits are reached.
    fn take(&mut self, record: &Record<'_>) -> bool {
        let Some(kind) = record.kind.filter(|_| record.seq > self.after) else { return true };
        let size = record.payload.len();
        if self.entries.len() >= self.max_entries || (!self.entries.is_empty() && size > self.bytes_left) {
            self.bytes_left = 0;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(size);
        self.after = record.seq;
        self.entries.push(Entry { seq: record.seq, kind, json: Bytes::copy_from_slice(record.payload) });
        true
    }
}
