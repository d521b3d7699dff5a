//! Alerts and incidents: raised by rules inside the transaction of what raised them.

mod backtest;
mod consider;
mod escalate;
mod feed;
mod incidents;
mod lists;
mod memory;
mod raise;
mod retention;
mod steps;
mod suppressed;

use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::rules::{AlertId, AlertState, Finding, IncidentId, Kind, RuleId};
use aivms_contract::alert::Severity;
use aivms_contract::id::{CameraId, EdgeId, EventId, ZoneId};
use aivms_contract::time::UtcMillis;

pub use self::backtest::BackTestRequest;
pub(crate) use self::consider::consider;
pub(super) use self::consider::consider_batch;
pub use self::feed::FedAlert;
pub use self::incidents::{Incident, IncidentFilter};
pub use self::lists::AlertFilter;
pub(super) use self::retention::{delete_expired, expired};
pub use self::steps::{AlertChange, Changed};
pub use self::suppressed::{Suppressed, SuppressedFilter};
use super::{TenantKey, UserKey};

/// An alert as stored.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its id; the time part is when that happened which it tells of.
    pub alert_id: AlertId,
    /// The incident it belongs to.
    pub incident_id: IncidentId,
    /// The rule that raised it.
    pub rule_id: RuleId,
    /// The rule's name at that time.
    pub rule_name: String,
    /// What happened.
    pub kind: Kind,
    /// How urgent it is now.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// The edge it is about.
    pub edge_id: EdgeId,
    /// The camera it is about.
    pub camera_id: Option<CameraId>,
    /// The zone it happened in.
    pub zone_id: Option<ZoneId>,
    /// Whose label the model gave.
    pub object_class: Option<String>,
    /// The track that did it.
    pub track: Option<String>,
    /// One line for a person.
    pub title: String,
    /// The event that raised it.
    pub event_id: Option<EventId>,
    /// When the cloud raised it.
    pub raised_at: UtcMillis,
    /// Who acknowledged it, and when.
    pub acknowledged: Option<Done>,
    /// Who resolved it, and when.
    pub resolved: Option<Done>,
    /// Who looks after it.
    pub assignee: Option<PersonName>,
    /// Steps of its escalation that were carried out since it was opened.
    pub escalated: u32,
    /// When the next one is due.
    pub escalates_at: Option<UtcMillis>,
    /// Why it was raised.
    pub why: Vec<Finding>,
}

/// Something that was done by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// When.
    pub at: UtcMillis,
    /// By whom; `None` for the program.
    pub by: Option<PersonName>,
}

/// A person as shown beside alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonName {
    /// The row.
    pub key: UserKey,
    /// What people call it.
    pub name: String,
}

/// One step in the life of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertStep {
    /// When.
    pub at: UtcMillis,
    /// Who did it; `None` for the program.
    pub by: Option<PersonName>,
    /// What: raised, escalated, acknowledged, resolved, reopened, assigned or commented.
    pub step: String,
    /// A comment, whom it was assigned to, or what an escalation did.
    pub note: Option<String>,
}

/// Who asks: the tenant, and which of its cameras the person may see.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The tenant.
    pub tenant: TenantKey,
    /// The cameras.
    pub cameras: CameraScope,
}

/// What messages are owed for: something that happened to an alert.
#[derive(Debug, Clone)]
pub struct AlertNews {
    /// Whose it is.
    pub tenant: TenantKey,
    /// The alert.
    pub alert: AlertId,
    /// Its incident: one thread of messages.
    pub incident: IncidentId,
    /// Whether the alert is the first one of its incident.
    pub opens_incident: bool,
    /// What happened to it.
    pub occasion: Occasion,
    /// How urgent it is now.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// The rule that raised it.
    pub rule: RuleId,
    /// The rule's name.
    pub rule_name: String,
    /// The edge it is about.
    pub edge: EdgeId,
    /// What people call the edge.
    pub edge_name: String,
    /// The camera it is about.
    pub camera: Option<CameraId>,
    /// The zone it happened in.
    pub zone: Option<ZoneId>,
    /// When that happened which it tells of; long ago when an edge was offline.
    pub at: UtcMillis,
    /// When the cloud wrote this down.
    pub told_at: UtcMillis,
    /// The event that raised it.
    pub event: Option<EventId>,
    /// Channels to tell, by their ids; empty leaves the choice to the channels.
    pub targets: Vec<String>,
    /// What each step of the escalation named that was carried out: webhooks that it told hear what follows, too.
    pub escalated_to: Vec<Vec<String>>,
}

/// What happened to an alert that people are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It was raised.
    Raised,
    /// Nobody has acknowledged it: this step (from 1) of its escalation is due.
    Escalated(u32),
    /// Somebody acknowledged it.
    Acknowledged,
    /// Somebody resolved it.
    Resolved,
    /// Somebody opened it again.
    Reopened,
}

impl Occasion {
    /// The name in messages and in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated(_) => "escalated",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Reopened => "reopened",
        }
    }
}

/// The number of a severity in the database.
fn severity_number(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 1,
        Severity::Warning => 2,
        Severity::Critical => 3,
    }
}

fn severity_of(number: i64) -> Severity {
    match number {
        ..=1 => Severity::Info,
        2 => Severity::Warning,
        _ => Severity::Critical,
    }
}

/// The number of a state in the database.
fn state_number(state: AlertState) -> i64 {
    match state {
        AlertState::Open => 1,
        AlertState::Acknowledged => 2,
        AlertState::Resolved => 3,
    }
}

fn state_of(number: i64) -> AlertState {
    match number {
        ..=1 => AlertState::Open,
        2 => AlertState::Acknowledged,
        _ => AlertState::Resolved,
    }
}
