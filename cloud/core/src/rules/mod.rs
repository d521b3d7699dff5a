//! Alert rules: which of the things that happen deserve a person's attention, and why.
//!
//! An [`Occurrence`] is one thing that happened, whatever told of it: an event of an edge, or something that the cloud
//! itself found out about one. A [`Rule`] is what a tenant wants to be told of; [`decide`] joins the two with what was
//! before ([`Memory`]) and gives a [`Decision`] with its reasons, for alerts and for what was stopped alike. The same
//! function judges live and in a [`BackTest`], so the second says exactly what the first would have done.
//! [`Folding`] joins alerts to incidents, [`AlertState`] is an alert's life.
//!
//! Not to be taken for the rules of an edge (zones, lines, masks), which decide what happens in a picture.

mod backtest;
mod check;
mod decide;
mod foresight;
mod headline;
mod id;
mod incident;
mod judge;
mod level;
mod lifecycle;
mod memory;
mod occurrence;
mod rule;
#[cfg(test)]
mod tests;
mod why;

pub use self::backtest::{BackTest, DayCount, Report, Shown, Side};
pub use self::check::{MAX_LIST, MAX_MINUTES, MAX_NAME, MAX_SECONDS, MAX_STEPS, MAX_TEXT, MAX_TIMES, RuleFault};
pub use self::decide::{Decision, Verdict, decide};
pub use self::foresight::Foresight;
pub use self::headline::headline;
pub use self::id::{AlertId, IncidentId, RuleId};
pub use self::incident::{Folding, Span};
pub use self::judge::ReadyRule;
pub use self::lifecycle::{AlertState, Next, StateError, Step, StepRefused, escalated, escalation_due};
pub use self::memory::{DedupKey, Memory, Scope, ScopeMemory, VolatileMemory};
pub use self::occurrence::{Kind, Occurrence, Seen, What};
pub use self::rule::{CameraChoice, EscalationStep, Per, Repeated, Rule, parse_severity, severity_name};
pub use self::why::{Finding, Gate, GateError};
