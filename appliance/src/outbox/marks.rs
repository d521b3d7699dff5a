//! The small file `outbox.json`: whose outbox it is and which sequence numbers are spoken for.
//!
//! It lies beside the spool files because sequence numbers must never repeat, also when all files are acknowledged
//! and deleted and sled is lost.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spool::Owner;
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
}

impl Marks {
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
