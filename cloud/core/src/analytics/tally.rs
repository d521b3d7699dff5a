//! What happened in a zone, counted.

use aivms_contract::zone_event::{Direction, ZoneEvent, ZoneEventType};
use serde::{Deserialize, Serialize};

use super::Stays;

/// What happened in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Objects that came in.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub enters: u64,
    /// Objects that went out, or whose track ended inside.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub exits: u64,
    /// Objects that stayed as long as the zone's dwell time.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub dwells: u64,
    /// Times that the zone became occupied.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub occupied: u64,
    /// Times that a line was crossed.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub crosses: Crosses,
    /// How long those stayed that went out.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub stays: Stays,
}

/// Times that a line was crossed, by the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Crosses {
    /// From the left side to the right side.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub left_to_right: u64,
    /// From the right side to the left side.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub right_to_left: u64,
    /// By an edge that did not say.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub unknown: u64,
}

impl Tally {
    /// Counts an event.
    pub fn add(&mut self, event: &ZoneEvent) {
        match event.event_type {
            ZoneEventType::Enter => self.enters += 1,
            ZoneEventType::Exit => {
                self.exits += 1;
                event.dwell_ms.into_iter().for_each(|ms| self.stays.add(ms));
            }
            ZoneEventType::Dwell => self.dwells += 1,
            ZoneEventType::Cross => match event.direction {
                Some(Direction::LeftToRight) => self.crosses.left_to_right += 1,
                Some(Direction::RightToLeft) => self.crosses.right_to_left += 1,
                None => self.crosses.unknown += 1,
            },
            ZoneEventType::Occupied => self.occupied += 1,
            ZoneEventType::Cleared => {}
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.enters += other.enters;
        self.exits += other.exits;
        self.dwells += other.dwells;
        self.occupied += other.occupied;
        self.crosses.left_to_right += other.crosses.left_to_right;
        self.crosses.right_to_left += other.crosses.right_to_left;
        self.crosses.unknown += other.crosses.unknown;
        self.stays.merge(&other.stays);
    }
}

/// Most counts are zero, and there are many: they are left out.
fn is_nothing<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
