//! The file of a segment that is being written. Whatever fails, it ends with a complete fragment.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::FragmentInfo;
use aivms_footage::init::{SegmentAbout, init_segment};
use aivms_footage::table::{FragmentTable, write_tail};
use aivms_footage::track::Tracks;

use super::catalogue::Catalogue;
use super::layout::Folders;
use super::moving;
use super::segment::{DiskTier, SegmentKey, wall_end, wall_start};
use super::ticket::Ticket;
use crate::state::durable;

/// Names tried for a segment that begins in the millisecond of another one, as after the clock was set back.
const NAMES: i64 = 10_000;

/// A segment file that grows.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) key: SegmentKey,
    pub(super) ticket: Arc<Ticket>,
    pub(super) path: PathBuf,
    pub(super) table: FragmentTable,
    pub(super) end: UtcMillis,
    file: File,
    /// Bytes up to the end of the last complete fragment.
    bytes: u64,
    /// When what is not synced yet has to be.
    sync_at: Option<Instant>,
}

impl Growing {
    /// Makes the file of a segment that begins at `wall`, or some milliseconds later where one of that name is.
    pub(super) fn create(
        folders: &Folders,
        catalogue: &Catalogue,
        ticket: Arc<Ticket>,
        (edge, tracks): (Option<EdgeId>, &Tracks),
        wall: UtcMillis,
    ) -> io::Result<Self> {
        let (key, path, file) = free_name(folders, catalogue, &ticket, wall)?;
        let about = SegmentAbout { edge, camera: key.camera.clone(), start: key.start };
        let head = init_segment(tracks, &about);
        let mut growing =
            Self { end: key.start, key, ticket, path, file, bytes: 0, table: FragmentTable::default(), sync_at: None };
        let made = growing.append(&head).and_then(|()| sync_names(&growing.path));
        if let Err(error) = made {
            let _ = moving::delete(&growing.path);
            return Err(error);
        }
        Ok(growing)
    }

    /// Writes a fragment at the end; `info` then says where it lies. Nothing of it stays when that fails.
    pub(super) fn write(&mut self, bytes: &[u8], mut info: FragmentInfo) -> io::Result<FragmentInfo> {
        info.offset = self.bytes;
        self.append(bytes)?;
        self.table.fragments.push(info);
        self.end = self.span(&info).1;
        Ok(info)
    }

    /// Wall times at which a fragment of this segment, written or not, begins and ends.
    pub(super) fn span(&self, info: &FragmentInfo) -> (UtcMillis, UtcMillis) {
        let first = self.table.fragments.first().unwrap_or(info);
        (wall_start(first, info), wall_end(first, info))
    }

    /// Bytes up to the end of the last complete fragment.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Asks for a sync at `at` at the latest.
    pub(super) fn sync_by(&mut self, at: Instant) {
        self.sync_at = Some(self.sync_at.map_or(at, |due| due.min(at)));
    }

    /// When a sync is due.
    pub(super) fn sync_at(&self) -> Option<Instant> {
        self.sync_at
    }

    /// Syncs what was written and says how long that took.
    pub(super) fn sync(&mut self) -> io::Result<Duration> {
        self.sync_at = None;
        let begun = Instant::now();
        self.file.sync_data()?;
        Ok(begun.elapsed())
    }

    /// Writes the table behind the last fragment. Without room for it the file ends with the fragment, which is as good.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let tail = write_tail(&self.table);
        self.append(&tail)?;
        self.sync().map(|_| ())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.bytes) {
            // The next start would cut it off as well.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Makes a file's name durable, and those of the folders of its day and its camera and of all footage, which a run that
/// was killed may have made and not synced.
fn sync_names(path: &Path) -> io::Result<()> {
    path.ancestors().skip(1).take(4).filter(|dir| !dir.as_os_str().is_empty()).try_for_each(durable::sync_dir)
}

fn free_name(
    folders: &Folders,
    catalogue: &Catalogue,
    ticket: &Ticket,
    wall: UtcMillis,
) -> io::Result<(SegmentKey, PathBuf, File)> {
    for later in 0..NAMES {
        let key = SegmentKey {
            camera: ticket.camera.clone(),
            start: UtcMillis::from_millis(wall.as_millis().max(0).saturating_add(later)),
        };
        if catalogue.holds(&key) {
            continue;
        }
        let path = folders.file(&key, DiskTier::Fast);
        if let Some(dir) = path.parent() {
            durable::make_dir(dir)?;
        }
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((key, path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Retention has just deleted the last file of this day, and the folder with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && later == 0 => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name for a segment of this time is taken"))
}
