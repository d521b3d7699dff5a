//! What footage goes, what moves to the slower disk, and why: a plan that the shell carries out afterwards.
//!
//! Nothing is deleted here. [`plan`] takes what lies on the disks and says which segments go, in order, each with its
//! reason, and what could not be satisfied. The same input gives the same plan, and a plan that was carried out leaves
//! nothing to plan. It can be made for other settings too, to show what a change would delete before it is made.
//!
//! The rules, strongest first:
//!
//! 1. Locked footage never goes, and stays on its disk.
//! 2. The newest footage of each camera ([`Limits::guaranteed`]) never goes, so that no wrong setting and no wrong
//!    clock empties a recorder. Only a disk that is about to be full takes of it, down to [`Limits::last_resort`]:
//!    new video is worth more than that of an hour ago.
//! 3. What an event needs that the cloud has not got yet goes last, and never while anything is left on its disk that
//!    shows nothing.
//! 4. A camera keeps to its bytes, and a disk keeps its floor of free room. What is worth least goes first: of all
//!    cameras the oldest that shows nothing, then motion, then followed objects, then zone events. Where there is a
//!    slow disk, the oldest footage of the fast one moves there instead.
//! 5. Footage goes when it is older than its tier keeps. Age is judged by a time that [`ClockGuard`] gives, never by
//!    the system clock itself.
//!
//! Users of other recorders ask for this: two disks and quotas (frigate #3673, #4557, #9275), footage that stays
//! (frigate #1787, moonfire-nvr #38), and a clean-up that takes neither too much nor too little (ZoneMinder #1597,
//! #1748, frigate #6221).

mod clock;
mod forecast;
mod plan;
mod policy;
mod pool;
mod summary;

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::footage::DeletionReason;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

pub use self::clock::ClockGuard;
pub use self::forecast::{Forecast, forecast};
pub use self::plan::plan;
pub use self::policy::RetentionPolicy;
pub use self::summary::{CameraSummary, Deletions, summary};

/// What a segment shows, worth least first; decides how long it is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Worth {
    /// Nothing that anyone looked for.
    #[default]
    Continuous,
    /// Motion.
    Motion,
    /// An object that was followed.
    Object,
    /// What belongs to a zone event.
    Event,
}

impl Worth {
    /// All of them, worth least first.
    pub const ALL: [Self; 4] = [Self::Continuous, Self::Motion, Self::Object, Self::Event];
}

/// The disk that a segment lies on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The one that is recorded to.
    #[default]
    Fast,
    /// The one that older footage moves to.
    Slow,
}

/// A closed segment: a file of about a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Wall time of its first picture; no two of a camera share it.
    pub start: UtcMillis,
    /// Wall time at which its last picture ends.
    pub end: UtcMillis,
    /// Bytes of the file.
    pub bytes: u64,
    /// The disk that it lies on.
    pub tier: Tier,
    /// What it shows.
    pub shows: Shows,
}

/// What a segment shows: any of [`Worth`] but the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shows {
    /// Motion.
    pub motion: bool,
    /// A followed object.
    pub object: bool,
    /// What belongs to a zone event.
    pub event: bool,
}

impl Shows {
    /// The highest of what it shows.
    #[must_use]
    pub fn worth(self) -> Worth {
        match self {
            Self { event: true, .. } => Worth::Event,
            Self { object: true, .. } => Worth::Object,
            Self { motion: true, .. } => Worth::Motion,
            _ => Worth::Continuous,
        }
    }
}

/// A span of wall time, from its beginning to before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Beginning.
    pub start: UtcMillis,
    /// End.
    pub end: UtcMillis,
}

impl Span {
    fn meets(self, segment: &Stored) -> bool {
        self.start < segment.end && segment.start < self.end
    }
}

/// The footage of one camera and what holds for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CameraFootage {
    /// How long what is kept.
    pub policy: RetentionPolicy,
    /// Its closed segments, by their beginnings.
    pub segments: Vec<Stored>,
    /// Spans that are locked.
    pub locks: Vec<Span>,
    /// Spans that events need which the cloud has not got yet.
    pub needs: Vec<Span>,
}

/// A disk that holds footage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All bytes of it.
    pub total_bytes: u64,
    /// Bytes left on it.
    pub free_bytes: u64,
    /// Bytes that are to stay free.
    pub floor_bytes: u64,
}

/// What holds for all cameras.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Newest footage of each camera that no rule deletes.
    pub guaranteed: Duration,
    /// What is left of that when a disk is about to be full.
    pub last_resort: Duration,
    /// Free room below which a disk counts as about to be full.
    pub full_bytes: u64,
    /// Footage older than this moves to the slow disk; absent for only when the fast disk needs room.
    pub move_after: Option<Duration>,
}

impl Default for Limits {
    /// An hour, and ten minutes on a disk with less than 256 MiB: some 10 s of sixteen cameras of 4 Mbit/s each, and
    /// cleanup runs several times within that on a disk that is low.
    fn default() -> Self {
        Self {
            guaranteed: Duration::from_secs(3600),
            last_resort: Duration::from_secs(600),
            full_bytes: 256 * 1024 * 1024,
            move_after: None,
        }
    }
}

/// Everything that lies on the disks, at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Holdings {
    /// The time by which age is judged; see [`ClockGuard`].
    pub now: UtcMillis,
    /// Each camera that has footage, also those that are no longer configured.
    pub cameras: BTreeMap<CameraId, CameraFootage>,
    /// The disk that is recorded to.
    pub fast: Disk,
    /// The slower one, if there is one that can be written.
    pub slow: Option<Disk>,
    /// What holds for all cameras.
    pub limits: Limits,
}

/// What to do with one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The camera.
    pub camera: CameraId,
    /// The segment as it is now.
    pub segment: Stored,
    /// What to do.
    pub action: Action,
}

/// What is done with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes.
    Delete(DeletionReason),
    /// It moves to the slow disk.
    MoveToSlow,
}

/// What a plan could not reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// A camera has more bytes than it may, and what is left of it may not go.
    CameraBytes {
        /// The camera.
        camera: CameraId,
        /// Bytes too many.
        excess_bytes: u64,
    },
    /// A disk has less free room than it should, and what is left on it may not go.
    FreeSpace {
        /// The disk.
        tier: Tier,
        /// Bytes missing.
        missing_bytes: u64,
        /// Bytes of locked footage on it.
        locked_bytes: u64,
    },
}

/// What goes and moves, in the order in which to do it, and what could not be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do, first to last. Carried out in order, no step lets a disk fall below what it had before.
    pub steps: Vec<Step>,
    /// What could not be reached.
    pub problems: Vec<Problem>,
}

#[cfg(test)]
mod tests;
