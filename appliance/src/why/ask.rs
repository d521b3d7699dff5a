//! The command `aivms-appliance why`: what is asked, and the text of the answer.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use aivms_appliance_core::schedule::SiteZone;
use aivms_contract::id::{CameraId, TrackId, ZoneId};
use aivms_contract::time::UtcMillis;
use aivms_contract::why::Decision;
use anyhow::Context as _;

use super::read::{Found, Question, read};
use super::words::sentence;

/// How far back is looked when nothing else is asked.
const SINCE: Duration = Duration::from_secs(3600);
/// How far around one moment is looked.
const AROUND: Duration = Duration::from_secs(60);

/// What a person asks.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Ask {
    /// Only about this camera
    #[arg(long, value_name = "ID")]
    pub camera: Option<CameraId>,
    /// Only about this zone or line, and about what stopped an object before any zone
    #[arg(long, value_name = "ID")]
    pub zone: Option<ZoneId>,
    /// Only about this track
    #[arg(long, value_name = "ID")]
    pub track: Option<TrackId>,
    /// From this long ago until now, as 90s, 15m, 2h or 1d [default: 1h]
    #[arg(long, value_name = "TIME", conflicts_with = "at")]
    pub since: Option<Span>,
    /// A minute before and after this time: 14:03 or 14:03:11 of the last 24 hours, 2026-11-22T14:03 on the site's
    /// clock, or 2026-11-22T13:03:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<Time>,
    /// Print the decisions as JSON, one a line
    #[arg(long)]
    pub json: bool,
}

/// A length of time, as `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(Duration);

/// A moment, as far as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// One moment.
    Instant(UtcMillis),
    /// On the site's clock.
    Wall(jiff::civil::DateTime),
    /// On the site's clock, the last time it showed this.
    TimeOfDay(jiff::civil::Time),
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be a length of time as 90s, 15m, 2h or 1d, is {text:?}");
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        Ok(Self(Duration::from_secs(u64::from(number) * seconds)))
    }
}

impl FromStr for Time {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let instant = || text.parse().map(Self::Instant).ok();
        let wall = || text.parse().map(Self::Wall).ok();
        let time_of_day = || text.parse().map(Self::TimeOfDay).ok();
        // A date alone is midnight for the middle form, and no time for the last.
        instant().or_else(wall).or_else(time_of_day).ok_or_else(|| {
            format!("must be a time as 14:03, 14:03:11, 2026-11-22T14:03 or 2026-11-22T13:03:00Z, is {text:?}")
        })
    }
}

impl Time {
    fn utc(self, zone: &SiteZone, now: UtcMillis) -> Option<UtcMillis> {
        match self {
            Self::Instant(at) => Some(at),
            Self::Wall(wall) => zone.instant_of(wall),
            Self::TimeOfDay(time) => {
                let today = zone.date_of(now);
                let last = zone.instant_of(today.to_datetime(time)).filter(|at| *at <= now + AROUND);
                last.or_else(|| zone.instant_of(today.yesterday().ok()?.to_datetime(time)))
            }
        }
    }
}

impl Ask {
    fn question(&self, zone: &SiteZone, now: UtcMillis) -> anyhow::Result<Question> {
        let (from, to) = match self.at {
            Some(time) => {
                let at = time.utc(zone, now).context("--at: there is no such time on the site's clock")?;
                (at - AROUND, at + AROUND)
            }
            // Media time may be a little ahead of the clock.
            None => (now - self.since.map_or(SINCE, |Span(since)| since), now + AROUND),
        };
        Ok(Question { camera: self.camera.clone(), zone: self.zone.clone(), track: self.track.clone(), from, to })
    }
}

/// The text that answers `ask`, from the files of `data_dir`, with times on the clock of `zone`.
///
/// # Errors
/// The files can't be read, or the time asked for is none.
pub fn answer(data_dir: &Path, ask: &Ask, zone: &SiteZone, now: UtcMillis) -> anyhow::Result<String> {
    let question = ask.question(zone, now)?;
    let found = read(data_dir, &question).context("the kept reasons can't be read")?;
    let mut text = String::new();
    if ask.json {
        for decision in &found.decisions {
            text.push_str(&serde_json::to_string(decision)?);
            text.push('\n');
        }
        return Ok(text);
    }
    tell(&mut text, &found.decisions, zone);
    if found.decisions.is_empty() {
        nothing(&mut text, &found, &question, zone);
    }
    Ok(text)
}

/// One line for each decision, under the date and the offset of the clock whenever they change.
fn tell(text: &mut String, decisions: &[Decision], zone: &SiteZone) {
    let mut last = String::new();
    for decision in decisions {
        let (date, time, offset) = parts(zone, decision.at);
        let heading = format!("{date} ({}, UTC{offset})", zone.name());
        if heading != last {
            writeln!(text, "{heading}").expect("writing to a String can't fail");
            last = heading;
        }
        writeln!(text, "{time} {}", sentence(decision)).expect("writing to a String can't fail");
    }
}

/// Nothing was found: says of what time, and what else may be the reason.
fn nothing(text: &mut String, found: &Found, question: &Question, zone: &SiteZone) {
    let shown = |at| {
        let (date, time, _) = parts(zone, at);
        format!("{date} {time}")
    };
    let kept = match found.kept_since {
        Some(since) => format!("reasons are kept since {}", shown(since)),
        None => {
            "no reasons are kept yet: the appliance has not run, nothing was decided, or why.keep_hours is 0".to_owned()
        }
    };
    let (from, to, name) = (shown(question.from), shown(question.to), zone.name());
    writeln!(
        text,
        "nothing was decided about this from {from} to {to} ({name}); {kept}.\nAn object that the detector did not see, \
         or that was near no zone, leaves no reason."
    )
    .expect("writing to a String can't fail");
}

/// Date, time and offset of `2026-11-22T14:03:11.250+01:00`.
fn parts(zone: &SiteZone, at: UtcMillis) -> (String, String, String) {
    let wall = zone.on_the_wall(at);
    let (date, rest) = wall.split_at_checked(10).unwrap_or((&wall, ""));
    let (time, offset) = (rest.get(1..9), rest.get(13..));
    (date.to_owned(), time.unwrap_or_default().to_owned(), offset.unwrap_or_default().to_owned())
}
