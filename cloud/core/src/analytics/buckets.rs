//! Hours and days on the clock of a time zone.

use std::fmt;
use std::str::FromStr;

use aivms_contract::time::UtcMillis;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

/// Most hours or days of one answer: more than a year of hours.
pub const MAX_BUCKETS: usize = 10_000;

const HOUR_MS: i64 = 60 * 60 * 1_000;

/// A time zone by its IANA name, from the database in the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// Says that no time zone has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be the IANA name of a time zone, such as Europe/Berlin, is {0:?}")]
pub struct UnknownZone(String);

/// How long the parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An hour on the clock: the hour that a clock shows twice is two, one that it skips is none.
    Hour,
    /// A calendar day, of 23 or 25 hours where the clock is changed.
    Day,
}

/// A part of the time asked for, from `start` to before `end`; the first and the last may be cut by the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Its beginning.
    pub start: UtcMillis,
    /// Its end, exclusive.
    pub end: UtcMillis,
}

/// Says that an answer would have too many parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be closer to start_time: the answer would have more than {MAX_BUCKETS} parts")]
pub struct TooMany;

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;
    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        let found = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
        found.map(Self).ok_or_else(|| UnknownZone(name.to_owned()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl Zone {
    /// What a clock in this zone shows, with its offset: `2026-03-29T03:00:00+02:00`.
    #[must_use]
    pub fn clock(&self, at: UtcMillis) -> String {
        let at = timestamp(at);
        at.display_with_offset(self.0.to_offset(at)).to_string()
    }

    /// The end of the hour or day that `at` is in.
    fn end_of(&self, step: Step, at: UtcMillis) -> UtcMillis {
        let end = match step {
            Step::Hour => self.end_of_hour(at),
            Step::Day => self.end_of_day(at),
        };
        // Whatever a zone's rules are, time goes on.
        UtcMillis::from_millis(end.unwrap_or_default().max(at.as_millis() + 1))
    }

    /// The next full hour of the clock, or the moment the clock is changed before it.
    fn end_of_hour(&self, at: UtcMillis) -> Option<i64> {
        let millis = at.as_millis();
        let offset = i64::from(self.0.to_offset(timestamp(at)).seconds()) * 1_000;
        let full = millis + HOUR_MS - (millis + offset).rem_euclid(HOUR_MS);
        let change = self.0.following(timestamp(at)).next().map(|change| change.timestamp().as_millisecond());
        Some(change.map_or(full, |change| if change > millis { full.min(change) } else { full }))
    }

    /// The first moment of the next date on the calendar.
    fn end_of_day(&self, at: UtcMillis) -> Option<i64> {
        let today = timestamp(at).to_zoned(self.0.clone());
        let tomorrow = today.date().checked_add(1.day()).ok()?.to_zoned(self.0.clone()).ok()?;
        Some(tomorrow.start_of_day().unwrap_or(tomorrow).timestamp().as_millisecond())
    }
}

/// The parts of the time from `start` to before `end`, in order, without gap.
///
/// # Errors
/// There would be more than [`MAX_BUCKETS`].
pub fn buckets(zone: &Zone, step: Step, start: UtcMillis, end: UtcMillis) -> Result<Vec<Bucket>, TooMany> {
    let mut made = Vec::new();
    let mut from = start;
    while from < end {
        if made.len() == MAX_BUCKETS {
            return Err(TooMany);
        }
        let to = zone.end_of(step, from).min(end);
        made.push(Bucket { start: from, end: to });
        from = to;
    }
    Ok(made)
}

fn timestamp(at: UtcMillis) -> Timestamp {
    // Times of the contract are within what the library can hold.
    Timestamp::from_millisecond(at.as_millis()).unwrap_or(Timestamp::UNIX_EPOCH)
}
