//! All segments with what protects each, and the order in which they may go.

use std::cmp::Reverse;

use aivms_contract::footage::DeletionReason;
use aivms_contract::id::CameraId;

use super::{Action, CameraFootage, Holdings, Span, Step, Stored, Tier, Worth};

/// What protects a segment, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Nothing.
    None,
    /// It is of the newest of its camera: only a disk about to be full takes it.
    Newest,
    /// An event needs it that the cloud has not got: only a disk about to be full takes it, and after all else.
    Needed,
    /// It is locked, or of the very newest of its camera.
    Always,
}

/// One segment.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) camera: &'a CameraId,
    pub(super) segment: Stored,
    pub(super) hold: Hold,
    pub(super) locked: bool,
    /// Whether an event needs it, and whether it is of the newest of its camera, whatever else protects it.
    pub(super) needed: bool,
    pub(super) newest: bool,
    pub(super) fate: Option<Action>,
}

impl Item<'_> {
    /// Sorts what may go first to the front.
    fn rank(&self) -> (Hold, Worth, aivms_contract::time::UtcMillis, &CameraId) {
        (self.hold, self.segment.shows.worth(), self.segment.start, self.camera)
    }

    pub(super) fn step(&self, action: Action) -> Step {
        Step { camera: self.camera.clone(), segment: self.segment, action }
    }
}

/// All segments of all cameras, each camera's in a row.
pub(super) struct Pool<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// Indices of what goes, in the order of its going.
    pub(super) gone: Vec<usize>,
}

impl<'a> Pool<'a> {
    pub(super) fn of(holdings: &'a Holdings) -> Self {
        let cameras = holdings.cameras.iter();
        Self { items: cameras.flat_map(|camera| items(camera, holdings)).collect(), gone: Vec::new() }
    }

    pub(super) fn delete(&mut self, index: usize, why: DeletionReason) {
        self.items[index].fate = Some(Action::Delete(why));
        self.gone.push(index);
    }

    /// Those left for which `takes` holds, what may go first in front.
    pub(super) fn ranked(&self, takes: impl Fn(&Item<'_>) -> bool) -> Vec<usize> {
        let mut found = self.left(takes);
        found.sort_unstable_by(|a, b| self.items[*a].rank().cmp(&self.items[*b].rank()));
        found
    }

    /// Those left for which `takes` holds, oldest first.
    pub(super) fn by_age(&self, takes: impl Fn(&Item<'_>) -> bool) -> Vec<usize> {
        let mut found = self.left(takes);
        found.sort_unstable_by_key(|index| (self.items[*index].segment.start, self.items[*index].camera));
        found
    }

    pub(super) fn bytes(&self, takes: impl Fn(&Item<'_>) -> bool) -> u64 {
        self.items.iter().filter(|item| takes(item)).map(|item| item.segment.bytes).sum()
    }

    /// Bytes of what is left of one camera.
    pub(super) fn bytes_of(&self, camera: &CameraId) -> u64 {
        self.bytes(|item| item.camera == camera && !matches!(item.fate, Some(Action::Delete(_))))
    }

    /// Deletes from the front of `ranked` until `bytes` are free; returns what is missing then.
    pub(super) fn free(&mut self, bytes: u64, ranked: &[usize], why: DeletionReason) -> u64 {
        let mut missing = bytes;
        for index in ranked {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(self.items[*index].segment.bytes);
            self.delete(*index, why);
        }
        missing
    }

    fn left(&self, takes: impl Fn(&Item<'_>) -> bool) -> Vec<usize> {
        let items = self.items.iter().enumerate();
        items.filter(|(_, item)| item.fate.is_none() && takes(item)).map(|(index, _)| index).collect()
    }
}

/// Whether it lies on this disk and nothing has been decided of it.
pub(super) fn free_on(tier: Tier) -> impl Fn(&Item<'_>) -> bool {
    move |item| item.hold == Hold::None && item.segment.tier == tier
}

fn items<'a>((camera, footage): (&'a CameraId, &'a CameraFootage), holdings: &Holdings) -> Vec<Item<'a>> {
    let (locks, needs) = (merged(&footage.locks), merged(&footage.needs));
    let limits = holdings.limits;
    let mut newest_first: Vec<_> = footage.segments.iter().collect();
    newest_first.sort_unstable_by_key(|segment| Reverse(segment.start));
    let mut newer = std::time::Duration::ZERO;
    let item = |segment: &Stored| {
        let locked = meets_any(&locks, segment);
        let is_now = segment.start <= holdings.now && holdings.now.since(segment.end) < limits.guaranteed;
        let newest = newer < limits.guaranteed || is_now;
        let needed = meets_any(&needs, segment);
        let hold = if locked || newer < limits.last_resort {
            Hold::Always
        } else if needed {
            Hold::Needed
        } else if newest {
            Hold::Newest
        } else {
            Hold::None
        };
        newer += segment.end.since(segment.start);
        Item { camera, segment: *segment, hold, locked, needed, newest, fate: None }
    };
    newest_first.into_iter().map(item).collect()
}

/// The same times in as few spans as can be, in order.
fn merged(spans: &[Span]) -> Vec<Span> {
    let mut spans: Vec<_> = spans.iter().filter(|span| span.start < span.end).copied().collect();
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let touches = next.start <= last.end;
        if touches {
            last.end = last.end.max(next.end);
        }
        touches
    });
    spans
}

fn meets_any(merged: &[Span], segment: &Stored) -> bool {
    let first = merged.partition_point(|span| span.end <= segment.start);
    merged.get(first).is_some_and(|span| span.meets(segment))
}
