//! What one person wants to be told of, by which means, and when not.

use std::fmt;

use aivms_contract::alert::Severity;
use aivms_contract::desired::{Schedule, TimeZoneName};
use aivms_contract::schedule::{SiteZone, UnknownZone, WeekPlan};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

/// A person's own choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Whether alerts come by mail.
    pub mail: bool,
    /// Whether alerts come by web push, on the browsers that were subscribed.
    pub push: bool,
    /// The least urgent alerts that are told.
    pub least_severity: Severity,
    /// Whose clock `quiet_hours` are meant by; UTC when absent.
    pub time_zone: Option<TimeZoneName>,
    /// When nothing is told, but what breaks through.
    pub quiet_hours: Option<Schedule>,
    /// The least urgent alerts that are told in quiet hours too; `None` when nothing is.
    pub break_through: Option<Severity>,
}

/// How a person is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// By mail. It waits for the end of quiet hours.
    Mail,
    /// By web push. It is left out in quiet hours: hours later it would wake somebody for what is past.
    Push,
}

/// When an alert is told to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// At this time, now or later.
    At(UtcMillis),
    /// Not at all.
    LeftOut(LeftOut),
}

/// Why an alert is not told to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// The means is not chosen.
    Means,
    /// Too little urgent.
    Severity,
    /// Quiet hours, which the means does not wait for or which never end.
    QuietHours,
}

impl Default for Preferences {
    /// No mails until asked for; pushes wherever a browser is subscribed; no quiet hours.
    fn default() -> Self {
        Self {
            mail: false,
            push: true,
            least_severity: Severity::Warning,
            time_zone: None,
            quiet_hours: None,
            break_through: Some(Severity::Critical),
        }
    }
}

impl Preferences {
    /// Checks that the time zone is known.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self) -> Result<(), UnknownZone> {
        SiteZone::of(self.time_zone.as_ref()).map(drop)
    }

    /// When an alert of `severity`, raised at `now`, is told by `means`.
    ///
    /// A time zone that is not known any more counts as UTC: time-zone data changes with the program.
    #[must_use]
    pub fn when(&self, means: Means, severity: Severity, now: UtcMillis) -> Telling {
        let chosen = match means {
            Means::Mail => self.mail,
            Means::Push => self.push,
        };
        if !chosen {
            return Telling::LeftOut(LeftOut::Means);
        }
        if severity < self.least_severity {
            return Telling::LeftOut(LeftOut::Severity);
        }
        if self.break_through.is_some_and(|least| severity >= least) {
            return Telling::At(now);
        }
        match (self.quiet_until(now), means) {
            (None, _) => Telling::At(now),
            (Some(Some(end)), Means::Mail) => Telling::At(end),
            (Some(_), _) => Telling::LeftOut(LeftOut::QuietHours),
        }
    }

    /// `None` outside quiet hours; inside, when they end, which they may never do.
    fn quiet_until(&self, now: UtcMillis) -> Option<Option<UtcMillis>> {
        let zone = SiteZone::of(self.time_zone.as_ref()).unwrap_or_default();
        let mut plan = WeekPlan::new(self.quiet_hours.as_ref()?, &zone);
        plan.is_open(now).then(|| plan.next_change(now).map(|(end, _)| end))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Means => "not chosen in the preferences",
            Self::Severity => "less urgent than the preferences ask for",
            Self::QuietHours => "quiet hours",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nights() -> Preferences {
        let schedule = r#"[{"from":"22:00","to":"06:00"},{"days":["sat","sun"],"from":"06:00","to":"10:00"}]"#;
        Preferences {
            mail: true,
            time_zone: Some("Europe/Berlin".to_owned().try_into().unwrap()),
            quiet_hours: Some(serde_json::from_str(schedule).unwrap()),
            ..Preferences::default()
        }
    }

    fn at(text: &str) -> UtcMillis {
        text.parse().unwrap()
    }

    #[test]
    fn a_mail_waits_for_the_end_of_the_night_and_a_push_is_left_out() {
        let (now, end) = (at("2026-11-24T02:00:00+01:00"), at("2026-11-24T06:00:00+01:00"));
        assert_eq!(nights().when(Means::Mail, Severity::Warning, now), Telling::At(end));
        let left_out = Telling::LeftOut(LeftOut::QuietHours);
        assert_eq!(nights().when(Means::Push, Severity::Warning, now), left_out);
        // Saturday's night is followed by a quiet morning.
        let (now, end) = (at("2026-11-28T02:00:00+01:00"), at("2026-11-28T10:00:00+01:00"));
        assert_eq!(nights().when(Means::Mail, Severity::Warning, now), Telling::At(end));
        // The night in which the clock is put back: 06:00 by the later offset.
        let (now, end) = (at("2026-10-24T23:00:00+02:00"), at("2026-10-25T10:00:00+01:00"));
        assert_eq!(nights().when(Means::Mail, Severity::Warning, now), Telling::At(end));
    }

    #[test]
    fn what_is_urgent_enough_breaks_through() {
        let now = at("2026-11-24T02:00:00+01:00");
        assert_eq!(nights().when(Means::Push, Severity::Critical, now), Telling::At(now));
        let never = Preferences { break_through: None, ..nights() };
        assert_eq!(never.when(Means::Push, Severity::Critical, now), Telling::LeftOut(LeftOut::QuietHours));
    }

    #[test]
    fn what_was_not_chosen_is_not_told() {
        let (now, preferences) = (at("2026-11-24T12:00:00Z"), Preferences::default());
        let left_out = |means, severity| preferences.when(means, severity, now);
        assert_eq!(left_out(Means::Mail, Severity::Critical), Telling::LeftOut(LeftOut::Means));
        assert_eq!(left_out(Means::Push, Severity::Info), Telling::LeftOut(LeftOut::Severity));
        assert_eq!(left_out(Means::Push, Severity::Warning), Telling::At(now));
    }

    #[test]
    fn quiet_hours_that_never_end_hold_nothing_back_for_ever() {
        let schedule = serde_json::from_str(r#"[{"from":"00:00","to":"24:00"}]"#).unwrap();
        let preferences = Preferences { quiet_hours: Some(schedule), ..nights() };
        let told = preferences.when(Means::Mail, Severity::Warning, at("2026-11-24T12:00:00Z"));
        assert_eq!(told, Telling::LeftOut(LeftOut::QuietHours));
    }

    #[test]
    fn an_unknown_time_zone_is_named() {
        let time_zone = Some("Europe/Atlantis".to_owned().try_into().unwrap());
        let error = Preferences { time_zone, ..nights() }.check().unwrap_err();
        assert!(error.to_string().contains("Europe/Atlantis"), "{error}");
    }

    proptest! {
        #[test]
        fn a_mail_is_never_told_early_nor_in_quiet_hours(seconds in 1_700_000_000i64..1_900_000_000) {
            let now = UtcMillis::from_millis(seconds * 1_000);
            let Telling::At(told) = nights().when(Means::Mail, Severity::Warning, now) else { panic!("left out") };
            prop_assert!(told >= now);
            prop_assert_eq!(nights().when(Means::Mail, Severity::Warning, told), Telling::At(told));
        }
    }
}
