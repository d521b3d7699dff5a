//! The order in which clips and snapshots go to the cloud, and how fast.
//!
//! Files go by worth, and within one worth the oldest first: [`Place`]. A file goes in pieces, and after each piece
//! the order is asked again, so that the picture of an alert overtakes a long clip between two of its pieces. A line
//! that is cut costs the piece that was on it: the cloud says where to go on. [`pace`] keeps the budget of the site.

pub mod pace;

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::media::{MediaKind, MediaProgress};
use serde::{Deserialize, Serialize};

use self::pace::Pace;
use crate::backoff::{Backoff, Jitter};

/// First wait for a cloud that has all bytes of a file and still checks and stores it.
const STORING_WAIT: Duration = Duration::from_secs(1);
/// Longest wait of one file that the cloud fails at while it takes others.
const LONGEST_FILE_WAIT: Duration = Duration::from_secs(120);
/// Wait for a cloud without room: longer than for one that is away, because a person must act there.
const FULL_WAIT: Duration = Duration::from_secs(60);
/// Times that a file is sent anew because what arrived was not what was offered.
const ANEW: u8 = 1;

/// Why a file is kept for the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    /// An alert shows it.
    Alert,
    /// A person asked for it and waits.
    Requested,
    /// An event was told, and no alert.
    Event,
}

/// A file's place in the order; the smaller goes earlier, and the larger is given up first when room is short.
///
/// Alerts and what a person waits for come first, of these the pictures, which are small and tell the most; then the
/// pictures of events, then their clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u8);

/// A waiting file's number; rises in the order in which files were put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(pub u64);

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Tell the cloud of the file, which answers where to begin.
    Offer(FileKey),
    /// Send a piece.
    Send {
        /// The file.
        file: FileKey,
        /// Where the piece begins.
        offset: u64,
        /// Its length.
        bytes: usize,
    },
    /// Nothing until this time, or until a file is put or the budget changes.
    Wait(Duration),
    /// Nothing until a file is put.
    Idle,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer, or one that concerns all files: the line, the token, a cloud that is overloaded.
    Away,
    /// The cloud has no room: 507.
    Full,
    /// The cloud failed at this file.
    Failed,
    /// The cloud does not know the file: 404.
    Forgotten,
    /// What arrived has another SHA-256 than what was offered: 422.
    Damaged,
    /// The cloud never takes it.
    Refused,
}

/// What becomes of a file after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Waits,
    /// The cloud has it.
    Delivered,
    /// It will never be taken.
    GivenUp,
}

/// Sums over the files that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Files.
    pub files: u64,
    /// Bytes that the cloud does not have.
    pub bytes: u64,
    /// Time until all are there at the present pace.
    pub eta: Option<Duration>,
}

/// The files that wait and where each stands. `now` is a monotonic time since any start that all calls share.
#[derive(Debug)]
pub struct Plan {
    files: BTreeMap<(Place, FileKey), File>,
    places: BTreeMap<FileKey, Place>,
    pace: Pace,
    backoff: Backoff,
    paused_until: Duration,
}

#[derive(Debug)]
struct File {
    bytes: u64,
    /// What the cloud has; `None` before it said so since the start.
    offset: Option<u64>,
    not_before: Duration,
    failures: u32,
    damaged: u8,
}

impl Place {
    /// The place of a file.
    #[must_use]
    pub fn of(worth: Worth, kind: MediaKind) -> Self {
        Self(match (worth, kind) {
            (Worth::Alert, MediaKind::Snapshot) => 0,
            (Worth::Requested, MediaKind::Snapshot) => 1,
            (Worth::Alert, MediaKind::Clip) => 2,
            (Worth::Requested, MediaKind::Clip) => 3,
            (Worth::Event, MediaKind::Snapshot) => 4,
            (Worth::Event, MediaKind::Clip) => 5,
        })
    }
}

/// Which files to give up so that a new one of `bytes` at `place` fits into `max_bytes`; `None` when it does not fit,
/// because what is there is worth more. Least worth goes first, within one worth the oldest.
pub fn make_room(
    held: impl IntoIterator<Item = (FileKey, Place, u64)>,
    place: Place,
    bytes: u64,
    max_bytes: u64,
) -> Option<Vec<FileKey>> {
    let mut held: Vec<_> = held.into_iter().collect();
    held.sort_unstable_by_key(|(key, place, _)| (std::cmp::Reverse(*place), *key));
    let mut total = held.iter().fold(bytes, |sum, (_, _, bytes)| sum.saturating_add(*bytes));
    let mut gone = Vec::new();
    for (key, other, size) in held {
        if total <= max_bytes {
            break;
        }
        if other < place {
            return None;
        }
        total = total.saturating_sub(size);
        gone.push(key);
    }
    (total <= max_bytes).then_some(gone)
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            places: BTreeMap::new(),
            pace: Pace::default(),
            // From a second, because a cloud that restarts is soon back, to minutes; never at once.
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(120), Jitter::Equal)
                .expect("the bounds are in order"),
            paused_until: Duration::ZERO,
        }
    }
}

impl Plan {
    /// Takes a file of `bytes` into the order.
    pub fn put(&mut self, key: FileKey, place: Place, bytes: u64) {
        let file = File { bytes, offset: None, not_before: Duration::ZERO, failures: 0, damaged: 0 };
        self.places.insert(key, place);
        self.files.insert((place, key), file);
    }

    /// Takes a file out of the order.
    pub fn remove(&mut self, key: FileKey) {
        if let Some(place) = self.places.remove(&key) {
            self.files.remove(&(place, key));
        }
    }

    /// What to do now, with a budget of `bytes_per_s`; `None` for as fast as the line is.
    ///
    /// A piece that it names is charged to the budget, whatever becomes of it.
    pub fn next(&mut self, now: Duration, bytes_per_s: Option<u64>) -> Step {
        if self.files.is_empty() {
            return Step::Idle;
        }
        let open = self.paused_until.max(self.pace.free_at());
        if now < open {
            return Step::Wait(open);
        }
        let Some((&(_, key), file)) = self.files.iter().find(|(_, file)| file.not_before <= now) else {
            let soonest = self.files.values().map(|file| file.not_before).min();
            return soonest.map_or(Step::Idle, Step::Wait);
        };
        let Some(offset) = file.offset.filter(|offset| *offset < file.bytes) else {
            self.pace.charge(0, bytes_per_s, now);
            return Step::Offer(key);
        };
        let left = usize::try_from(file.bytes - offset).unwrap_or(usize::MAX);
        let bytes = self.pace.piece(bytes_per_s).min(left);
        self.pace.charge(bytes, bytes_per_s, now);
        Step::Send { file: key, offset, bytes }
    }

    /// Takes the cloud's answer to an offer or, with the bytes of the piece and the time it took, to a piece.
    pub fn on_progress(
        &mut self,
        key: FileKey,
        progress: MediaProgress,
        sent: Option<(usize, Duration)>,
        now: Duration,
    ) -> Fate {
        self.backoff.reset();
        if let Some((bytes, took)) = sent {
            self.pace.measure(bytes, took);
        }
        let Some(file) = self.file(key) else { return Fate::Waits };
        if progress.stored {
            self.remove(key);
            return Fate::Delivered;
        }
        let has_moved = file.offset.is_none_or(|offset| progress.offset > offset) && progress.offset < file.bytes;
        file.offset = Some(progress.offset.min(file.bytes));
        if has_moved {
            file.failures = 0;
        } else {
            // The cloud is storing it, or takes nothing: neither is asked without pause.
            file.wait(STORING_WAIT, now);
        }
        Fate::Waits
    }

    /// Takes a failure. `fraction` is a random number from 0 to 1.
    pub fn on_failure(&mut self, key: FileKey, failure: Failure, now: Duration, fraction: f64) -> Fate {
        let Some(file) = self.file(key) else { return Fate::Waits };
        match failure {
            Failure::Refused => return self.give_up(key),
            Failure::Damaged if file.damaged >= ANEW => return self.give_up(key),
            Failure::Damaged => {
                file.damaged += 1;
                file.offset = None;
            }
            Failure::Forgotten => {
                file.offset = None;
                file.wait(STORING_WAIT, now);
            }
            // What the cloud has may be more than it could say.
            Failure::Away | Failure::Full | Failure::Failed => file.offset = None,
        }
        match failure {
            Failure::Away => {
                self.pace.slow_down();
                self.paused_until = now + self.backoff.next_delay(fraction);
            }
            Failure::Full => self.paused_until = now + FULL_WAIT.max(self.backoff.next_delay(fraction)),
            Failure::Failed => {
                if let Some(file) = self.file(key) {
                    file.wait(STORING_WAIT, now);
                }
                self.paused_until = now + Backoff::for_uplink().next_delay(fraction);
            }
            Failure::Forgotten | Failure::Damaged | Failure::Refused => {}
        }
        Fate::Waits
    }

    /// Sums over the files that wait, with a budget of `bytes_per_s`.
    #[must_use]
    pub fn waiting(&self, bytes_per_s: Option<u64>) -> Waiting {
        let bytes = self.files.values().map(|file| file.bytes - file.offset.unwrap_or(0)).sum();
        let files = u64::try_from(self.files.len()).unwrap_or(u64::MAX);
        Waiting { files, bytes, eta: self.pace.time_for(bytes, bytes_per_s) }
    }

    fn file(&mut self, key: FileKey) -> Option<&mut File> {
        let place = *self.places.get(&key)?;
        self.files.get_mut(&(place, key))
    }

    fn give_up(&mut self, key: FileKey) -> Fate {
        self.remove(key);
        Fate::GivenUp
    }
}

impl File {
    /// Lets others go first for a time that doubles with each failure in a row.
    fn wait(&mut self, first: Duration, now: Duration) {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + first.saturating_mul(1 << doublings).min(LONGEST_FILE_WAIT);
    }
}

#[cfg(test)]
mod tests;
