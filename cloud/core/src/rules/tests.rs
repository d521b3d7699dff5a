//! What rules promise: the reasons of a decision, the same judgement live and in a back-test, folding, an alert's life.

mod decisions;
mod faults;
mod incidents;
mod levels;
mod life;
mod properties;

use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::ZoneEventType;

use super::*;

/// 2026-11-22T13:05:00Z, a Sunday.
const NOON: i64 = 1_795_352_700_000;

fn at(seconds: i64) -> UtcMillis {
    UtcMillis::from_millis(NOON + seconds * 1000)
}

fn rule_id() -> RuleId {
    RuleId::from_parts(at(0), 7)
}

fn ready(rule: Rule) -> ReadyRule {
    ReadyRule::new(rule_id(), rule).unwrap()
}

fn seen(class: &str, track: &str) -> Seen {
    Seen { class: class.into(), confidence: 0.9, track: track.parse().unwrap() }
}

/// Something that happens `seconds` after noon, with an event of its own.
fn occurrence(seconds: i64, what: What) -> Occurrence {
    let event = Some(EventId::from_parts(at(seconds), u128::try_from(seconds.rem_euclid(1000)).unwrap()));
    let (edge, camera) = ("edge_1".parse().unwrap(), Some("gate".parse().unwrap()));
    Occurrence { event, at: at(seconds), edge, camera, what }
}

fn zone_event(seconds: i64, event_type: ZoneEventType, track: &str) -> Occurrence {
    let zone = "dock".parse().unwrap();
    let what =
        What::Zone { zone, event_type, seen: seen("person", track), dwell_ms: None, direction: None, speed_kmh: None };
    occurrence(seconds, what)
}

fn entered(seconds: i64, track: &str) -> Occurrence {
    zone_event(seconds, ZoneEventType::Enter, track)
}

fn warning(kind: Kind) -> Rule {
    Rule::new("a rule", kind, Some(aivms_contract::alert::Severity::Warning))
}

/// Asks the rule about all of them in order, and remembers alerts as a caller does.
fn decisions(rule: Rule, occurrences: &[Occurrence]) -> Vec<Decision> {
    let (rule, mut memory) = (ready(rule), VolatileMemory::default());
    let decide = |occurrence| {
        let Ok(decision) = decide(&rule, occurrence, &mut memory);
        if let Verdict::Raised { key, .. } = &decision.verdict {
            memory.remember(key.clone());
        }
        decision
    };
    occurrences.iter().map(decide).collect()
}

/// For each occurrence: `None` for an alert, else the gate that stopped it; [`Gate::Kind`] where the rule is about
/// something else.
fn verdicts(rule: Rule, occurrences: &[Occurrence]) -> Vec<Option<Gate>> {
    let verdict = |decision: Decision| match decision.verdict {
        Verdict::Raised { .. } => None,
        Verdict::Suppressed { by, .. } => Some(by),
        Verdict::Unrelated => Some(Gate::Kind),
    };
    decisions(rule, occurrences).into_iter().map(verdict).collect()
}
