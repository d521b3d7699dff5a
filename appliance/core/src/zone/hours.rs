//! The schedule of a zone or line, on media time.

use std::time::Duration;

use aivms_contract::desired::Schedule;
use aivms_contract::time::{MediaClock, MediaTime};

use crate::schedule::{SiteZone, WeekPlan};

/// How far ahead of the frames a change is looked for.
const AHEAD: Duration = Duration::from_secs(60);

/// When a zone or line is judged.
#[derive(Debug, Clone)]
pub(super) struct Hours {
    plan: WeekPlan,
    known: Option<Stretch>,
}

/// A span of media time in which the schedule is known not to change.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: MediaTime,
    until: MediaTime,
    clock: MediaClock,
    is_open: bool,
}

impl Hours {
    pub(super) fn new(schedule: &Schedule, zone: &SiteZone) -> Self {
        Self { plan: WeekPlan::new(schedule, zone), known: None }
    }

    pub(super) fn is_open(&mut self, at: MediaTime, clock: MediaClock) -> bool {
        self.plan.is_open(clock.utc(at))
    }

    /// The next change later than `after` and at or before `until`.
    pub(super) fn next_change(&mut self, after: MediaTime, until: MediaTime, clock: MediaClock) -> Option<MediaTime> {
        let (at, _) = self.plan.next_change(clock.utc(after))?;
        (at <= clock.utc(until)).then(|| (MediaTime::ZERO + at.since(clock.zero_at)).clamp(after, until))
    }

    /// Whether it is open all the time from `from` to `until`, or closed all the time; `None` when it changes between.
    /// Nearly always the answer is at hand.
    pub(super) fn steady(&mut self, from: MediaTime, until: MediaTime, clock: MediaClock) -> Option<bool> {
        let holds = |known: &Stretch| known.from <= from && until <= known.until && known.clock == clock;
        if let Some(known) = self.known.filter(holds) {
            return Some(known.is_open);
        }
        if self.next_change(from, until, clock).is_some() {
            return None;
        }
        let is_open = self.is_open(from, clock);
        let ahead = until + AHEAD;
        let until = if self.next_change(from, ahead, clock).is_none() { ahead } else { until };
        self.known = Some(Stretch { from, until, clock, is_open });
        Some(is_open)
    }
}
