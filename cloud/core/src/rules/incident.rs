//! Folding: alerts of one place that follow each other are one incident, told of in one thread.

use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// How alerts are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folding {
    /// An alert joins an incident when it is at most so far from one of its alerts.
    pub window: Duration,
    /// No incident is longer: one that never ends would hide what happens anew.
    pub longest: Duration,
    /// No incident has more alerts.
    pub most: u32,
}

/// An incident as far as folding needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Time of its first alert.
    pub first_at: UtcMillis,
    /// Time of its last alert.
    pub last_at: UtcMillis,
    /// Its alerts.
    pub alerts: u32,
}

impl Default for Folding {
    fn default() -> Self {
        Self { window: Duration::from_mins(5), longest: Duration::from_hours(1), most: 1_000 }
    }
}

impl Folding {
    /// The incident after an alert at `at` has joined it; `None` when the alert belongs to another one. An alert that
    /// comes late joins the incident of its own time.
    #[must_use]
    pub fn join(&self, incident: Span, at: UtcMillis) -> Option<Span> {
        let joined = Span {
            first_at: incident.first_at.min(at),
            last_at: incident.last_at.max(at),
            alerts: incident.alerts.saturating_add(1),
        };
        let is_near = incident.first_at.since(at) <= self.window && at.since(incident.last_at) <= self.window;
        let is_bounded = joined.last_at.since(joined.first_at) <= self.longest && joined.alerts <= self.most;
        (is_near && is_bounded).then_some(joined)
    }

    /// The incident that an alert at `at` opens.
    #[must_use]
    pub fn open(at: UtcMillis) -> Span {
        Span { first_at: at, last_at: at, alerts: 1 }
    }
}
