//! How long a tenant keeps what: its own policy, bounded by a maximum, stopped by a legal hold.
//!
//! The edge has a retention of its own, by room on its disks; this one is about what is in the cloud, by days.

use std::time::Duration;

use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

/// Fewest and most days that can be asked for.
pub const DAYS: std::ops::RangeInclusive<u32> = 1..=3_650;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is kept, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Detections.
    Detections,
    /// Zone events.
    ZoneEvents,
    /// Alerts that are over, and what edges told as alerts.
    Alerts,
    /// Health reports of edges.
    Health,
    /// Clips with their files.
    Clips,
    /// Snapshots with their files.
    Snapshots,
    /// Accounts of what was recorded and what is missing.
    Footage,
}

/// A tenant's policy: days per kind; what has no days is kept as long as `maximum` lets it, or for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// Days of detections.
    pub detections: Option<u32>,
    /// Days of zone events.
    pub zone_events: Option<u32>,
    /// Days of alerts.
    pub alerts: Option<u32>,
    /// Days of health reports.
    pub health: Option<u32>,
    /// Days of clips.
    pub clips: Option<u32>,
    /// Days of snapshots.
    pub snapshots: Option<u32>,
    /// Days of accounts of what was recorded.
    pub footage: Option<u32>,
    /// Most days of anything, as a law or a works council may demand.
    pub maximum: Option<u32>,
    /// Nothing is deleted while this stands.
    pub legal_hold: bool,
}

/// Says what is wrong with a policy; names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too few or too many days.
    #[error("must be {} to {} days", DAYS.start(), DAYS.end())]
    Days(&'static str),
    /// A kind is to be kept longer than anything may be.
    #[error("must not be more than maximum_days")]
    AboveMaximum(&'static str),
}

impl Kept {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Detections, Self::ZoneEvents, Self::Alerts, Self::Health, Self::Clips, Self::Snapshots, Self::Footage];

    /// The name in answers and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detections => "detections",
            Self::ZoneEvents => "zone_events",
            Self::Alerts => "alerts",
            Self::Health => "health",
            Self::Clips => "clips",
            Self::Snapshots => "snapshots",
            Self::Footage => "footage",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Detections => "detections_days",
            Self::ZoneEvents => "zone_events_days",
            Self::Alerts => "alerts_days",
            Self::Health => "health_days",
            Self::Clips => "clips_days",
            Self::Snapshots => "snapshots_days",
            Self::Footage => "footage_days",
        }
    }
}

impl PolicyError {
    /// The field that is wrong.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Days(field) | Self::AboveMaximum(field) => field,
        }
    }
}

impl Policy {
    /// Checks each figure and that none is above the maximum.
    ///
    /// # Errors
    /// Names the field.
    pub fn check(&self) -> Result<(), PolicyError> {
        let fits = |days: Option<u32>| days.is_none_or(|days| DAYS.contains(&days));
        if !fits(self.maximum) {
            return Err(PolicyError::Days("maximum_days"));
        }
        for kind in Kept::ALL {
            let days = self.own_days(kind);
            if !fits(days) {
                return Err(PolicyError::Days(kind.field()));
            }
            if days.zip(self.maximum).is_some_and(|(days, maximum)| days > maximum) {
                return Err(PolicyError::AboveMaximum(kind.field()));
            }
        }
        Ok(())
    }

    /// The days that count for a kind: its own, else the maximum; `None` when it is kept for ever.
    #[must_use]
    pub fn days(&self, kind: Kept) -> Option<u32> {
        match (self.own_days(kind), self.maximum) {
            (Some(days), Some(maximum)) => Some(days.min(maximum)),
            (days, maximum) => days.or(maximum),
        }
    }

    /// What of a kind is older than this is deleted; `None` when nothing is.
    #[must_use]
    pub fn cutoff(&self, kind: Kept, now: UtcMillis) -> Option<UtcMillis> {
        let days = self.days(kind).filter(|_| !self.legal_hold)?;
        Some(now - DAY * days)
    }

    fn own_days(&self, kind: Kept) -> Option<u32> {
        match kind {
            Kept::Detections => self.detections,
            Kept::ZoneEvents => self.zone_events,
            Kept::Alerts => self.alerts,
            Kept::Health => self.health,
            Kept::Clips => self.clips,
            Kept::Snapshots => self.snapshots,
            Kept::Footage => self.footage,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn now() -> UtcMillis {
        UtcMillis::from_millis(1_795_352_700_000)
    }

    prop_compose! {
        fn policy()(days in prop::collection::vec(option::of(1u32..4_000), 8), legal_hold: bool) -> Policy {
            Policy {
                detections: days[0],
                zone_events: days[1],
                alerts: days[2],
                health: days[3],
                clips: days[4],
                snapshots: days[5],
                footage: days[6],
                maximum: days[7],
                legal_hold,
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_kept_beyond_the_maximum_and_nothing_goes_under_a_hold(policy in policy()) {
            for kind in Kept::ALL {
                match policy.cutoff(kind, now()) {
                    None => prop_assert!(policy.legal_hold || (policy.maximum.is_none() && policy.days(kind).is_none())),
                    Some(cutoff) => {
                        prop_assert!(!policy.legal_hold);
                        prop_assert!(policy.maximum.is_none_or(|days| now().since(cutoff) <= DAY * days));
                        prop_assert_eq!(Some(now().since(cutoff)), policy.days(kind).map(|days| DAY * days));
                    }
                }
            }
        }

        #[test]
        fn a_policy_that_is_taken_means_what_it_says(policy in policy()) {
            if policy.check().is_ok() {
                for kind in Kept::ALL {
                    prop_assert!(policy.own_days(kind).is_none_or(|days| policy.days(kind) == Some(days)));
                }
            }
        }
    }

    #[test]
    fn a_wrong_policy_is_refused_by_its_field() {
        let check = |policy: Policy, field: &str| assert_eq!(policy.check().unwrap_err().field(), field);
        check(Policy { detections: Some(0), ..Policy::default() }, "detections_days");
        check(Policy { maximum: Some(3_651), ..Policy::default() }, "maximum_days");
        check(Policy { clips: Some(31), maximum: Some(30), ..Policy::default() }, "clips_days");
        assert_eq!(Policy::default().check(), Ok(()));
        let kinds: Vec<_> = Kept::ALL.map(Kept::as_str).into();
        assert_eq!(Kept::ALL.map(Kept::field).map(|field| field.trim_end_matches("_days")).to_vec(), kinds);
    }
}
