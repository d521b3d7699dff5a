//! The small file `outbox.json`: whose outbox it is, which sequence numbers are spoken for, which files there should be.
//!
//! It lies beside the spool files because sequence numbers must never repeat, also when all files are acknowledged
//! and deleted and sled is lost; and because a list of files that is older than a deletion, as sled may give it back
//! after a power cut, would report events as lost that are not.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::index::{Index, SpoolFile};
use super::spool::{FileName, Owner};
use crate::state::durable::{self, Checked};

/// How far ahead of use sequence numbers are reserved; one small file is written per so many events.
pub(crate) const RESERVE_AHEAD: u64 = 10_000;
/// How far a start jumps when it can't be sure which numbers were used.
pub(crate) const DOUBT_JUMP: u64 = 100_000;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// Whose outbox it is.
    #[serde(flatten)]
    pub(crate) owner: Owner,
    /// No sequence number above this was ever used.
    pub(crate) high_water: u64,
    /// Every file begun since this was written has at least this turn.
    pub(crate) turn: u64,
    /// The spool files when this was written.
    pub(crate) files: Vec<Listed>,
}

/// One spool file there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its name.
    #[serde(flatten)]
    pub(crate) name: FileName,
    /// Its last sequence number, when the list was written.
    pub(crate) last: u64,
    /// Its entries, when the list was written.
    pub(crate) entries: u64,
}

impl Marks {
    pub(crate) fn of(owner: &Owner, high_water: u64, turn: u64, index: &Index) -> Self {
        let listed =
            |file: &SpoolFile| Listed { name: file.name, last: file.last, entries: file.fills.total().entries };
        Self { owner: owner.clone(), high_water, turn, files: index.files.iter().map(listed).collect() }
    }

    /// Whether the program had given up a file that is still there: all it holds is acknowledged, shed, or lies in
    /// another file as well.
    pub(crate) fn has_dropped(&self, name: FileName) -> bool {
        name.turn < self.turn && !self.files.iter().any(|file| file.name == name)
    }

    pub(crate) fn read(dir: &Path) -> io::Result<Checked<Self>> {
        durable::read_checked(&path(dir))
    }

    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        durable::write_checked(&path(dir), self)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("outbox.json")
}
