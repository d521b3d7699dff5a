//! Whether a rule can mean something: each fault names its field.

use std::collections::BTreeSet;

use aivms_contract::desired::Schedule;
use aivms_contract::schedule::SiteZone;
use aivms_contract::zone_event::ZoneEventType;

use super::Kind;
use super::rule::{EscalationStep, Rule};

/// Longest name of a rule in characters.
pub const MAX_NAME: usize = 200;
/// Most entries of one list of a rule.
pub const MAX_LIST: usize = 256;
/// Longest text in a list of a rule, in bytes.
pub const MAX_TEXT: usize = 256;
/// Most steps of an escalation.
pub const MAX_STEPS: usize = 10;
/// Most times that a repetition asks for: the times are kept for each thing that is counted.
pub const MAX_TIMES: u32 = 100;
/// Longest cool-down and longest time of a repetition in seconds: a week. A back-test has to begin so much earlier.
pub const MAX_SECONDS: u32 = 7 * 24 * 3600;
/// Longest wait of an escalation in minutes: 30 days.
pub const MAX_MINUTES: u32 = 30 * 24 * 60;

/// Says which field of a rule is wrong and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct RuleFault {
    /// The field, as in `repeated.times`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Rule {
    /// Checks that every field is in its bounds and belongs to the rule's kind.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn check(&self) -> Result<(), RuleFault> {
        self.check_name()?;
        self.check_lists()?;
        self.check_belonging()?;
        self.check_numbers()?;
        self.check_time()?;
        self.check_escalation()
    }

    fn check_name(&self) -> Result<(), RuleFault> {
        let characters = self.name.chars().count();
        ensure(!self.name.trim().is_empty() && characters <= MAX_NAME, "name", || {
            format!("must have 1 to {MAX_NAME} characters, has {characters}")
        })?;
        ensure(!self.name.chars().any(char::is_control), "name", || "may hold no control characters".to_owned())
    }

    fn check_lists(&self) -> Result<(), RuleFault> {
        let lengths = [
            ("edges", self.edges.len()),
            ("cameras", self.cameras.len()),
            ("zones", self.zones.len()),
            ("classes", self.classes.len()),
            ("event_types", self.event_types.len()),
            ("alert_types", self.alert_types.len()),
            ("camera_states", self.camera_states.len()),
            ("gap_causes", self.gap_causes.len()),
            ("sensors", self.sensors.len()),
            ("targets", self.targets.len()),
        ];
        for (field, length) in lengths {
            ensure(length <= MAX_LIST, field, || format!("may have {MAX_LIST} entries, has {length}"))?;
        }
        distinct("event_types", &self.event_types)?;
        distinct("camera_states", &self.camera_states)?;
        distinct("gap_causes", &self.gap_causes)?;
        for (number, span) in self.schedule.iter().flat_map(Schedule::spans).enumerate() {
            distinct(&format!("schedule[{number}].days"), &span.days)?;
        }
        texts("classes", &self.classes)?;
        texts("alert_types", &self.alert_types)?;
        texts("sensors", &self.sensors)?;
        texts("targets", &self.targets)
    }

    /// A condition that never applies would let a rule look stricter than it is, or never alert.
    fn check_belonging(&self) -> Result<(), RuleFault> {
        use Kind::{CameraState, Detection, DiskForecast, EdgeAlert, RecordingGap, Temperature, Zone};
        let about_edges = [Kind::EdgeOffline, Kind::EdgeOnline, Kind::Temperature, Kind::TakeOver];
        let cameras: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !about_edges.contains(kind)).collect();
        let given: [(&str, bool, &[Kind]); 16] = [
            ("cameras", !self.cameras.is_empty(), &cameras),
            ("zones", !self.zones.is_empty(), &[Zone]),
            ("classes", !self.classes.is_empty(), &[Zone, Detection]),
            ("event_types", !self.event_types.is_empty(), &[Zone]),
            ("direction", self.direction.is_some(), &[Zone]),
            ("alert_types", !self.alert_types.is_empty(), &[EdgeAlert]),
            ("camera_states", !self.camera_states.is_empty(), &[CameraState]),
            ("gap_causes", !self.gap_causes.is_empty(), &[RecordingGap]),
            ("sensors", !self.sensors.is_empty(), &[Temperature]),
            ("min_confidence", self.min_confidence.is_some(), &[Zone, Detection]),
            ("min_dwell_ms", self.min_dwell_ms.is_some(), &[Zone, Detection]),
            ("min_speed_kmh", self.min_speed_kmh.is_some(), &[Zone]),
            ("below_days", self.below_days.is_some(), &[DiskForecast]),
            ("above_celsius", self.above_celsius.is_some(), &[Temperature]),
            ("min_gap_s", self.min_gap_s.is_some(), &[RecordingGap]),
            ("min_lasted_s", self.min_lasted_s.is_some(), &[CameraState]),
        ];
        for (field, is_given, kinds) in given {
            ensure(!is_given || kinds.contains(&self.kind), field, || {
                format!("is not asked for by a rule of kind {}", self.kind)
            })?;
        }
        let needed = [
            ("severity", self.severity.is_none() && self.kind != EdgeAlert),
            ("below_days", self.below_days.is_none() && self.kind == DiskForecast),
            ("above_celsius", self.above_celsius.is_none() && self.kind == Temperature),
        ];
        for (field, is_missing) in needed {
            ensure(!is_missing, field, || format!("is needed by a rule of kind {}", self.kind))?;
        }
        let crosses = self.event_types.is_empty() || self.event_types.contains(&ZoneEventType::Cross);
        ensure(self.direction.is_none() || crosses, "direction", || "belongs to event type cross".to_owned())
    }

    fn check_numbers(&self) -> Result<(), RuleFault> {
        let bounds = [
            ("min_confidence", self.min_confidence, 0.0, 1.0),
            ("min_speed_kmh", self.min_speed_kmh, 0.0, 1000.0),
            ("below_days", self.below_days, 0.0, 3650.0),
            ("above_celsius", self.above_celsius, -100.0, 200.0),
        ];
        for (field, value, least, most) in bounds {
            ensure(value.is_none_or(|value| (least..=most).contains(&value)), field, || {
                format!("must be {least} to {most}")
            })?;
        }
        let day_ms = 24 * 3600 * 1000;
        ensure(self.min_dwell_ms.is_none_or(|ms| ms <= day_ms), "min_dwell_ms", || format!("may be {day_ms} at most"))?;
        let lengths =
            [("cooldown_s", Some(self.cooldown_s)), ("min_gap_s", self.min_gap_s), ("min_lasted_s", self.min_lasted_s)];
        for (field, seconds) in lengths {
            ensure(seconds.is_none_or(|s| s <= MAX_SECONDS), field, || format!("may be {MAX_SECONDS} at most"))?;
        }
        let Some(repeated) = self.repeated else { return Ok(()) };
        ensure((2..=MAX_TIMES).contains(&repeated.times), "repeated.times", || format!("must be 2 to {MAX_TIMES}"))?;
        ensure((1..=MAX_SECONDS).contains(&repeated.within_s), "repeated.within_s", || {
            format!("must be 1 to {MAX_SECONDS}")
        })
    }

    fn check_time(&self) -> Result<(), RuleFault> {
        match SiteZone::of(self.time_zone.as_ref()) {
            Ok(_) => Ok(()),
            Err(error) => Err(RuleFault { field: "time_zone".to_owned(), reason: error.to_string() }),
        }
    }

    fn check_escalation(&self) -> Result<(), RuleFault> {
        let steps = &self.escalation;
        ensure(steps.len() <= MAX_STEPS, "escalation", || format!("may have {MAX_STEPS} steps, has {}", steps.len()))?;
        for (number, EscalationStep { after_minutes, targets, .. }) in steps.iter().enumerate() {
            let field = format!("escalation[{number}].after_minutes");
            ensure((1..=MAX_MINUTES).contains(after_minutes), &field, || format!("must be 1 to {MAX_MINUTES}"))?;
            let rises = number == 0 || steps[number - 1].after_minutes < *after_minutes;
            ensure(rises, &field, || "must be more than in the step before".to_owned())?;
            let field = format!("escalation[{number}].targets");
            ensure(targets.len() <= MAX_LIST, &field, || {
                format!("may have {MAX_LIST} entries, has {}", targets.len())
            })?;
            texts(&field, targets)?;
        }
        Ok(())
    }
}

fn texts(field: &str, texts: &[String]) -> Result<(), RuleFault> {
    let fits = |text: &String| !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    ensure(texts.iter().all(fits), field, || {
        format!("each must have 1 to {MAX_TEXT} bytes, none a control character")
    })?;
    let known: BTreeSet<&String> = texts.iter().collect();
    ensure(known.len() == texts.len(), field, || "names something twice".to_owned())
}

fn distinct<T: PartialEq>(field: &str, all: &[T]) -> Result<(), RuleFault> {
    let is_distinct = all.iter().enumerate().all(|(number, one)| !all[..number].contains(one));
    ensure(is_distinct, field, || "names something twice".to_owned())
}

fn ensure(holds: bool, field: &str, reason: impl FnOnce() -> String) -> Result<(), RuleFault> {
    if holds { Ok(()) } else { Err(RuleFault { field: field.to_owned(), reason: reason() }) }
}
