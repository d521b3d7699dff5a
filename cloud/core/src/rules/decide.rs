//! Whether an occurrence raises an alert, and why.

use std::time::Duration;

use aivms_contract::alert::Severity;

use super::judge::{Findings, ReadyRule};
use super::level::Level;
use super::memory::{DedupKey, Memory, Scope, subject};
use super::occurrence::{Occurrence, What};
use super::why::{Finding, Gate};

/// What a rule decided of one occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The decision.
    pub verdict: Verdict,
    /// What it was made of, in the order in which it was asked. The three gates that need what was before (repeated,
    /// once, cool-down) are asked only if all others let the alert through, and each only after the one before did.
    pub why: Vec<Finding>,
}

/// Whether there is an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is none, and nobody would expect one: the rule is about something else.
    Unrelated,
    /// The rule is about this, and something stopped the alert.
    Suppressed {
        /// What did so first.
        by: Gate,
        /// What the rule counts it for.
        scope: Scope,
    },
    /// There is an alert.
    Raised {
        /// What it is about, unique in the tenant.
        key: DedupKey,
        /// What the rule counts it for.
        scope: Scope,
        /// How urgent it is.
        severity: Severity,
    },
}

/// Decides whether `rule` raises an alert of `occurrence`, and notes it in `memory`. A caller that makes the alert
/// must see to it that [`Memory::is_raised`] knows the key from then on.
///
/// # Errors
/// The memory can't be read.
pub fn decide<M: Memory>(rule: &ReadyRule, occurrence: &Occurrence, memory: &mut M) -> Result<Decision, M::Error> {
    if !rule.rule.enabled || !rule.is_about(occurrence) {
        return Ok(Decision { verdict: Verdict::Unrelated, why: Vec::new() });
    }
    let mut found = Findings(rule.findings(occurrence));
    let scope = Scope::of(&rule.rule, occurrence);
    // Followed also while the rule is not asked, such as outside its schedule.
    let since = match Level::of(&rule.rule, &occurrence.what) {
        Some(level) => memory.of_scope(rule.id, &Scope::of_itself(occurrence))?.follow(level, occurrence.at),
        None => None,
    };
    if let Some(by) = stopped(&found) {
        return Ok(Decision { verdict: Verdict::Suppressed { by, scope }, why: found.0 });
    }
    let subject = subject(&rule.rule, occurrence, since);
    let key = DedupKey::of(rule.id, &scope, &subject);
    if let Some(repeated) = rule.rule.repeated {
        let times = memory.of_scope(rule.id, &scope)?.count(occurrence.at, subject, repeated);
        let wanted = format!(">= {} within {} s", repeated.times, repeated.within_s);
        found.say(Gate::Repeated, times >= repeated.times, times, wanted);
    }
    if stopped(&found).is_none() {
        let is_raised = memory.is_raised(&key)?;
        let value = if is_raised { "an alert of it exists" } else { "no alert of it yet" };
        found.say(Gate::Once, !is_raised, value, "no alert of it yet");
    }
    if stopped(&found).is_none() && rule.rule.cooldown_s > 0 {
        let nearest = memory.of_scope(rule.id, &scope)?.nearest(occurrence.at);
        let cooldown = Duration::from_secs(u64::from(rule.rule.cooldown_s));
        let value = nearest.map_or_else(|| "no alert yet".to_owned(), |nearest| format!("{} s", nearest.as_secs_f64()));
        found.say(Gate::Cooldown, nearest.is_none_or(|n| n >= cooldown), value, format!(">= {} s", cooldown.as_secs()));
    }
    if let Some(by) = stopped(&found) {
        return Ok(Decision { verdict: Verdict::Suppressed { by, scope }, why: found.0 });
    }
    memory.of_scope(rule.id, &scope)?.raise(occurrence.at);
    let severity = severity(rule, occurrence);
    Ok(Decision { verdict: Verdict::Raised { key, scope, severity }, why: found.0 })
}

fn stopped(found: &Findings) -> Option<Gate> {
    found.0.iter().find(|finding| !finding.passed).map(|finding| finding.gate)
}

fn severity(rule: &ReadyRule, occurrence: &Occurrence) -> Severity {
    let own = match &occurrence.what {
        What::EdgeAlert { severity, .. } => *severity,
        _ => Severity::Warning,
    };
    rule.rule.severity.unwrap_or(own)
}
