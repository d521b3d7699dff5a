//! What is known in memory about the spool files. The writer thread alone changes it; readers look.

use std::collections::VecDeque;
use std::ops::{AddAssign, SubAssign};

use aivms_contract::health::OutboxHealth;
use aivms_contract::topic::UpKind;
use serde::{Deserialize, Serialize};

use super::spool::{FileName, SHEDDING_ORDER, class};

/// Entries and their bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fill {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// One fill per kind, in the order of [`SHEDDING_ORDER`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fills([Fill; SHEDDING_ORDER.len()]);

/// One spool file whose content is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpoolFile {
    pub(crate) name: FileName,
    /// Highest sequence number in it.
    pub(crate) last: u64,
    /// Its size; nothing behind it may be read.
    pub(crate) bytes: u64,
    /// Its entries, acknowledged ones included.
    pub(crate) fills: Fills,
}

/// How much of the oldest file is acknowledged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settled {
    /// The first record from here on is not acknowledged.
    pub(crate) offset: u64,
    /// The entries before it.
    pub(crate) fills: Fills,
}

/// All spool files, oldest first; their sequence numbers do not overlap.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) files: VecDeque<SpoolFile>,
    pub(crate) settled: Settled,
    pub(crate) acknowledged: u64,
    /// Entries dropped by the shedding rule since the outbox was made.
    pub(crate) shed: u64,
}

impl Fills {
    pub(crate) fn add(&mut self, kind: UpKind, bytes: u64) {
        self.0[class(kind)] += Fill { entries: 1, bytes };
    }

    pub(crate) fn of_class(&self, class: usize) -> Fill {
        self.0[class]
    }

    pub(crate) fn total(&self) -> Fill {
        let mut total = Fill::default();
        for fill in self.0 {
            total += fill;
        }
        total
    }
}

impl AddAssign for Fill {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Fill {
    fn sub_assign(&mut self, other: Self) {
        // A file that could not be cleaned on a full disk may hold an entry twice; counting must not fail over it.
        self.entries = self.entries.saturating_sub(other.entries);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

impl AddAssign for Fills {
    fn add_assign(&mut self, other: Self) {
        for (fill, more) in self.0.iter_mut().zip(other.0) {
            *fill += more;
        }
    }
}

impl SubAssign for Fills {
    fn sub_assign(&mut self, other: Self) {
        for (fill, less) in self.0.iter_mut().zip(other.0) {
            *fill -= less;
        }
    }
}

impl Index {
    /// Bytes of all spool files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Highest sequence number that is on disk or was.
    pub(crate) fn last(&self) -> u64 {
        self.files.back().map_or(0, |file| file.last).max(self.acknowledged)
    }

    /// Entries of the file at `position` that are not acknowledged.
    pub(crate) fn owed_in(&self, position: usize) -> Fills {
        let mut owed = self.files[position].fills;
        if position == 0 {
            owed -= self.settled.fills;
        }
        owed
    }

    /// Entries that are not acknowledged.
    pub(crate) fn owed(&self) -> Fills {
        let mut owed = Fills::default();
        for position in 0..self.files.len() {
            owed += self.owed_in(position);
        }
        owed
    }

    /// The oldest file that holds an entry not acknowledged of the first of `classes` that any file holds.
    pub(crate) fn oldest_of(&self, classes: std::ops::Range<usize>) -> Option<(usize, usize)> {
        classes.into_iter().find_map(|class| {
            (0..self.files.len())
                .find(|position| self.owed_in(*position).of_class(class).entries > 0)
                .map(|position| (position, class))
        })
    }

    pub(crate) fn health(&self) -> OutboxHealth {
        OutboxHealth { entries: self.owed().total().entries, bytes: self.bytes(), shed: self.shed }
    }
}
