//! What earlier runs left: opens the index, compares it with the files, and closes what a crash left open.
//!
//! The files are the truth. A file without a row is scanned: cut back to its last complete fragment, closed, and put
//! into the index; a row without a file is dropped. The newest files of each camera come first, since a crash is most
//! likely to have left those; a lost index is rebuilt in the same way, while recording goes on. A file in which no
//! fragment is found, and which is large enough to hold video, is never deleted: it is put aside under another name.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use aivms_contract::health::Notice;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::scan::{Scan, scan};
use aivms_footage::table::{FragmentTable, write_tail};

use super::catalogue::Entry;
use super::footage::{Readiness, Shared};
use super::index::{Found, IndexKeeper};
use super::layout::{DAMAGED, cameras_in, partial_in, segments_in};

use super::segment::{DiskTier, SegmentKey, Tags, wall_end};
use crate::state::durable;

/// Files of each camera that are mended before anything else: one that was open, and one whose row was not synced.
const NEWEST: usize = 2;
/// Bytes below which a file without a readable fragment holds no video: its head and less than a picture.
const WITHOUT_VIDEO: u64 = 64 * 1024;
/// Pause before an index that can't be opened is tried again.
const OPEN_PAUSE: Duration = Duration::from_secs(5);

/// What was done about what earlier runs left.
#[derive(Debug, Default)]
struct Mended {
    /// Files that a crash had left open.
    closed: usize,
    /// Files without anything in them.
    empty: usize,
    /// Files whose head or first fragment is damaged, put aside; the first of them under its new name.
    damaged: usize,
    first_damaged: Option<PathBuf>,
    /// Bytes cut off behind the last complete fragment.
    cut: u64,
    /// Closed files that the index did not know.
    added: usize,
    /// Rows whose file is gone.
    dropped: usize,
}

/// Does all of the above, then keeps the index until it is told to close.
pub(super) fn run(mut keeper: IndexKeeper, shared: &Shared) {
    let mut mended = Mended::default();
    let found = open(&mut keeper, shared, &mut mended);
    if keeper.closed {
        return;
    }
    mended.compare(&mut keeper, shared, found);
    mended.tell(shared);
    shared.readiness.send_replace(Readiness::Complete);
    keeper.serve(None);
}

/// Opens the index. While that fails, what was recorded last is mended all the same.
fn open(keeper: &mut IndexKeeper, shared: &Shared, mended: &mut Mended) -> Found {
    let mut complained = false;
    loop {
        match keeper.open() {
            Ok((found, notices)) => {
                notices.into_iter().for_each(|notice| shared.note(notice));
                return found;
            }
            Err(error) if !complained => {
                complained = true;
                tracing::error!(%error, "the index of recordings can't be opened; recording goes on without it");
                for camera in cameras(shared, &Found::default()) {
                    let newest = Listed::new(shared, &camera).without_row(&camera, &[]).0;
                    newest.iter().for_each(|(key, tier)| mended.mend(shared, key, *tier));
                }
                shared.readiness.send_replace(Readiness::Recovered);
            }
            Err(_) => {}
        }
        keeper.serve(Some(Instant::now() + OPEN_PAUSE));
        if keeper.closed {
            return Found::default();
        }
    }
}

type Files = Vec<(SegmentKey, DiskTier)>;

/// The beginnings of one camera's files on each disk, in order.
struct Listed {
    fast: Vec<UtcMillis>,
    slow: Vec<UtcMillis>,
}

impl Listed {
    fn new(shared: &Shared, camera: &CameraId) -> Self {
        let on = |tier| shared.folders.of(tier).map_or_else(Vec::new, |dir| segments_in(dir, camera));
        Self { fast: on(DiskTier::Fast), slow: on(DiskTier::Slow) }
    }

    fn holds(&self, start: UtcMillis, tier: DiskTier) -> bool {
        let starts = if tier == DiskTier::Fast { &self.fast } else { &self.slow };
        starts.binary_search(&start).is_ok()
    }

    /// The files that have no row, the newest of each disk first; the first of them apart.
    fn without_row(&self, camera: &CameraId, rows: &[(UtcMillis, Entry)]) -> (Files, Files) {
        let (mut newest, mut others) = (Vec::new(), Vec::new());
        for (tier, starts) in [(DiskTier::Fast, &self.fast), (DiskTier::Slow, &self.slow)] {
            let missing = starts.iter().rev().filter(|start| rows.binary_search_by_key(start, |(at, _)| at).is_err());
            for (place, start) in missing.enumerate() {
                let key = SegmentKey { camera: camera.clone(), start: *start };
                if place < NEWEST { newest.push((key, tier)) } else { others.push((key, tier)) }
            }
        }
        (newest, others)
    }
}

/// The cameras that have a row or a folder.
fn cameras(shared: &Shared, found: &Found) -> BTreeSet<CameraId> {
    let folders = shared.folders.tiers().flat_map(|(_, dir)| cameras_in(dir));
    folders.chain(found.segments.keys().cloned()).collect()
}

impl Mended {
    fn compare(&mut self, keeper: &mut IndexKeeper, shared: &Shared, mut found: Found) {
        if found.damaged > 0 {
            tracing::warn!(
                rows = found.damaged,
                "damaged rows of the index of recordings are made anew from the files"
            );
        }
        for (_, dir) in shared.folders.tiers() {
            partial_in(dir).iter().for_each(|path| drop(durable::delete(path)));
        }
        let mut older = Vec::new();
        for camera in cameras(shared, &found) {
            let rows = found.segments.remove(&camera).unwrap_or_default();
            let listed = Listed::new(shared, &camera);
            for (start, entry) in &rows {
                self.row(shared, &SegmentKey { camera: camera.clone(), start: *start }, *entry, &listed);
                keeper.drain();
            }
            let (newest, others) = listed.without_row(&camera, &rows);
            newest.iter().for_each(|(key, tier)| self.mend(shared, key, *tier));
            older.extend(others);
        }
        shared.readiness.send_replace(Readiness::Recovered);
        for (key, tier) in older {
            keeper.drain();
            if keeper.closed {
                return;
            }
            self.mend(shared, &key, tier);
        }
    }

    /// Takes over a row, if its file is there; a move between disks that was cut off is ended.
    fn row(&mut self, shared: &Shared, key: &SegmentKey, entry: Entry, listed: &Listed) {
        let there = |tier| listed.holds(key.start, tier);
        let other = match entry.tier {
            DiskTier::Fast => DiskTier::Slow,
            DiskTier::Slow => DiskTier::Fast,
        };
        match (there(entry.tier), there(other)) {
            (true, twice) => {
                shared.catalogue.put_left(key, entry);
                if twice {
                    let _ = durable::delete(&shared.folders.file(key, other));
                }
            }
            (false, true) => {
                let entry = Entry { tier: other, ..entry };
                shared.catalogue.put_left(key, entry);
                shared.index.change(key, entry);
            }
            // A second disk that is not mounted, or not configured any more, may come back.
            (false, false) if shared.folders.of(entry.tier).is_none_or(|dir| !dir.exists()) => {}
            (false, false) => {
                self.dropped += 1;
                shared.index.remove(key);
            }
        }
    }

    /// Puts a file that the index does not know into it.
    fn mend(&mut self, shared: &Shared, key: &SegmentKey, tier: DiskTier) {
        {
            // Not one that this run has just made.
            let _making = shared.making.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.catalogue.holds(key) {
                return;
            }
        }
        let path = shared.folders.file(key, tier);
        let result = OpenOptions::new().read(true).write(true).open(&path).and_then(|file| self.close(&file));
        match result {
            Ok(Some((table, end, bytes))) => {
                let entry = Entry { end, bytes, tier, tags: Tags::ALL };
                shared.catalogue.put_left(key, entry);
                shared.index.put(key, entry, &table);
            }
            Ok(None) => self.unreadable(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(path = %path.display(), %error, "a recording can't be read and is left out"),
        }
    }

    /// Deletes a file that can't hold video, and puts one that may hold some aside.
    fn unreadable(&mut self, path: &Path) {
        let put_aside = match path.metadata() {
            Ok(metadata) if metadata.len() < WITHOUT_VIDEO => {
                self.empty += 1;
                let _ = durable::delete(path);
                return;
            }
            Ok(_) => put_aside(path),
            Err(error) => Err(error),
        };
        match put_aside {
            Ok(aside) => {
                tracing::error!(path = %aside.display(), "a recording is damaged; it is kept under this name");
                self.damaged += 1;
                self.first_damaged.get_or_insert(aside);
            }
            Err(error) => tracing::error!(path = %path.display(), %error, "a damaged recording can't be put aside"),
        }
    }

    /// Ends a file with its last complete fragment. Gives what is in it, if anything.
    fn close(&mut self, file: &File) -> io::Result<Option<(FragmentTable, UtcMillis, u64)>> {
        let Some(Scan { fragments, good_bytes, closed, .. }) = scan(file)? else { return Ok(None) };
        let (Some(first), Some(last)) = (fragments.first(), fragments.last()) else { return Ok(None) };
        let end = wall_end(first, last);
        let table = FragmentTable { fragments };
        if closed {
            self.added += 1;
            return Ok(Some((table, end, good_bytes)));
        }
        self.closed += 1;
        self.cut += file.metadata()?.len().saturating_sub(good_bytes);
        file.set_len(good_bytes)?;
        let tail = write_tail(&table);
        let bytes = match file.write_all_at(&tail, good_bytes) {
            Ok(()) => good_bytes + tail.len() as u64,
            Err(_) => {
                // No room: the table is in the index, and the fragments speak for themselves.
                file.set_len(good_bytes)?;
                good_bytes
            }
        };
        file.sync_data()?;
        Ok(Some((table, end, bytes)))
    }

    fn tell(&self, shared: &Shared) {
        let Self { closed, empty, damaged, first_damaged, cut, added, dropped } = self;
        if *closed + *empty + *added + *damaged > 0 {
            tracing::info!(closed, empty, damaged, cut_bytes = cut, added, "recordings of an earlier run were mended");
        }
        if *dropped > 0 {
            let message = format!("{dropped} recordings are in the index and not on the disk; they were dropped");
            shared.note(Notice { code: "footage_missing".to_owned(), message, camera_id: None });
        }
        if let Some(first) = first_damaged {
            let message = format!(
                "recordings are damaged and kept aside ({damaged}): {}; retention leaves them",
                first.display()
            );
            shared.note(Notice { code: "footage_damaged".to_owned(), message, camera_id: None });
        }
    }
}

/// Renames a damaged file to a name beside it that is free. Gives that name.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let name = |number: usize| match number {
        0 => path.with_added_extension(DAMAGED),
        _ => path.with_added_extension(format!("{number}.{DAMAGED}")),
    };
    let mut names = (0..).map(name);
    let free = names.find(|aside| !aside.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    std::fs::rename(path, &free)?;
    durable::sync_parent(&free)?;
    Ok(free)
}

/// Starts the thread that does all this.
pub(super) fn spawn(keeper: IndexKeeper, shared: Arc<Shared>) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("footage-index".into()).spawn(move || run(keeper, &shared))
}
