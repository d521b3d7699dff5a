//! Back-test: what a rule would have raised on stored events, beside the rule of today.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::schedule::SiteZone;
use aivms_contract::time::UtcMillis;

use super::decide::{Verdict, decide};
use super::headline::headline;
use super::judge::ReadyRule;
use super::memory::VolatileMemory;
use super::occurrence::Occurrence;
use super::why::{Finding, Gate};

/// Most alerts that are shown one by one of each [`Side`].
const MAX_SHOWN: usize = 100;

/// Two rules over the same occurrences, in the order in which they were stored.
#[derive(Debug)]
pub struct BackTest {
    candidate: Run,
    today: Option<Run>,
    /// Occurrences before this only fill the memories, as they did live.
    counts_from: UtcMillis,
    zone: SiteZone,
    report: Report,
    days: BTreeMap<String, DayCount>,
}

#[derive(Debug)]
struct Run {
    rule: ReadyRule,
    memory: VolatileMemory,
}

/// Which of the two rules raised an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Both.
    Both,
    /// Only the candidate.
    New,
    /// Only the rule of today.
    Old,
}

/// What a back-test found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Occurrences that were looked at, those that only filled the memories not included.
    pub looked_at: u64,
    /// Alerts of both rules.
    pub both: u64,
    /// Alerts of the candidate only.
    pub only_new: u64,
    /// Alerts of today's rule only.
    pub only_old: u64,
    /// What stopped the candidate, and how often.
    pub stopped_by: BTreeMap<Gate, u64>,
    /// Counts by day in the candidate's time zone, in order; days without an alert are left out.
    pub days: Vec<DayCount>,
    /// The first alerts of each side.
    pub shown: Vec<Shown>,
}

/// Alerts of one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DayCount {
    /// The date, as `2026-11-22`.
    pub date: String,
    /// Alerts of both rules.
    pub both: u64,
    /// Alerts of the candidate only.
    pub only_new: u64,
    /// Alerts of today's rule only.
    pub only_old: u64,
}

/// One alert that would have been raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Whose it is.
    pub side: Side,
    /// What raised it.
    pub occurrence: Occurrence,
    /// What happened, in one line.
    pub title: String,
    /// Why; of the candidate where both raised it.
    pub why: Vec<Finding>,
}

impl BackTest {
    /// Compares `candidate` with `today`'s rule, when there is one. A candidate that is switched off is tried as if it
    /// were on, as the question is what it would raise; today's rule raises what it raised.
    #[must_use]
    pub fn new(mut candidate: ReadyRule, today: Option<ReadyRule>, counts_from: UtcMillis) -> Self {
        candidate.rule.enabled = true;
        let zone = candidate.zone().clone();
        let run = |rule| Run { rule, memory: VolatileMemory::default() };
        let (candidate, today) = (run(candidate), today.map(run));
        Self { candidate, today, counts_from, zone, report: Report::default(), days: BTreeMap::new() }
    }

    /// How long before `counts_from` to begin, so that the memories are as they were live: four times the longest
    /// cool-down or repetition of the two rules, an hour at least. Where occurrences follow each other without a pause
    /// of a cool-down for longer than this, the alerts can be other ones of the same row.
    #[must_use]
    pub fn warm_up(candidate: &ReadyRule, today: Option<&ReadyRule>) -> Duration {
        let longest =
            |ready: &ReadyRule| ready.rule.cooldown_s.max(ready.rule.repeated.map_or(0, |repeated| repeated.within_s));
        let seconds = longest(candidate).max(today.map_or(0, longest));
        Duration::from_secs(4 * u64::from(seconds)).max(Duration::from_hours(1))
    }

    /// Whether any of the two rules could be about it: what is about none need not be taken.
    #[must_use]
    pub fn is_about(&self, occurrence: &Occurrence) -> bool {
        self.candidate.rule.is_about(occurrence) || self.today.as_ref().is_some_and(|run| run.rule.is_about(occurrence))
    }

    /// Takes the next occurrence in the order of storing.
    pub fn take(&mut self, occurrence: &Occurrence) {
        let new = self.candidate.raises(occurrence);
        let old = self.today.as_mut().and_then(|run| run.raises(occurrence).ok());
        if occurrence.at < self.counts_from {
            return;
        }
        self.report.looked_at += 1;
        let (side, why) = match (new, old) {
            (Ok(why), Some(_)) => (Side::Both, why),
            (Ok(why), None) => (Side::New, why),
            (Err(by), old) => {
                if let Some(by) = by {
                    *self.report.stopped_by.entry(by).or_default() += 1;
                }
                let Some(why) = old else { return };
                (Side::Old, why)
            }
        };
        self.count(side, occurrence.at);
        if self.report.shown.iter().filter(|shown| shown.side == side).count() < MAX_SHOWN {
            let (title, occurrence) = (headline(occurrence), occurrence.clone());
            self.report.shown.push(Shown { side, occurrence, title, why });
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Report {
        Report { days: self.days.into_values().collect(), ..self.report }
    }

    fn count(&mut self, side: Side, at: UtcMillis) {
        let date = self.zone.date_of(at).to_string();
        let day = self.days.entry(date.clone()).or_insert_with(|| DayCount { date, ..DayCount::default() });
        let (of_day, of_all) = match side {
            Side::Both => (&mut day.both, &mut self.report.both),
            Side::New => (&mut day.only_new, &mut self.report.only_new),
            Side::Old => (&mut day.only_old, &mut self.report.only_old),
        };
        *of_day += 1;
        *of_all += 1;
    }
}

impl Run {
    /// The reasons of the alert, or what stopped it if the rule is about it at all.
    fn raises(&mut self, occurrence: &Occurrence) -> Result<Vec<Finding>, Option<Gate>> {
        let Ok(decision) = decide(&self.rule, occurrence, &mut self.memory);
        match decision.verdict {
            Verdict::Raised { key, .. } => {
                self.memory.remember(key);
                Ok(decision.why)
            }
            Verdict::Suppressed { by, .. } => Err(Some(by)),
            Verdict::Unrelated => Err(None),
        }
    }
}
