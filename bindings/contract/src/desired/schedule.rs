//! When a rule is judged: spans of the week on the site's own clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::number::ValueError;

/// Most spans of one schedule.
const MAX_SPANS: usize = 64;

/// Spans of the week, on the wall clock of the site's time zone. A rule is judged in any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ScheduleSpan>", into = "Vec<ScheduleSpan>")]
pub struct Schedule(Vec<ScheduleSpan>);

/// The same span on some days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpan {
    /// Days on which it begins; empty for every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Weekday>,
    /// When it begins, as `22:00`.
    pub from: TimeOfDay,
    /// When it ends, as `06:00`; a time at or before `from` is on the next day, `24:00` is midnight.
    pub to: TimeOfDay,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A time on the wall clock to the minute, `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

/// The IANA name of a time zone, such as `Europe/Berlin`. Whether the edge knows it shows when it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZoneName(String);

impl Schedule {
    /// The spans in the order of the document.
    #[must_use]
    pub fn spans(&self) -> &[ScheduleSpan] {
        &self.0
    }
}

impl TryFrom<Vec<ScheduleSpan>> for Schedule {
    type Error = ValueError;
    fn try_from(spans: Vec<ScheduleSpan>) -> Result<Self, ValueError> {
        if spans.is_empty() {
            return Err(ValueError::new("must have at least one span; leave it out for always".to_owned()));
        }
        if spans.len() > MAX_SPANS {
            return Err(ValueError::new(format!("at most {MAX_SPANS} spans, found {}", spans.len())));
        }
        match spans.iter().find(|span| span.from.minutes() == 1440 || span.to.minutes() == 0) {
            Some(_) => Err(ValueError::new(
                "begins before 24:00 and ends after 00:00; midnight is 00:00 as a beginning, 24:00 as an end"
                    .to_owned(),
            )),
            None => Ok(Self(spans)),
        }
    }
}

impl From<Schedule> for Vec<ScheduleSpan> {
    fn from(schedule: Schedule) -> Self {
        schedule.0
    }
}

impl TimeOfDay {
    /// Minutes since midnight, 0 to 1440.
    #[must_use]
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let two = |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok());
        let parts = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)??, two(minute)??)));
        parts
            .filter(|(hour, minute): &(u16, u16)| *minute < 60 && hour * 60 + minute <= 1440)
            .map(|(hour, minute)| Self(hour * 60 + minute))
            .ok_or_else(|| ValueError::new(format!("must be a time as 07:30, up to 24:00, is {text:?}")))
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl TimeZoneName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TimeZoneName {
    type Error = ValueError;
    fn try_from(name: String) -> Result<Self, ValueError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(ValueError::new(format!("must be a name as Europe/Berlin, is {name:?}")));
        }
        Ok(Self(name))
    }
}

impl From<TimeZoneName> for String {
    fn from(name: TimeZoneName) -> Self {
        name.0
    }
}
