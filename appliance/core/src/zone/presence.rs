//! Where one track stands with one zone: the moves between outside and inside, debounced on media time.

use std::time::Duration;

use aivms_contract::time::MediaTime;
use aivms_contract::zone_event::ExitReason;

use super::Move;
use crate::tracks::Sight;

/// The times a zone's moves are held to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// For how long a change of side must last before it counts.
    pub(super) debounce: Duration,
    /// The time inside after which a stay is a dwell; `None` for never.
    pub(super) dwell: Option<Duration>,
}

/// State of one track in one zone.
///
/// `Entering` and `Leaving` are changes that have not lasted long enough yet: seen on the other side, not counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Presence {
    /// Not yet seen, or of a class the zone does not ask for.
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
    dwelt: bool,
}

/// Takes the moves of one track and zone as they are decided, in order of time.
pub(super) trait Moves: FnMut(MediaTime, Move, &Sight) {}
impl<F: FnMut(MediaTime, Move, &Sight)> Moves for F {}

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

    /// Takes the first judged sight: an object that appears inside entered when it appeared.
    pub(super) fn begin(&mut self, inside: bool, sight: &Sight) {
        *self = match inside {
            true => Self::Entering(Change { at: sight.at, lasts_since: sight.at, shown: *sight }),
            false => Self::Outside,
        };
    }

    /// Takes a change of side. A change that came before it and lasted long enough counts now; a shorter one is undone.
    pub(super) fn flip(&mut self, change: Change, rules: Rules, moves: &mut impl Moves) {
        *self = match *self {
            Self::Unjudged | Self::Outside => Self::Entering(change),
            Self::Inside(mut stay) => {
                stay.dwell_by(change.at, &change.shown, rules, moves);
                Self::Leaving(stay, change)
            }
            Self::Entering(entering) if outlasts(entering, change.at, rules) => {
                let mut stay = entering.enter(moves);
                stay.dwell_by(change.at, &change.shown, rules, moves);
                Self::Leaving(stay, change)
            }
            Self::Entering(_) => Self::Outside,
            Self::Leaving(stay, leaving) if outlasts(leaving, change.at, rules) => {
                stay.exit(leaving.at, ExitReason::Left, &leaving.shown, moves);
                Self::Entering(change)
            }
            Self::Leaving(stay, _) => Self::Inside(stay),
        };
    }

    /// Takes a sight after its changes of side: counts what has lasted by now.
    pub(super) fn settle(&mut self, sight: &Sight, rules: Rules, moves: &mut impl Moves) {
        let lasted = |change: &Change| sight.at.since(change.lasts_since) >= rules.debounce;
        match self {
            Self::Entering(change) if lasted(change) => {
                let mut stay = change.enter(moves);
                stay.dwell_by(sight.at, sight, rules, moves);
                *self = Self::Inside(stay);
            }
            Self::Inside(stay) => stay.dwell_by(sight.at, sight, rules, moves),
            Self::Leaving(stay, change) if lasted(change) => {
                stay.exit(change.at, ExitReason::Left, &change.shown, moves);
                *self = Self::Outside;
            }
            _ => {}
        }
    }

    /// Ends the stay, if there is one: at `last` for `reason`, or when the object was last seen outside, as it left.
    pub(super) fn end(self, last: &Sight, reason: ExitReason, moves: &mut impl Moves) {
        match self {
            Self::Inside(stay) => stay.exit(last.at, reason, last, moves),
            Self::Leaving(stay, change) => stay.exit(change.at, ExitReason::Left, &change.shown, moves),
            Self::Unjudged | Self::Outside | Self::Entering(_) => {}
        }
    }
}

/// Whether `change` lasted until the opposite change at `until`.
fn outlasts(change: Change, until: MediaTime, rules: Rules) -> bool {
    until.since(change.lasts_since) >= rules.debounce
}

impl Change {
    fn enter(&self, moves: &mut impl Moves) -> Stay {
        moves(self.at, Move::Enter, &self.shown);
        Stay { since: self.at, dwelt: false }
    }
}

impl Stay {
    /// Gives the dwell of this stay, once, when the object is known to have been inside until `until`.
    fn dwell_by(&mut self, until: MediaTime, shown: &Sight, rules: Rules, moves: &mut impl Moves) {
        let Some(dwell) = rules.dwell.filter(|_| !self.dwelt) else { return };
        if until.since(self.since) >= dwell {
            self.dwelt = true;
            moves(self.since + dwell, Move::Dwell { after: dwell }, shown);
        }
    }

    fn exit(self, at: MediaTime, reason: ExitReason, shown: &Sight, moves: &mut impl Moves) {
        moves(at, Move::Exit { stay: at.since(self.since), reason }, shown);
    }
}
