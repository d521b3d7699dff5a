//! What the judging of zones and lines brings.

use std::time::Duration;

use aivms_contract::id::ZoneId;
use aivms_contract::time::MediaTime;
use aivms_contract::why::Check;
use aivms_contract::zone_event::{Direction, ExitReason};

use super::why::Stopped;
use crate::tracks::Sight;

/// What a track did in a zone or at a line.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneTransition {
    /// When, interpolated between sights.
    pub at: MediaTime,
    /// Place of the zone in the camera's list; lines come after the zones.
    pub zone: usize,
    /// The zone or line.
    pub zone_id: ZoneId,
    /// The track, by its number in the [`crate::tracks::TrackBook`].
    pub track: u64,
    /// What it did.
    pub what: Move,
    /// The sight that showed it.
    pub shown: Sight,
    /// Objects inside after it, or crossings in this direction with it.
    pub count: Option<u32>,
    /// Kilometres per hour, in a zone that knows where the ground is.
    pub speed_kmh: Option<f32>,
    /// What let it through.
    pub why: Vec<Check>,
}

/// A move of a track against a zone or line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It came in.
    Enter,
    /// It has been inside for one of the zone's dwell times.
    Dwell {
        /// That time.
        after: Duration,
    },
    /// It went out or ended inside.
    Exit {
        /// Time since it came in.
        stay: Duration,
        /// How the stay ended.
        reason: ExitReason,
    },
    /// It crossed a line.
    Cross {
        /// Which way.
        direction: Direction,
    },
    /// It made the zone occupied.
    Occupied,
    /// It made the zone clear.
    Cleared,
}

/// What was decided in one turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rulings {
    /// What happened, by media time, then the zone's place, then the track.
    pub made: Vec<ZoneTransition>,
    /// What did not happen, and why; each told once.
    pub stopped: Vec<Stopped>,
}
