//! Where one track stands with one zone: the moves between outside and inside, debounced on media time.

use std::time::Duration;

use aivms_contract::time::MediaTime;
use aivms_contract::zone_event::{ExitReason, ZoneEventType};

use super::Move;
use crate::tracks::Sight;

/// The times a zone's moves are held to.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// For how long a change of side must last before it counts.
    pub(super) debounce: Duration,
    /// The times inside that are told, rising.
    pub(super) dwell: Vec<Duration>,
}

/// State of one track in one zone.
///
/// `Entering` and `Leaving` are changes that have not lasted long enough yet: seen on the other side, not counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Presence {
    /// Not yet seen, or not what the zone asks for.
    #[default]
    Unjudged,
    Outside,
    Entering(Change),
    Inside(Stay),
    Leaving(Stay, Change),
}

/// A change of side that waits to count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// When it happened; what the event will say.
    pub(super) at: MediaTime,
    /// From when the debounce time runs. Later than `at` only when a long gap hid the crossing.
    pub(super) lasts_since: MediaTime,
    /// The first sight on the other side.
    pub(super) shown: Sight,
}

/// A stay that has been reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stay {
    since: MediaTime,
    /// The longest dwell time told.
    dwelt: Duration,
}

/// Takes what is decided of one track and zone, in order of time.
pub(super) trait Moves {
    /// A move counts. `lasted` is for how long what it rests on has been so.
    fn made(&mut self, at: MediaTime, what: Move, shown: &Sight, lasted: Duration);
    /// A change of side at `at` ended before it had lasted long enough.
    fn wavered(&mut self, at: MediaTime, event: ZoneEventType, shown: &Sight, lasted: Duration);
}

impl Presence {
    /// The side of the last sight; `None` when it was not judged.
    pub(super) fn was_inside(&self) -> Option<bool> {
        match self {
            Self::Unjudged => None,
            Self::Outside | Self::Leaving(..) => Some(false),
            Self::Inside(_) | Self::Entering(_) => Some(true),
        }
    }

    /// Whether an `enter` was given whose `exit` is still owed.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Inside(_) | Self::Leaving(..))
    }

    /// Takes the first judged place: an object that appears inside entered when it appeared.
    pub(super) fn begin(&mut self, inside: bool, at: MediaTime, shown: &Sight) {
        *self = match inside {
            true => Self::Entering(Change { at, lasts_since: at, shown: *shown }),
            false => Self::Outside,
        };
    }

    /// Takes a change of side. A change that came before it and lasted long enough counts now; a shorter one is undone.
    pub(super) fn flip(&mut self, change: Change, times: &Times, moves: &mut impl Moves) {
        *self = match *self {
            Self::Unjudged | Self::Outside => Self::Entering(change),
            Self::Inside(mut stay) => {
                stay.dwell_by(change.at, &change.shown, times, moves);
                Self::Leaving(stay, change)
            }
            Self::Entering(entering) if entering.lasts_until(change.at) >= times.debounce => {
                let mut stay = entering.enter(change.at, moves);
                stay.dwell_by(change.at, &change.shown, times, moves);
                Self::Leaving(stay, change)
            }
            Self::Entering(entering) => {
                entering.waver(ZoneEventType::Enter, change.at, moves);
                Self::Outside
            }
            Self::Leaving(stay, leaving) if leaving.lasts_until(change.at) >= times.debounce => {
                leaving.exit(stay, change.at, moves);
                Self::Entering(change)
            }
            Self::Leaving(stay, leaving) => {
                leaving.waver(ZoneEventType::Exit, change.at, moves);
                Self::Inside(stay)
            }
        };
    }

    /// Takes what is so at `now`, after its changes of side: counts what has lasted by then.
    pub(super) fn settle(&mut self, now: MediaTime, shown: &Sight, times: &Times, moves: &mut impl Moves) {
        match self {
            Self::Entering(change) if change.lasts_until(now) >= times.debounce => {
                let mut stay = change.enter(now, moves);
                stay.dwell_by(now, shown, times, moves);
                *self = Self::Inside(stay);
            }
            Self::Inside(stay) => stay.dwell_by(now, shown, times, moves),
            Self::Leaving(stay, change) if change.lasts_until(now) >= times.debounce => {
                change.exit(*stay, now, moves);
                *self = Self::Outside;
            }
            _ => {}
        }
    }

    /// Ends the stay, if there is one: at `at` for `reason`, or when the object was last seen outside, as it left.
    pub(super) fn end(self, at: MediaTime, reason: ExitReason, shown: &Sight, moves: &mut impl Moves) {
        match self {
            Self::Inside(stay) => stay.exit(at, reason, shown, Duration::ZERO, moves),
            Self::Leaving(stay, change) => change.exit(stay, at, moves),
            Self::Entering(change) => change.waver(ZoneEventType::Enter, at, moves),
            Self::Unjudged | Self::Outside => {}
        }
    }
}

impl Change {
    fn lasts_until(&self, until: MediaTime) -> Duration {
        until.since(self.lasts_since)
    }

    fn enter(&self, now: MediaTime, moves: &mut impl Moves) -> Stay {
        moves.made(self.at, Move::Enter, &self.shown, self.lasts_until(now));
        Stay { since: self.at, dwelt: Duration::ZERO }
    }

    fn exit(&self, stay: Stay, now: MediaTime, moves: &mut impl Moves) {
        stay.exit(self.at, ExitReason::Left, &self.shown, self.lasts_until(now), moves);
    }

    fn waver(&self, event: ZoneEventType, until: MediaTime, moves: &mut impl Moves) {
        moves.wavered(self.at, event, &self.shown, self.lasts_until(until));
    }
}

impl Stay {
    /// Gives the dwell times of this stay, each once, when the object is known to have been inside until `until`.
    fn dwell_by(&mut self, until: MediaTime, shown: &Sight, times: &Times, moves: &mut impl Moves) {
        let lasted = until.since(self.since);
        for &after in times.dwell.iter().filter(|&&dwell| dwell <= lasted) {
            if after > self.dwelt {
                self.dwelt = after;
                moves.made(self.since + after, Move::Dwell { after }, shown, lasted);
            }
        }
    }

    fn exit(self, at: MediaTime, reason: ExitReason, shown: &Sight, lasted: Duration, moves: &mut impl Moves) {
        moves.made(at, Move::Exit { stay: at.since(self.since), reason }, shown, lasted);
    }
}
