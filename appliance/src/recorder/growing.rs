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
use aivms_footage::scan::scan_media;
use aivms_footage::table::{FragmentTable, write_tail};
use aivms_footage::track::Tracks;

use super::catalogue::Catalogue;
use super::layout::Folders;
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
    /// Fragments that a sync has confirmed.
    synced: usize,
    /// A sync failed: what was written since the last one may be there or not, whatever later syncs say.
    doubtful: bool,
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
        let (end, table) = (key.start, FragmentTable::default());
        let mut growing =
            Self { end, key, ticket, path, file, bytes: 0, table, sync_at: None, synced: 0, doubtful: false };
        let made = growing.append(&head).and_then(|()| sync_names(&growing.path));
        if let Err(error) = made {
            let _ = durable::delete(&growing.path);
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

    /// Whether a sync failed, so that nothing after the last good one is known to be on the disk.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Syncs what was written and says how long that took.
    pub(super) fn sync(&mut self) -> io::Result<Duration> {
        self.sync_at = None;
        let begun = Instant::now();
        self.file.sync_data().inspect_err(|_| self.doubtful = true)?;
        self.synced = self.table.fragments.len();
        Ok(begun.elapsed())
    }

    /// Writes the table behind the last fragment. Without room for it the file ends with the fragment, which is as good.
    ///
    /// After a sync that failed only the fragments that can be read again stay; `table` and `end` say which. When none
    /// can, the file is left as it is, for the next start to look at.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let finished = if self.doubtful { Ok(()) } else { self.write_tail() };
        if !self.doubtful {
            return finished;
        }
        self.keep_readable();
        if self.table.fragments.is_empty() { finished } else { finished.and(self.write_tail()) }
    }

    /// Cuts the file back to the fragments that are still what was written.
    fn keep_readable(&mut self) {
        // The pages that the system failed to write are to be read from the disk, and not from its memory.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
        let known = &mut self.table.fragments;
        let whole = match scan_media(&self.file) {
            Ok(Some(found)) => known.iter().zip(&found.fragments).take_while(|(known, found)| known == found).count(),
            Ok(None) => 0,
            Err(_) => self.synced,
        };
        known.truncate(whole);
        let (Some(first), Some(last)) = (known.first(), known.last()) else {
            self.end = self.key.start;
            return;
        };
        (self.end, self.bytes) = (wall_end(first, last), last.end());
        let _ = self.file.set_len(self.bytes);
    }

    fn write_tail(&mut self) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use aivms_contract::geometry::FrameSize;
    use aivms_footage::fragment::{Fragment, write_fragment};
    use aivms_footage::scan::scan;
    use aivms_footage::track::{VideoCodec, VideoTrack};
    use bytes::Bytes;

    use super::*;

    /// A file with three fragments, a second long each; the first two were synced.
    fn grown(dir: &Path) -> Growing {
        let config = Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff, 0xe0]);
        let frame = FrameSize { width: 320, height: 180 };
        let tracks = Tracks { video: VideoTrack { codec: VideoCodec::H264, frame, config }, audio: None };
        let ticket = Arc::new(Ticket::new("gate".parse().unwrap()));
        let folders = Folders { fast: dir.to_owned(), slow: None };
        let start = UtcMillis::from_millis(1_795_352_700_000);
        let mut growing = Growing::create(&folders, &Catalogue::default(), ticket, (None, &tracks), start).unwrap();
        for number in 0..3 {
            let data: Bytes = [&[0, 0, 0, 200][..], &[number as u8 + 1; 200]].concat().into();
            let dts = number * 90_000;
            let sample = aivms_footage::fragment::Sample { dts, composition: 0, duration: 90_000, key: true, data };
            let wall = start + Duration::from_secs(number);
            let fragment = Fragment { wall, video: vec![sample], audio: Vec::new() };
            let mut bytes = Vec::new();
            let info = write_fragment(&fragment, number as u32 + 1, 0, &mut bytes).unwrap();
            growing.write(&bytes, info).unwrap();
            if number == 1 {
                growing.sync().unwrap();
            }
        }
        growing
    }

    #[test]
    fn after_a_sync_that_failed_a_segment_ends_with_what_can_be_read_again() {
        for (lost, kept) in [(2, 2), (0, 0), (3, 3)] {
            let dir = tempfile::tempdir().unwrap();
            let mut growing = grown(dir.path());
            growing.doubtful = true;
            if let Some(info) = growing.table.fragments.get(lost) {
                growing.file.write_all_at(&[0; 100], info.end() - 100).unwrap();
            }
            growing.finish().unwrap();
            assert!(growing.is_doubtful());
            assert_eq!(growing.table.fragments.len(), kept);
            assert_eq!(growing.end, growing.key.start + Duration::from_secs(kept as u64));
            let found = scan(&growing.file).unwrap().unwrap();
            assert_eq!((found.fragments.len(), found.closed), (kept, kept > 0));
        }
    }
}
