//! How many objects are inside a zone, and whether it counts as occupied.
//!
//! The number follows the `enter` and `exit` events as they are told, so it is right whenever those are: an object
//! whose track was lost counts until the loss is certain. A zone is occupied from when enough objects were inside and
//! clear from when fewer were, each once it has lasted the occupancy's time; the event carries the time of the change
//! and the object that made it. A clearing is never earlier than the occupation that it ends.

use std::time::Duration;

use aivms_contract::desired::Occupancy;
use aivms_contract::time::MediaTime;

use super::{Move, ZoneTransition};
use crate::tracks::Sight;

/// The objects inside one zone.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    inside: u32,
    limit: Option<Limit>,
    level: Level,
    /// The object that came or went last.
    last: Option<Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Limit {
    at_least: u32,
    lasts: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Level {
    Clear,
    /// Full, not yet for long enough.
    Filling(Turn),
    Occupied(MediaTime),
    /// No longer full, not yet for long enough.
    Emptying(Turn),
}

/// A change of the number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) at: MediaTime,
    pub(super) track: u64,
    pub(super) shown: Sight,
    /// Objects inside after it.
    pub(super) count: u32,
}

/// Something to tell of a zone's occupancy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) occupied: bool,
    pub(super) turn: Turn,
    /// For how long the number has been so when it is told.
    pub(super) lasted: Duration,
    pub(super) at_least: u32,
    pub(super) lasts: Duration,
}

impl Tally {
    pub(super) fn new(occupancy: Option<Occupancy>) -> Self {
        Self { inside: 0, limit: occupancy.map(Limit::new), level: Level::Clear, last: None }
    }

    /// Takes an object that came or went; gives the number inside after it.
    pub(super) fn take(&mut self, transition: &ZoneTransition, mut told: impl FnMut(Told)) -> u32 {
        self.inside = match transition.what {
            Move::Enter => self.inside.saturating_add(1),
            _ => self.inside.saturating_sub(1),
        };
        let (at, track, shown) = (transition.at, transition.track, transition.shown);
        let turn = Turn { at, track, shown, count: self.inside };
        self.last = Some(turn);
        if let Some(limit) = self.limit {
            self.level = self.level.after(turn, limit, &mut told);
        }
        self.inside
    }

    /// Tells what has lasted long enough at `now`. A change of the last `unsettled` before it may not be known yet.
    pub(super) fn settle(&mut self, now: MediaTime, unsettled: Duration, mut told: impl FnMut(Told)) {
        let Some(limit) = self.limit else { return };
        let is_due = |turn: &Turn| now.since(turn.at) >= limit.lasts + unsettled;
        self.level = match self.level {
            Level::Filling(turn) if is_due(&turn) => limit.occupy(turn, now, &mut told),
            Level::Emptying(turn) if is_due(&turn) => limit.clear(turn, now, &mut told),
            level => level,
        };
    }

    /// Ends the judging at `now`: a zone that is occupied clears, however short it has been empty.
    pub(super) fn end(&mut self, now: MediaTime, mut told: impl FnMut(Told)) {
        let Some(limit) = self.limit else { return };
        match (self.level, self.last) {
            (Level::Emptying(turn), _) => _ = limit.clear(turn, now, &mut told),
            (Level::Occupied(since), Some(last)) => {
                limit.clear(Turn { at: now.max(since), count: self.inside, ..last }, now, &mut told);
            }
            _ => {}
        }
        (self.level, self.inside, self.last) = (Level::Clear, 0, None);
    }

    /// Goes on with the objects inside and another limit.
    pub(super) fn with_limit(mut self, occupancy: Option<Occupancy>, now: MediaTime, told: impl FnMut(Told)) -> Self {
        let limit = occupancy.map(Limit::new);
        if limit == self.limit {
            return self;
        }
        let (inside, last) = (self.inside, self.last);
        let is_full = limit.is_some_and(|limit| inside >= limit.at_least);
        match (self.level, last) {
            (Level::Occupied(_) | Level::Emptying(_), _) if is_full => self.level = Level::Occupied(now),
            (Level::Filling(_) | Level::Clear, Some(last)) if is_full => {
                self.level = Level::Filling(Turn { at: now, count: inside, ..last });
            }
            _ => self.end(now, told),
        }
        Self { inside, limit, last, level: self.level }
    }
}

impl Level {
    fn after(self, turn: Turn, limit: Limit, mut told: impl FnMut(Told)) -> Self {
        let is_full = turn.count >= limit.at_least;
        let later = |since: MediaTime| Turn { at: turn.at.max(since), ..turn };
        match self {
            Self::Clear if is_full => Self::Filling(turn),
            Self::Filling(filling) if !is_full => {
                if turn.at.since(filling.at) < limit.lasts {
                    return Self::Clear;
                }
                limit.occupy(filling, turn.at, &mut told);
                Self::Emptying(later(filling.at))
            }
            Self::Occupied(since) if !is_full => Self::Emptying(later(since)),
            Self::Emptying(emptying) if is_full => {
                if turn.at.since(emptying.at) < limit.lasts {
                    return Self::Occupied(emptying.at);
                }
                limit.clear(emptying, turn.at, &mut told);
                Self::Filling(later(emptying.at))
            }
            same => same,
        }
    }
}

impl Limit {
    fn new(occupancy: Occupancy) -> Self {
        Self { at_least: occupancy.at_least.get(), lasts: Duration::from_millis(occupancy.for_ms.get()) }
    }

    fn occupy(self, turn: Turn, now: MediaTime, mut told: impl FnMut(Told)) -> Level {
        told(self.told(true, turn, now));
        Level::Occupied(turn.at)
    }

    fn clear(self, turn: Turn, now: MediaTime, mut told: impl FnMut(Told)) -> Level {
        told(self.told(false, turn, now));
        Level::Clear
    }

    fn told(self, occupied: bool, turn: Turn, now: MediaTime) -> Told {
        Told { occupied, turn, lasted: now.since(turn.at), at_least: self.at_least, lasts: self.lasts }
    }
}
