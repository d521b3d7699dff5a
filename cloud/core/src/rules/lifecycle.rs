//! The life of an alert: open, acknowledged, resolved, and open again; and what happens when nobody looks.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aivms_contract::alert::Severity;
use aivms_contract::time::UtcMillis;

use super::rule::EscalationStep;

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertState {
    /// Nobody has taken notice; it escalates.
    Open,
    /// Somebody looks after it.
    Acknowledged,
    /// Nothing is left to do.
    Resolved,
}

/// What a person does with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Says that somebody looks after it.
    Acknowledge,
    /// Says that nothing is left to do; also of one that nobody acknowledged.
    Resolve,
    /// Says that something is left to do after all.
    Reopen,
    /// Gives it to somebody, or to nobody.
    Assign,
    /// Writes something down.
    Comment,
}

/// What a step made of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The alert is in this state now.
    Changed(AlertState),
    /// The state is as it was and the step is worth noting.
    Noted,
    /// It had been done before: nothing to note, so that a repeated request does no harm.
    Already,
}

/// Says that a step does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the alert is {state}: {advice}")]
pub struct StepRefused {
    /// The state it is in.
    pub state: AlertState,
    /// What to do instead.
    pub advice: &'static str,
}

impl AlertState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    /// What `step` makes of an alert in this state.
    ///
    /// # Errors
    /// The step does not fit.
    pub fn after(self, step: Step) -> Result<Next, StepRefused> {
        match (self, step) {
            (_, Step::Assign | Step::Comment) => Ok(Next::Noted),
            (Self::Open, Step::Acknowledge) => Ok(Next::Changed(Self::Acknowledged)),
            (Self::Open | Self::Acknowledged, Step::Resolve) => Ok(Next::Changed(Self::Resolved)),
            (Self::Resolved, Step::Reopen) => Ok(Next::Changed(Self::Open)),
            (Self::Acknowledged, Step::Acknowledge) | (Self::Resolved, Step::Resolve) | (Self::Open, Step::Reopen) => {
                Ok(Next::Already)
            }
            (Self::Resolved, Step::Acknowledge) => Err(StepRefused { state: self, advice: "reopen it first" }),
            (Self::Acknowledged, Step::Reopen) => {
                Err(StepRefused { state: self, advice: "only a resolved one can be reopened" })
            }
        }
    }

    /// The name in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says that a text names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be open, acknowledged or resolved, is {0:?}")]
pub struct StateError(String);

impl FromStr for AlertState {
    type Err = StateError;
    fn from_str(text: &str) -> Result<Self, StateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| StateError(text.to_owned()))
    }
}

/// When the step number `step` (from 0) of an escalation is due for an alert that has been open since `open_since`;
/// `None` when there is no such step.
#[must_use]
pub fn escalation_due(steps: &[EscalationStep], step: usize, open_since: UtcMillis) -> Option<UtcMillis> {
    let after = steps.get(step)?.after_minutes;
    Some(open_since + Duration::from_mins(u64::from(after)))
}

/// The severity of an alert after an escalation's step: never less than before.
#[must_use]
pub fn escalated(severity: Severity, step: &EscalationStep) -> Severity {
    step.severity.map_or(severity, |raised| raised.max(severity))
}
