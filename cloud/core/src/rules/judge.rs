//! What a rule says of an occurrence by itself, without what was before.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use aivms_contract::id::{EdgeId, ZoneId};
use aivms_contract::schedule::{SiteZone, WeekPlan};
use aivms_contract::time::UtcMillis;
use serde::Serialize;

use super::check::RuleFault;
use super::id::RuleId;
use super::occurrence::{Occurrence, Seen, What};
use super::rule::Rule;
use super::why::{Finding, Gate};

/// A rule that has been checked and is ready to be asked.
#[derive(Debug)]
pub struct ReadyRule {
    /// Its id.
    pub id: RuleId,
    /// The rule itself.
    pub rule: Rule,
    zone: SiteZone,
    /// Remembers the last stretch of the week; an answer does not depend on what was asked before.
    plan: Option<Mutex<WeekPlan>>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl ReadyRule {
    /// Checks `rule` and prepares it.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn new(id: RuleId, rule: Rule) -> Result<Self, RuleFault> {
        rule.check()?;
        let zone = SiteZone::of(rule.time_zone.as_ref())
            .map_err(|error| RuleFault { field: "time_zone".to_owned(), reason: error.to_string() })?;
        let plan = rule.schedule.as_ref().map(|schedule| Mutex::new(WeekPlan::new(schedule, &zone)));
        Ok(Self { id, rule, zone, plan })
    }

    /// The clock that its schedule is meant on.
    #[must_use]
    pub fn zone(&self) -> &SiteZone {
        &self.zone
    }

    /// Whether the occurrence is of a kind, place and sort that the rule is about. Most are not; this allocates nothing.
    #[must_use]
    pub fn is_about(&self, occurrence: &Occurrence) -> bool {
        let rule = &self.rule;
        rule.kind == occurrence.what.kind()
            && is_one_of(&rule.edges, |edge| *edge == occurrence.edge)
            && self.has_camera(occurrence)
            && is_one_of(&rule.zones, |zone| Some(zone) == occurrence.zone())
            && is_one_of(&rule.classes, |class| occurrence.seen().is_some_and(|seen| seen.class == *class))
            && self.is_sort(occurrence)
    }

    fn has_camera(&self, occurrence: &Occurrence) -> bool {
        is_one_of(&self.rule.cameras, |choice| {
            Some(&choice.camera_id) == occurrence.camera.as_ref()
                && choice.edge_id.as_ref().is_none_or(|edge| *edge == occurrence.edge)
        })
    }

    fn is_sort(&self, occurrence: &Occurrence) -> bool {
        let rule = &self.rule;
        match &occurrence.what {
            What::Zone { event_type, direction, .. } => {
                is_one_of(&rule.event_types, |wanted| wanted == event_type)
                    && rule.direction.is_none_or(|wanted| Some(wanted) == *direction)
            }
            What::EdgeAlert { alert_type, .. } => is_one_of(&rule.alert_types, |wanted| wanted == alert_type),
            What::Camera { state, .. } => is_one_of(&rule.camera_states, |wanted| wanted == state),
            What::RecordingGap { cause, .. } => is_one_of(&rule.gap_causes, |wanted| wanted == cause),
            What::Temperature { sensor, .. } => is_one_of(&rule.sensors, |wanted| wanted == sensor),
            _ => true,
        }
    }

    /// All that the rule says of the occurrence by itself, in the order of [`Gate`].
    #[must_use]
    pub fn findings(&self, occurrence: &Occurrence) -> Vec<Finding> {
        let mut found = Findings::default();
        found.say(Gate::Kind, self.rule.kind == occurrence.what.kind(), occurrence.what.kind(), self.rule.kind);
        self.place(occurrence, &mut found);
        self.sort(occurrence, &mut found);
        self.amount(occurrence, &mut found);
        self.time(occurrence.at, &mut found);
        found.0
    }

    fn place(&self, occurrence: &Occurrence, found: &mut Findings) {
        let rule = &self.rule;
        found.one_of(Gate::Edge, Some(occurrence.edge.as_str()), rule.edges.iter().map(EdgeId::as_str));
        if !rule.cameras.is_empty() {
            let wanted = rule.cameras.iter().map(|choice| match &choice.edge_id {
                Some(edge) => format!("{edge}/{}", choice.camera_id),
                None => choice.camera_id.to_string(),
            });
            let camera = occurrence.camera.as_ref().map_or("none", |camera| camera.as_str());
            found.say(Gate::Camera, self.has_camera(occurrence), camera, listed(wanted));
        }
        found.one_of(Gate::Zone, occurrence.zone().map(ZoneId::as_str), rule.zones.iter().map(ZoneId::as_str));
        let class = occurrence.seen().map(|seen| seen.class.as_str());
        found.one_of(Gate::Class, class, rule.classes.iter().map(String::as_str));
    }

    fn sort(&self, occurrence: &Occurrence, found: &mut Findings) {
        let rule = &self.rule;
        match &occurrence.what {
            What::Zone { event_type, direction, .. } => {
                found.words(Gate::EventType, event_type, &rule.event_types);
                if let Some(wanted) = rule.direction {
                    let value = direction.map_or_else(|| "none".to_owned(), |way| word(&way));
                    found.say(Gate::Direction, Some(wanted) == *direction, value, word(&wanted));
                }
            }
            What::EdgeAlert { alert_type, .. } => {
                found.one_of(Gate::AlertType, Some(alert_type), rule.alert_types.iter().map(String::as_str));
            }
            What::Camera { state, .. } => found.words(Gate::CameraState, state, &rule.camera_states),
            What::RecordingGap { cause, .. } => found.words(Gate::GapCause, cause, &rule.gap_causes),
            What::Temperature { sensor, .. } => {
                found.one_of(Gate::Sensor, Some(sensor), rule.sensors.iter().map(String::as_str));
            }
            _ => {}
        }
    }

    fn amount(&self, occurrence: &Occurrence, found: &mut Findings) {
        let rule = &self.rule;
        if let Some(Seen { confidence, .. }) = occurrence.seen() {
            // The shortest decimal of the 32 bits: 0.6 as an edge says it is not below 0.6 as a person writes it.
            let exact = confidence.to_string().parse().unwrap_or(f64::from(*confidence));
            found.least(Gate::Confidence, Some(exact), rule.min_confidence);
        }
        match &occurrence.what {
            What::Zone { dwell_ms, speed_kmh, .. } => {
                found.least(Gate::Dwell, *dwell_ms, rule.min_dwell_ms);
                found.least(Gate::Speed, speed_kmh.map(f64::from), rule.min_speed_kmh);
            }
            What::Detection { age_ms, stationary, .. } => {
                found.least(Gate::Dwell, Some(*age_ms), rule.min_dwell_ms);
                let value = if *stationary { "at rest" } else { "moving" };
                let wanted = if rule.stationary { "any" } else { "moving" };
                found.say(Gate::Stationary, rule.stationary || !stationary, value, wanted);
            }
            What::DiskForecast { days } => found.bound(Gate::Days, *days, rule.below_days, "<", |a, b| a < b),
            What::Temperature { celsius, .. } => {
                found.bound(Gate::Celsius, *celsius, rule.above_celsius, ">", |a, b| a > b);
            }
            What::RecordingGap { length_ms, .. } => {
                found.least(Gate::GapLength, Some(*length_ms / 1000), rule.min_gap_s.map(u64::from));
            }
            What::Camera { lasted_ms, .. } => {
                found.least(Gate::Lasted, Some(*lasted_ms / 1000), rule.min_lasted_s.map(u64::from));
            }
            _ => {}
        }
    }

    fn time(&self, at: UtcMillis, found: &mut Findings) {
        let Some(plan) = &self.plan else { return };
        let is_open = plan.lock().unwrap_or_else(PoisonError::into_inner).is_open(at);
        let wanted = if is_open { "in the schedule" } else { "outside the schedule" };
        found.say(Gate::Schedule, is_open, self.zone.on_the_wall(at), wanted);
    }
}

impl Findings {
    pub(super) fn say(&mut self, gate: Gate, passed: bool, value: impl Display, wanted: impl Display) {
        let (value, wanted) = (Some(value.to_string()), Some(wanted.to_string()));
        self.0.push(Finding { gate, passed, value, wanted });
    }

    fn one_of<'a>(&mut self, gate: Gate, value: Option<&str>, wanted: impl Iterator<Item = &'a str> + Clone) {
        if wanted.clone().next().is_some() {
            let passed = value.is_some_and(|value| wanted.clone().any(|one| one == value));
            self.say(gate, passed, value.unwrap_or("none"), listed(wanted));
        }
    }

    fn words<T: Serialize + PartialEq>(&mut self, gate: Gate, value: &T, wanted: &[T]) {
        if !wanted.is_empty() {
            self.say(gate, wanted.contains(value), word(value), listed(wanted.iter().map(word)));
        }
    }

    fn least<T: Display + PartialOrd>(&mut self, gate: Gate, value: Option<T>, least: Option<T>) {
        let Some(least) = least else { return };
        let passed = value.as_ref().is_some_and(|value| *value >= least);
        let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        self.say(gate, passed, value, format_args!(">= {least}"));
    }

    fn bound(&mut self, gate: Gate, value: f64, bound: Option<f64>, sign: &str, holds: impl Fn(f64, f64) -> bool) {
        if let Some(bound) = bound {
            self.say(gate, holds(value, bound), value, format_args!("{sign} {bound}"));
        }
    }
}

fn is_one_of<T>(wanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(matches)
}

/// The name that a value of the contract has in JSON.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => other.map(|value| value.to_string()).unwrap_or_default(),
    }
}

/// The first of a list, as a trace is to stay short.
fn listed(wanted: impl Iterator<Item = impl AsRef<str>>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<_> = wanted.collect();
    let shown: Vec<&str> = all.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
