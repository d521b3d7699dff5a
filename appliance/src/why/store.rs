//! The files: JSON lines in `why` of the data folder, one file for each hour, or several for a busy one.
//!
//! A line is on the disk when the system pleases: nothing is forced there, so a power cut costs the last seconds.
//! Files go when they are too old, and the oldest first when there are too many bytes or the disk is nearly full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aivms_contract::time::UtcMillis;
use aivms_contract::why::Decision;

use crate::config;
use crate::health::disk_space;
use crate::state::durable;

/// Room on the disk that is left to the outbox and the rest of the system.
const LEAVE_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// Parts of the allowed bytes that one file may take: the oldest file is what is deleted at once.
const FILES: u64 = 16;
/// Least bytes of a file before the next is begun.
const LEAST_FILE_BYTES: u64 = 4096;

/// Writes and deletes the files. Only one at a time may have a folder.
#[derive(Debug)]
pub struct WhyStore {
    dir: PathBuf,
    limits: config::Why,
    leave_free: u64,
    open: Option<Open>,
}

/// The file written to.
#[derive(Debug)]
struct Open {
    name: FileName,
    file: File,
    bytes: u64,
}

/// The hour in UTC in which a file was written, and its place among those of that hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    hour: UtcMillis,
    part: u16,
}

impl WhyStore {
    /// The store in `data_dir`; nothing is touched before the first decision.
    #[must_use]
    pub fn new(data_dir: &Path, limits: config::Why) -> Self {
        Self { dir: folder(data_dir), limits, leave_free: LEAVE_FREE_BYTES, open: None }
    }

    /// The same store, as at the start of the program.
    pub(super) fn reopened(&self) -> Self {
        Self { dir: self.dir.clone(), open: None, ..*self }
    }

    #[cfg(test)]
    pub(super) fn leaving_free(self, leave_free: u64) -> Self {
        Self { leave_free, ..self }
    }

    /// Deletes what is too old or too much and writes `decisions`, which may be none, into the file of the hour of
    /// `now`.
    ///
    /// # Errors
    /// What the system said, or that there is no room. The decisions are lost then; the next ones may be kept.
    pub fn append(&mut self, decisions: &[Decision], now: UtcMillis) -> io::Result<()> {
        let text = if self.limits.keep.is_zero() { vec![] } else { lines(decisions)? };
        let files = self.delete_old(now)?;
        if text.is_empty() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.dir)?;
        self.make_room(files, text.len() as u64)?;
        let written = self.file_at(now).and_then(|open| {
            open.bytes += text.len() as u64;
            open.file.write_all(&text)
        });
        if written.is_err() {
            self.open = None;
        }
        written
    }

    /// Deletes the files that are too old; gives the others, those first that go first when room is needed.
    ///
    /// Files dated ahead are not too old: it is the present clock that may be wrong, as it is on a device that starts
    /// without one. They go first.
    fn delete_old(&mut self, now: UtcMillis) -> io::Result<Vec<(FileName, u64)>> {
        let is_old = |name: &FileName| now.since(name.hour) >= self.limits.keep + HOUR || self.limits.keep.is_zero();
        let (old, mut files): (Vec<_>, Vec<_>) = list(&self.dir)?.into_iter().partition(|(name, _)| is_old(name));
        old.iter().try_for_each(|(name, _)| self.delete(*name))?;
        files.sort_by_key(|(name, _)| (name.hour.since(now) <= HOUR, *name));
        Ok(files)
    }

    /// Deletes the oldest files until `bytes` more fit.
    fn make_room(&mut self, files: Vec<(FileName, u64)>, bytes: u64) -> io::Result<()> {
        let mut used: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        let free = disk_space(&self.dir)?.free_bytes;
        let allowed = self.limits.max_bytes.min((used + free).saturating_sub(self.leave_free));
        for (name, size) in files {
            if used + bytes <= allowed {
                return Ok(());
            }
            self.delete(name)?;
            used -= size;
        }
        let fits = used + bytes <= allowed;
        fits.then_some(()).ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "too little room on the disk"))
    }

    fn delete(&mut self, name: FileName) -> io::Result<()> {
        self.open.take_if(|open| open.name == name);
        durable::delete(&self.dir.join(name.to_string()))
    }

    /// The file of the hour of `now`, begun anew when it is too large.
    fn file_at(&mut self, now: UtcMillis) -> io::Result<&mut Open> {
        let most = (self.limits.max_bytes / FILES).max(LEAST_FILE_BYTES);
        let hour = FileName::first_of(now);
        let mut open = match self.open.take().filter(|open| open.name.hour == hour.hour) {
            Some(open) => open,
            None => {
                let last = list(&self.dir)?.into_iter().map(|(name, _)| name).rfind(|name| name.hour == hour.hour);
                Open::at(&self.dir, last.unwrap_or(hour))?
            }
        };
        if open.bytes >= most {
            open = Open::at(&self.dir, FileName { part: open.name.part.saturating_add(1), ..open.name })?;
        }
        Ok(self.open.insert(open))
    }
}

impl Open {
    fn at(dir: &Path, name: FileName) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(dir.join(name.to_string()))?;
        let bytes = file.metadata()?.len();
        if bytes > 0 {
            // What a crash has cut off becomes a line of its own, which no reader understands.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self { name, file, bytes })
    }
}

const HOUR: Duration = Duration::from_secs(3600);

impl FileName {
    fn first_of(at: UtcMillis) -> Self {
        let hour = at.as_millis().div_euclid(3_600_000) * 3_600_000;
        Self { hour: UtcMillis::from_millis(hour), part: 0 }
    }

    fn parse(name: &str) -> Option<Self> {
        let (hour, part) = name.strip_suffix(".jsonl")?.split_once('_')?;
        Some(Self { hour: format!("{hour}:00:00Z").parse().ok()?, part: part.parse().ok()? })
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hour = self.hour.to_string();
        let hour = hour.split(':').next().unwrap_or_default();
        write!(f, "{hour}_{:05}.jsonl", self.part)
    }
}

/// Where the files are.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("why")
}

/// The files with their sizes, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(FileName, u64)>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut files = vec![];
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(FileName::parse) {
            // One that is gone meanwhile counts for nothing.
            files.push((name, entry.metadata().map_or(0, |metadata| metadata.len())));
        }
    }
    files.sort_unstable();
    Ok(files)
}

impl FileName {
    /// The beginning of the file's hour.
    pub(super) fn hour(self) -> UtcMillis {
        self.hour
    }
}

fn lines(decisions: &[Decision]) -> io::Result<Vec<u8>> {
    let mut text = vec![];
    for decision in decisions {
        serde_json::to_writer(&mut text, decision)?;
        text.push(b'\n');
    }
    Ok(text)
}
