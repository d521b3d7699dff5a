//! The two clocks of the system: wall time in UTC milliseconds and media time in nanoseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Wall time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Travels as RFC 3339 in UTC with three decimals (`2026-11-22T13:05:00.250Z`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcMillis(i64);

/// Last millisecond that prints with a four-digit year.
const MAX_MILLIS: i64 = 253_402_300_799_999;
/// First millisecond of year 0.
const MIN_MILLIS: i64 = -62_167_219_200_000;

/// Says that a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 time such as 2026-11-22T13:05:00.250Z, is {0:?}")]
pub struct TimeError(String);

impl UtcMillis {
    /// Takes milliseconds since 1970, clamped to the years 0 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(MIN_MILLIS, MAX_MILLIS))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// Reads RFC 3339, and the bare form `2026-11-22T13:05:00` or `2026-11-22`, which counts as UTC.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse_lenient(text: &str) -> Result<Self, TimeError> {
        let bare = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
        text.parse()
            .or_else(|error| bare().map(|zoned| Self::from_millis(zoned.timestamp().as_millisecond())).ok_or(error))
    }
}

impl FromStr for UtcMillis {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        text.parse::<jiff::Timestamp>()
            .map(|timestamp| Self::from_millis(timestamp.as_millisecond()))
            .map_err(|_| TimeError(text.to_owned()))
    }
}

impl fmt::Display for UtcMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Clamped at construction to what jiff can hold.
        let timestamp = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{timestamp:.3}")
    }
}

impl TryFrom<String> for UtcMillis {
    type Error = TimeError;
    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<UtcMillis> for String {
    fn from(at: UtcMillis) -> String {
        at.to_string()
    }
}

impl Add<Duration> for UtcMillis {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for UtcMillis {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Media time: nanoseconds on one camera connection's own timeline, from its frames' timestamps.
///
/// Never compared between cameras or connections; it never jumps when the wall clock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaTime(u64);

impl MediaTime {
    /// The start of a timeline.
    pub const ZERO: Self = Self(0);

    /// Takes nanoseconds since the start of the timeline.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Takes milliseconds since the start of the timeline.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start of the timeline.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where one media timeline lies in wall time: fixed once per camera connection,
/// so that a step of the system clock never moves events against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaClock {
    /// Wall time of [`MediaTime::ZERO`].
    pub zero_at: UtcMillis,
}

impl MediaClock {
    /// The clock of a timeline on which `media` was seen at wall time `at`.
    #[must_use]
    pub fn anchored(media: MediaTime, at: UtcMillis) -> Self {
        Self { zero_at: at - Duration::from_nanos(media.as_nanos()) }
    }

    /// Wall time of `media`.
    #[must_use]
    pub fn utc(self, media: MediaTime) -> UtcMillis {
        self.zero_at + Duration::from_nanos(media.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn utc_prints_milliseconds_and_reads_offsets_and_bare_forms() {
        let at = UtcMillis::from_millis(1_795_352_700_250);
        assert_eq!(at.to_string(), "2026-11-22T13:05:00.250Z");
        assert_eq!("2026-11-22T14:05:00.250+01:00".parse(), Ok(at));
        assert_eq!(UtcMillis::parse_lenient("2026-11-22T13:05:00.250"), Ok(at));
        assert_eq!(
            UtcMillis::parse_lenient("2026-11-22").map(|t| t.to_string()),
            Ok("2026-11-22T00:00:00.000Z".into())
        );
        assert!(UtcMillis::parse_lenient("yesterday").is_err());
    }

    proptest! {
        #[test]
        fn printing_and_reading_a_time_are_inverses(millis in MIN_MILLIS..=MAX_MILLIS) {
            let at = UtcMillis::from_millis(millis);
            prop_assert_eq!(at.to_string().parse(), Ok(at));
        }
    }
}
