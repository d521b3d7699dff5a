//! Schedules on the site's own clock: when a rule is judged, also over the days on which the clock is put on or back.
//! Edge and cloud read the same spans and must mean the same instants by them, so the reading stands here.
//!
//! A span of a [`Schedule`] is half-open, from its first minute to before its last, on the wall clock of the site's
//! time zone. It may cross midnight. On the days on which the clock is changed:
//!
//! - A time that the clock skips counts as the first instant after the skipped one. A span whose two ends are skipped
//!   is left out that day.
//! - A time that the clock shows twice counts as the first of the two for a beginning, as the last for an end: of two
//!   ways to mean it, the one that watches longer.
//!
//! So a watch from 22:00 to 06:00 takes 7 and 9 hours in the two nights, and is never left out or told twice. The users
//! of other recorders ask for schedules in frigate-notify #328 and tell of what the change of clocks did to them in
//! frigate #2158, #4270 (an hour of recordings overwritten), #3991 and #7935.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp};

use crate::desired::{Schedule, ScheduleSpan, TimeZoneName};
use crate::time::UtcMillis;

/// Minutes of a day and of a week on the wall clock.
const DAY: i32 = 24 * 60;
const WEEK: i32 = 7 * DAY;
/// Weeks looked ahead for a change. Each week has one, unless a skipped hour or day swallows it: so two would do.
const WEEKS_AHEAD: i32 = 4;

/// The time zone of a site, from the database in the program: the system needs none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteZone(TimeZone);

/// Says that no time zone has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no time zone is named {0:?}; write a name as Europe/Berlin")]
pub struct UnknownZone(String);

/// A [`Schedule`] in a [`SiteZone`], ready to be asked for each frame.
#[derive(Debug, Clone)]
pub struct WeekPlan {
    zone: SiteZone,
    /// Disjoint, rising, none touching the next.
    spans: Vec<WallSpan>,
    /// The answer last given. Between two changes nothing is computed.
    known: Option<Stretch>,
}

/// A span in minutes of the wall clock since Monday 00:00; it may end in the next week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct WallSpan {
    from: i32,
    to: i32,
}

/// A time in which nothing changes, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: i64,
    /// Absent when it never ends.
    until: Option<i64>,
    open: bool,
}

impl SiteZone {
    /// Finds the zone of this IANA name; without a name it is UTC.
    ///
    /// # Errors
    /// There is no such zone.
    pub fn of(name: Option<&TimeZoneName>) -> Result<Self, UnknownZone> {
        let Some(name) = name else { return Ok(Self::default()) };
        let found = TimeZoneDatabase::bundled().get(name.as_str()).ok().filter(|zone| !zone.is_unknown());
        found.map(Self).ok_or_else(|| UnknownZone(name.as_str().to_owned()))
    }

    /// The IANA name of the zone.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What the clock on the wall shows at `at`, as `2026-11-22T14:03:11.250+01:00`.
    #[must_use]
    pub fn on_the_wall(&self, at: UtcMillis) -> String {
        let offset = self.0.to_offset(timestamp(at.as_millis()));
        format!("{:.3}", timestamp(at.as_millis()).display_with_offset(offset))
    }

    /// The date that the calendar on the wall shows at `at`.
    #[must_use]
    pub fn date_of(&self, at: UtcMillis) -> Date {
        self.wall(at.as_millis()).date()
    }

    /// The first instant at which the clock on the wall shows `wall`, or has passed it. `None` after the end of the
    /// calendar.
    #[must_use]
    pub fn instant_of(&self, wall: DateTime) -> Option<UtcMillis> {
        self.first(wall).map(UtcMillis::from_millis)
    }

    fn wall(&self, at: i64) -> DateTime {
        self.0.to_datetime(timestamp(at))
    }

    /// The first instant at which the wall clock shows `wall`, or has passed it. `None` after the end of the calendar.
    fn first(&self, wall: DateTime) -> Option<i64> {
        match self.0.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                instant(offset, wall)
            }
            AmbiguousOffset::Gap { before, .. } => self.end_of_gap(before, wall),
        }
    }

    /// The last instant at which the wall clock shows `wall`; when it never does, the first after which it has passed.
    fn last(&self, wall: DateTime) -> Option<i64> {
        match self.0.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { after: offset, .. } => {
                instant(offset, wall)
            }
            AmbiguousOffset::Gap { before, .. } => self.end_of_gap(before, wall),
        }
    }

    /// When the clock was put on over `wall`. By the offset of before, `wall` lies at or after that instant.
    fn end_of_gap(&self, before: Offset, wall: DateTime) -> Option<i64> {
        let after = timestamp(instant(before, wall)?.saturating_add(1));
        self.0.preceding(after).next().map(|transition| transition.timestamp().as_millisecond())
    }
}

impl Default for SiteZone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl WeekPlan {
    /// Reads `schedule` on the clock of `zone`.
    #[must_use]
    pub fn new(schedule: &Schedule, zone: &SiteZone) -> Self {
        Self { zone: zone.clone(), spans: joined(schedule.spans().iter().flat_map(on_the_days).collect()), known: None }
    }

    /// Whether any span of the schedule holds `at`.
    ///
    /// Asked for times that mostly go forward it computes only at changes; any order gives the same answers.
    pub fn is_open(&mut self, at: UtcMillis) -> bool {
        self.stretch(at).open
    }

    /// The first time later than `after` at which [`WeekPlan::is_open`] changes, and what it is from then on. `None`
    /// when it never changes, as with a schedule that fills the week.
    pub fn next_change(&mut self, after: UtcMillis) -> Option<(UtcMillis, bool)> {
        let stretch = self.stretch(after);
        stretch.until.map(|until| (UtcMillis::from_millis(until), !stretch.open))
    }

    fn stretch(&mut self, at: UtcMillis) -> Stretch {
        let at = at.as_millis();
        let holds = |known: &Stretch| known.from <= at && known.until.is_none_or(|until| at < until);
        match self.known.filter(holds) {
            Some(known) => known,
            None => *self.known.insert(self.stretch_around(at)),
        }
    }

    fn stretch_around(&self, at: i64) -> Stretch {
        let mut stretch = Stretch { from: at, until: None, open: false };
        if self.spans.iter().any(|span| span.to - span.from >= WEEK) {
            return Stretch { open: true, ..stretch };
        }
        // Two spans that are apart on the wall can touch in time, where the time between them is skipped or their ends
        // are shown twice. So each is joined to those before it, until one begins later.
        let mut joined: Option<(i64, i64)> = None;
        for (begin, end) in self.spans_around(at).filter(|(begin, end)| begin < end) {
            match &mut joined {
                Some((_, until)) if begin <= *until => *until = end.max(*until),
                Some((_, until)) if at < *until => break,
                earlier => {
                    stretch.from = earlier.map_or(at, |(_, until)| until);
                    *earlier = Some((begin, end));
                }
            }
        }
        match joined {
            Some((begin, _)) if at < begin => Stretch { until: Some(begin), ..stretch },
            Some((begin, end)) if at < end => Stretch { from: begin, until: Some(end), open: true },
            _ => stretch,
        }
    }

    /// The spans that can hold `at` and those of the weeks after, by their beginnings; some may lie before.
    fn spans_around(&self, at: i64) -> impl Iterator<Item = (i64, i64)> {
        let now = self.zone.wall(at);
        // A clock put back shows the day before once more; nowhere is it put on or back by more than a day.
        let since = now.saturating_sub(Span::new().days(2));
        let monday = now.date().saturating_sub(Span::new().days(now.date().weekday().to_monday_zero_offset()));
        let weeks = (-2..=WEEKS_AHEAD).map(|week| week * WEEK);
        weeks.flat_map(|week| self.spans.iter().map(move |span| (week + span.from, week + span.to))).filter_map(
            move |(from, to)| {
                let end = wall_time(monday, to).filter(|end| *end >= since)?;
                Some((self.zone.first(wall_time(monday, from)?)?, self.zone.last(end)?))
            },
        )
    }
}

/// The span on each of its days.
fn on_the_days(span: &ScheduleSpan) -> impl Iterator<Item = WallSpan> {
    let (from, to) = (i32::from(span.from.minutes()), i32::from(span.to.minutes()));
    let length = if to > from { to - from } else { to - from + DAY };
    let days = (0..7).filter(|day| span.days.is_empty() || span.days.iter().any(|own| *own as i32 == *day));
    days.map(move |day| WallSpan { from: day * DAY + from, to: day * DAY + from + length })
}

/// The same times in as few spans as can be.
fn joined(mut spans: Vec<WallSpan>) -> Vec<WallSpan> {
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let touches = next.from <= last.to;
        if touches {
            last.to = last.to.max(next.to);
        }
        touches
    });
    join_over_sunday(&mut spans);
    spans
}

/// Joins the last span to the first ones of the week that follows, where it reaches into them.
fn join_over_sunday(spans: &mut Vec<WallSpan>) {
    let Some(mut last) = spans.pop() else { return };
    let reached = spans.iter().take_while(|span| span.from + WEEK <= last.to).count();
    for span in spans.drain(..reached) {
        last.to = last.to.max(span.to + WEEK);
    }
    spans.push(last);
}

fn wall_time(monday: Date, minutes: i32) -> Option<DateTime> {
    let day = monday.checked_add(Span::new().days(minutes.div_euclid(DAY))).ok()?;
    let minute = minutes.rem_euclid(DAY);
    Some(day.at(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0))
}

fn instant(offset: Offset, wall: DateTime) -> Option<i64> {
    offset.to_timestamp(wall).ok().map(Timestamp::as_millisecond)
}

fn timestamp(millis: i64) -> Timestamp {
    let nearest = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(nearest)
}

#[cfg(test)]
mod tests;
