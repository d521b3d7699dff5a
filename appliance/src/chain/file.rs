//! The files of one camera's chain: numbered, each up to a size, only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{BeginReason, Chained, Entry, KeyId, Line};

use crate::state::durable;

/// The folder beside a camera's footage. No camera's day is called so.
pub(super) const FOLDER: &str = "chain";
/// The extension of the files.
const EXTENSION: &str = "chain";
/// Bytes after which a new file is begun: about a day of one camera.
const FILE_BYTES: u64 = 1024 * 1024;

/// How the record of a segment goes on.
const SEGMENT: &str = r#""what":{"segment":{"start":""#;

/// The end of one camera's chain, open for appending.
#[derive(Debug)]
pub(super) struct ChainFile {
    dir: PathBuf,
    number: u32,
    open: Option<(File, u64)>,
    /// The last record.
    pub(super) head: Option<Chained>,
    /// The key that the chain was signed with last.
    pub(super) key: Option<KeyId>,
    /// Why a chain must be begun before anything else; absent when there is one.
    pub(super) begin: Option<BeginReason>,
}

/// Bytes that a crash left at the end of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CutOff {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl ChainFile {
    /// Opens the chain in the camera's folder and cuts off what a crash left unfinished.
    pub(super) fn open(dir: PathBuf) -> io::Result<(Self, Option<CutOff>)> {
        let files = files(&dir);
        let mut chain = Self { dir, number: 0, open: None, head: None, key: None, begin: None };
        let Some(last) = files.last() else {
            chain.begin = Some(BeginReason::NoChain);
            return Ok((chain, None));
        };
        chain.number = number(last).unwrap_or(0);
        let mut cut_off = None;
        for (age, path) in files.iter().rev().enumerate() {
            let text = std::fs::read(path)?;
            let (lines, good) = whole_lines(&text);
            // What is older than the newest line is never touched.
            if chain.head.is_none() && good < text.len() as u64 {
                cut_off = Some(cut(path, good, text.len() as u64)?);
            }
            if age == 0 {
                chain.open = Some((append_to(path)?, good));
            }
            chain.head = chain.head.or(lines.last().map(Line::place));
            chain.key = lines.iter().rev().find_map(key_after);
            if chain.head.is_some() && chain.key.is_some() {
                break;
            }
        }
        if chain.head.is_none() {
            (chain.begin, chain.open) = (Some(BeginReason::Damaged), None);
        }
        Ok((chain, cut_off))
    }

    /// Appends lines and waits until they are on the disk. After an error nothing of them counts.
    pub(super) fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let Some(last) = lines.last() else { return Ok(()) };
        let (mut file, length) = match self.open.take().filter(|(_, length)| *length < FILE_BYTES) {
            Some(open) => open,
            None => self.next_file()?,
        };
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            // Whatever reached the file is taken back, or is cut off at the next opening.
            if file.set_len(length).and_then(|()| file.sync_data()).is_ok() {
                self.open = Some((file, length));
            }
            return Err(error);
        }
        self.open = Some((file, length + text.len() as u64));
        (self.head, self.begin) = (Some(last.place()), None);
        self.key = lines.iter().rev().find_map(key_after).or(self.key);
        Ok(())
    }

    /// Whether a failed append left the file in a state that only opening the chain again can mend.
    pub(super) fn must_reopen(&self) -> bool {
        self.open.is_none() && self.head.is_some()
    }

    fn next_file(&mut self) -> io::Result<(File, u64)> {
        durable::make_dir(&self.dir)?;
        let path = self.dir.join(format!("{:08}.{EXTENSION}", self.number + 1));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        durable::sync_dir(&self.dir)?;
        self.number += 1;
        Ok((file, 0))
    }
}

/// The folder of a camera's chain.
pub(super) fn folder(recordings: &Path, camera: &CameraId) -> PathBuf {
    recordings.join(camera.as_str()).join(FOLDER)
}

/// The files of a chain, oldest first.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| number(path).is_some()).collect();
    files.sort();
    files
}

fn number(path: &Path) -> Option<u32> {
    let named = path.extension()? == EXTENSION;
    path.file_stem()?.to_str()?.parse().ok().filter(|_| named)
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

fn cut(path: &Path, good: u64, length: u64) -> io::Result<CutOff> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(good)?;
    file.sync_data()?;
    Ok(CutOff { path: path.to_owned(), bytes: length - good })
}

/// The lines that read, and where the last of them ends. Damage before it stays, for `verify` to find.
fn whole_lines(text: &[u8]) -> (Vec<Line>, u64) {
    let (mut lines, mut good, mut at) = (Vec::new(), 0, 0);
    for piece in text.split_inclusive(|byte| *byte == b'\n') {
        at += piece.len() as u64;
        if let Some(line) = piece.strip_suffix(b"\n")
            && let Ok(line) = Line::parse(line)
        {
            lines.push(line);
            good = at;
        }
    }
    (lines, good)
}

/// The beginnings of the segments that have a record in a file. Looks for what no text in a record can hold unescaped,
/// which is many times faster than reading every record.
pub(super) fn sealed_in(text: &[u8]) -> impl Iterator<Item = UtcMillis> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| line.split_once(SEGMENT)?.1.split_once('"')?.0.parse().ok())
}

/// The key that records after this one are signed with, as far as it tells.
fn key_after(line: &Line) -> Option<KeyId> {
    match &line.record().what {
        Entry::Key(change) => Some(change.public_key.id()),
        _ => line.record().key,
    }
}
