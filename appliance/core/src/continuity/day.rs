//! Totals of a day on the site's own calendar; it has 23, 24 or 25 hours.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::footage::{Continuity, FootageEvent, GapCause, MissingTime};
use aivms_contract::time::UtcMillis;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::schedule::SiteZone;

/// Longest span told day by day; of a longer one, such as after a clock that was years behind, only its end is.
const LONGEST: Duration = Duration::from_secs(40 * 86_400);
/// A day where the calendar ends.
const PLAIN_DAY: Duration = Duration::from_secs(86_400);

/// What was recorded of one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Day {
    start: UtcMillis,
    end: UtcMillis,
    recorded_ms: u64,
    missing: BTreeMap<GapCause, Missing>,
    /// The gap counted last.
    last_gap: Option<UtcMillis>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Missing {
    ms: u64,
    gaps: u32,
}

impl Day {
    /// The day that holds `at`, with nothing in it.
    pub(super) fn of(at: UtcMillis, zone: &SiteZone) -> Self {
        let date = zone.date_of(at);
        let start = zone.instant_of(midnight(date)).filter(|start| *start <= at).unwrap_or(at);
        let next = date.tomorrow().ok().and_then(|date| zone.instant_of(midnight(date)));
        let end = next.filter(|end| *end > at).unwrap_or(at + PLAIN_DAY);
        Self { start, end, recorded_ms: 0, missing: BTreeMap::new(), last_gap: None }
    }

    pub(super) fn recorded(&mut self, from: UtcMillis, to: UtcMillis, zone: &SiteZone, told: &mut Vec<FootageEvent>) {
        self.add(from, to, zone, told, |day, ms| day.recorded_ms += ms);
    }

    /// Adds a span of the gap that is named by its cause and beginning.
    pub(super) fn missed(
        &mut self,
        from: UtcMillis,
        to: UtcMillis,
        (cause, gap): (GapCause, UtcMillis),
        zone: &SiteZone,
        told: &mut Vec<FootageEvent>,
    ) {
        self.add(from, to, zone, told, |day, ms| {
            let missing = day.missing.entry(cause).or_default();
            missing.ms += ms;
            missing.gaps += u32::from(day.last_gap != Some(gap));
            day.last_gap = Some(gap);
        });
    }

    /// What was recorded up to `until`.
    pub(super) fn so_far(&self, until: UtcMillis) -> Continuity {
        let faults = || self.missing.iter().filter(|(cause, _)| **cause != GapCause::SwitchedOff);
        let missing =
            faults().map(|(cause, missing)| MissingTime { cause: *cause, ms: missing.ms, gaps: missing.gaps });
        Continuity {
            start: self.start,
            end: self.end.min(until),
            expected_ms: self.recorded_ms + faults().map(|(_, missing)| missing.ms).sum::<u64>(),
            recorded_ms: self.recorded_ms,
            missing: missing.collect(),
        }
    }

    fn add(
        &mut self,
        from: UtcMillis,
        to: UtcMillis,
        zone: &SiteZone,
        told: &mut Vec<FootageEvent>,
        mut count: impl FnMut(&mut Self, u64),
    ) {
        let mut from = if to.since(from) > LONGEST { to - LONGEST } else { from };
        while from < to {
            if from >= self.end || from < self.start {
                told.extend(self.told());
                *self = Self::of(from, zone);
            }
            let end = to.min(self.end);
            count(self, u64::try_from(end.since(from).as_millis()).unwrap_or(u64::MAX));
            from = end;
        }
    }

    fn told(&self) -> Option<FootageEvent> {
        let whole = self.so_far(self.end);
        (whole.expected_ms > 0).then_some(FootageEvent::Continuity(whole))
    }
}

fn midnight(date: Date) -> jiff::civil::DateTime {
    date.at(0, 0, 0, 0)
}
