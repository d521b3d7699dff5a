//! What is left after any end of the program: the scan of the spool files at open.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::{fs, mem};

use super::compact::compact;
use super::index::{Fills, Index, Settled, SpoolFile};
use super::marks::Marks;
use super::spool::{self, FileName, HEAD_BYTES, Owner, Piece, Record};
use crate::state::durable;

/// No envelope is smaller; bounds how many a damaged stretch can have held.
const MIN_RECORD_BYTES: u64 = HEAD_BYTES as u64 + 100;

/// The spool as it was found and mended.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// Higher than the turn of any file.
    pub(crate) turn: u64,
    /// Most events that damage can have cost.
    pub(crate) lost: u64,
    /// Files that hold nothing to send; to be deleted once `outbox.json` no longer lists them.
    pub(crate) obsolete: Vec<PathBuf>,
}

/// The files of a spool directory by name, and the owner that the first readable head states.
///
/// Deletes what compactions and replaced files never finished.
pub(crate) fn survey(dir: &Path) -> io::Result<(Vec<FileName>, Option<Owner>)> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".new") {
            fs::remove_file(entry.path())?;
        }
        names.extend(FileName::parse(&name));
    }
    names.sort_unstable();
    let owner = names.iter().find_map(|name| {
        let bytes = fs::read(name.path(dir)).ok()?;
        match spool::walk(&bytes).next()? {
            Piece::Record(record, _) => spool::head_of(&record),
            Piece::Damage { .. } => None,
        }
    });
    Ok((names, owner))
}

/// What was known about the outbox before; each part may be behind or missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remembered<'a> {
    pub(crate) acknowledged: u64,
    /// Everything up to here was on disk at least.
    pub(crate) kept: u64,
    pub(crate) marks: Option<&'a Marks>,
}

/// Reads every file, cuts a torn tail, and writes files that are damaged inside anew.
///
/// # Errors
/// The directory can't be changed; a damaged file is no error.
pub(crate) fn recover(
    dir: &Path,
    owner: &Owner,
    names: &[FileName],
    remembered: Remembered<'_>,
) -> io::Result<Recovered> {
    let Remembered { acknowledged, kept, marks } = remembered;
    let (dropped, names): (Vec<FileName>, Vec<FileName>) =
        names.iter().partition(|name| marks.is_some_and(|marks| marks.has_dropped(**name)));
    let turn = names.iter().map(|name| name.turn + 1).max().max(marks.map(|marks| marks.turn)).unwrap_or(0);
    let obsolete = dropped.iter().map(|name| name.path(dir)).collect();
    let recovered = Recovered { turn, obsolete, ..Recovered::default() };
    let mut scan = Scan { dir, owner, acknowledged, kept, last: 0, damaged: 0, recovered };
    let mut gone: Vec<FileName> = Vec::new();
    for (position, name) in names.iter().enumerate() {
        if !scan.file(*name, &names[position + 1..])? {
            gone.push(*name);
        }
    }
    let listed = marks.map_or(&[][..], |marks| &marks.files);
    let missing = listed.iter().filter(|file| gone.contains(&file.name) || !names.contains(&file.name));
    scan.recovered.lost += missing.filter(|file| file.last > acknowledged).map(|file| file.entries).sum::<u64>();
    scan.recovered.index.acknowledged = acknowledged;
    scan.recovered.index.settled = settled(dir, &scan.recovered.index)?;
    Ok(scan.recovered)
}

/// The records of the oldest file that are acknowledged, counted from `from` on.
pub(crate) fn settled_after(dir: &Path, file: &SpoolFile, from: Settled, acknowledged: u64) -> io::Result<Settled> {
    let bytes = read_from(&file.name.path(dir), from.offset, file.bytes)?;
    let mut settled = from;
    for piece in spool::walk(&bytes) {
        match piece {
            Piece::Record(Record { seq, kind: Some(_), .. }, _) if seq > acknowledged => break,
            Piece::Record(Record { kind, payload, .. }, at) => {
                let size = spool::record_bytes(payload);
                if let Some(kind) = kind {
                    settled.fills.add(kind, size);
                }
                settled.offset = from.offset + at as u64 + size;
            }
            Piece::Damage { .. } => {}
        }
    }
    Ok(settled)
}

/// The bytes of a file from one offset to another, or to its end if that comes earlier.
pub(crate) fn read_from(path: &Path, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn settled(dir: &Path, index: &Index) -> io::Result<Settled> {
    match index.files.front() {
        Some(oldest) => settled_after(dir, oldest, Settled::default(), index.acknowledged),
        None => Ok(Settled::default()),
    }
}

struct Scan<'a> {
    dir: &'a Path,
    owner: &'a Owner,
    acknowledged: u64,
    kept: u64,
    /// Highest sequence number seen, or the one before the first that the present file may hold.
    last: u64,
    /// Damaged bytes since then.
    damaged: u64,
    recovered: Recovered,
}

/// What one file holds.
#[derive(Default)]
struct Content {
    last: u64,
    fills: Fills,
    /// Where a damage that reaches the end of the file begins.
    torn_at: Option<u64>,
    /// Offset of each damage with a record behind it, and how many events it can have cost.
    losses: Vec<(u64, u64)>,
    /// Where the last group begins.
    group: u64,
    /// Damage with a record behind it, records that lie in an earlier file too, or an unreadable head.
    unclean: bool,
    foreign: bool,
}

impl Scan<'_> {
    /// Takes one file in; says whether it could be read and is of this outbox.
    fn file(&mut self, name: FileName, later: &[FileName]) -> io::Result<bool> {
        let path = name.path(self.dir);
        self.recovered.lost += self.pass(name.first.max(1));
        self.last = self.last.max(name.first.saturating_sub(1));
        let Ok(bytes) = fs::read(&path) else {
            set_aside(&path)?;
            return Ok(false);
        };
        let content = self.content(&bytes);
        if content.foreign {
            set_aside(&path)?;
            return Ok(false);
        }
        // A later file that begins inside this one was written from it, by a mending that a crash cut short.
        let newest = later.iter().all(|later| later.first <= content.last);
        self.count_losses(&content, newest);
        if content.fills.total().entries == 0 || content.last <= self.acknowledged && !newest {
            self.recovered.obsolete.push(path);
            return Ok(true);
        }
        let torn_inside = content.torn_at.is_some() && !newest;
        let file = if content.unclean || torn_inside {
            self.rewritten(name, &content, bytes.len() as u64)
        } else {
            let bytes = content.torn_at.unwrap_or(bytes.len() as u64);
            cut(&path, bytes, newest)?;
            Some(SpoolFile { name, last: content.last, bytes, fills: content.fills })
        };
        self.recovered.index.files.extend(file);
        Ok(true)
    }

    fn content(&mut self, bytes: &[u8]) -> Content {
        let mut content = Content { unclean: true, ..Content::default() };
        for piece in spool::walk(bytes) {
            match piece {
                Piece::Damage { at, bytes } => {
                    content.torn_at = Some(at as u64);
                    self.damaged += bytes as u64;
                    continue;
                }
                Piece::Record(record @ Record { kind: None, .. }, at) => {
                    content.unclean = at > 0;
                    content.foreign = spool::head_of(&record).is_some_and(|owner| owner != *self.owner);
                    continue;
                }
                Piece::Record(Record { seq, kind: Some(kind), payload, group }, _) if seq > self.last => {
                    content.group = u64::from(group);
                    content.fills.add(kind, spool::record_bytes(payload));
                    let lost = self.pass(seq);
                    content.losses.extend(content.torn_at.map(|at| (at, lost)));
                    content.last = seq;
                    self.last = seq;
                }
                Piece::Record(..) => content.unclean = true,
            }
            content.unclean |= content.torn_at.take().is_some();
        }
        content
    }

    /// Goes on to `seq` and says how many events the damage before it can have cost.
    fn pass(&mut self, seq: u64) -> u64 {
        let gap = (seq - 1).saturating_sub(self.last.max(self.acknowledged));
        gap.min(mem::take(&mut self.damaged).div_ceil(MIN_RECORD_BYTES))
    }

    /// Counts damage to events that were kept. In the newest file the last group, and a tail behind it, may have been
    /// on their way when the program ended, unless `state/` remembers better.
    fn count_losses(&mut self, content: &Content, newest: bool) {
        let unsure_from = if newest && content.last > self.kept { content.group } else { u64::MAX };
        self.recovered.lost +=
            content.losses.iter().filter(|(at, _)| *at < unsure_from).map(|(_, lost)| lost).sum::<u64>();
        if newest {
            self.damaged = 0;
        }
    }

    /// Writes the sound records anew; a disk without room for it keeps the file as it is.
    fn rewritten(&mut self, name: FileName, content: &Content, bytes: u64) -> Option<SpoolFile> {
        let turn = self.recovered.turn;
        self.recovered.turn += 1;
        let after = self.recovered.index.files.back().map_or(0, |file| file.last).max(self.acknowledged);
        match compact(self.dir, self.owner, &[name], turn, |record| record.seq > after) {
            Ok(file) => {
                self.recovered.obsolete.push(name.path(self.dir));
                file
            }
            Err(error) => {
                tracing::warn!(%error, file = %name, "a damaged spool file could not be written anew");
                Some(SpoolFile { name, last: content.last, bytes, fills: content.fills })
            }
        }
    }
}

/// Keeps a file that is not ours to send, or can't be read, out of the way.
fn set_aside(path: &Path) -> io::Result<()> {
    fs::rename(path, durable::beside(path, "aside"))?;
    match path.parent() {
        Some(dir) => durable::sync_dir(dir),
        None => Ok(()),
    }
}

/// Shortens a file to its sound part, durably. What a killed program had not synced of the newest file counts from
/// now on, so it is synced as well.
fn cut(path: &Path, bytes: u64, newest: bool) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    let torn = file.metadata()?.len() != bytes;
    if torn {
        file.set_len(bytes)?;
    }
    if torn || newest { file.sync_all() } else { Ok(()) }
}
