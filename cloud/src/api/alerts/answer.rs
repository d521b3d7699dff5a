//! Alerts as the API shows them.

use aivms_cloud_core::page::Cursor;
use aivms_cloud_core::rules::{AlertId, AlertState, Finding, IncidentId, RuleId};
use aivms_contract::id::{CameraId, EdgeId, EventId, ZoneId};
use poem_openapi::{Enum, Object};

use super::super::clips::ClipAnswer;
use super::super::rules::{AlertGate, AlertSeverity, RuleKind, in_words};
use super::super::snapshots::SnapshotAnswer;
use super::super::values::{Text, Time, time};
use crate::store::{Alert, AlertStep, Done, PersonName, Suppressed};

/// An alert.
#[derive(Debug, Object)]
#[oai(rename = "Alert")]
pub(in crate::api) struct AlertAnswer {
    /// The alert.
    alert_id: Text<AlertId>,
    /// The incident it belongs to: alerts of one edge that follow each other.
    incident_id: Text<IncidentId>,
    /// The rule that raised it; it may be gone since.
    rule_id: Text<RuleId>,
    /// What the rule was called.
    rule_name: String,
    /// What happened.
    kind: RuleKind,
    /// How urgent it is; an escalation may have raised it.
    severity: AlertSeverity,
    /// Where it is in its life.
    state: AlertStateName,
    /// Whether somebody has acknowledged or resolved it.
    acknowledged: bool,
    /// When that happened which it tells of.
    timestamp: Text<Time>,
    /// When the cloud raised it; later than `timestamp` when the edge was offline.
    raised_at: Text<Time>,
    /// What happened, in one line.
    title: String,
    /// The edge it is about.
    edge_id: Text<EdgeId>,
    /// The camera it is about.
    #[oai(nullable)]
    camera_id: Option<Text<CameraId>>,
    /// The zone it happened in.
    #[oai(nullable)]
    zone_id: Option<Text<ZoneId>>,
    /// The class of the object.
    #[oai(nullable)]
    object_class: Option<String>,
    /// The track of the object.
    #[oai(nullable)]
    track_id: Option<String>,
    /// The event that raised it.
    #[oai(nullable)]
    event_id: Option<Text<EventId>>,
    /// When it was acknowledged.
    #[oai(nullable)]
    acknowledged_at: Option<Text<Time>>,
    /// The name of who did.
    #[oai(nullable)]
    acknowledged_by: Option<String>,
    /// When it was resolved.
    #[oai(nullable)]
    resolved_at: Option<Text<Time>>,
    /// The name of who did.
    #[oai(nullable)]
    resolved_by: Option<String>,
    /// The name of who looks after it.
    #[oai(nullable)]
    assigned_to: Option<String>,
    /// Steps of its escalation that were carried out since it was opened.
    escalations: u32,
    /// When the next step of its escalation is due.
    #[oai(nullable)]
    escalates_at: Option<Text<Time>>,
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case", rename = "AlertState")]
pub(in crate::api) enum AlertStateName {
    /// Nobody has taken notice; it escalates.
    Open,
    /// Somebody looks after it.
    Acknowledged,
    /// Nothing is left to do.
    Resolved,
}

/// A page of alerts.
#[derive(Debug, Object)]
pub(super) struct AlertPage {
    /// Newest first.
    pub(super) items: Vec<AlertAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    pub(super) next_cursor: Option<Text<Cursor>>,
}

/// An alert with all that belongs to it.
#[derive(Debug, Object)]
pub(super) struct AlertDetail {
    /// The alert.
    pub(super) alert: AlertAnswer,
    /// Why it was raised: each condition of the rule with what was found.
    pub(super) why: Vec<FindingAnswer>,
    /// What has happened to it, in order.
    pub(super) history: Vec<AlertStepAnswer>,
    /// Clips of the event that raised it.
    pub(super) clips: Vec<ClipAnswer>,
    /// Snapshots of the event that raised it.
    pub(super) snapshots: Vec<SnapshotAnswer>,
}

/// One condition and what was found.
#[derive(Debug, Object)]
#[oai(rename = "Finding")]
pub(in crate::api) struct FindingAnswer {
    /// What was asked.
    gate: AlertGate,
    /// Whether it let the alert through.
    passed: bool,
    /// What was found, for a person.
    #[oai(nullable)]
    value: Option<String>,
    /// What the rule asks for, for a person.
    #[oai(nullable)]
    wanted: Option<String>,
}

/// One step in the life of an alert.
#[derive(Debug, Object)]
#[oai(rename = "AlertStep")]
pub(super) struct AlertStepAnswer {
    /// When.
    at: Text<Time>,
    /// The name of who did it; null for the cloud.
    #[oai(nullable)]
    by: Option<String>,
    /// What: raised, escalated, acknowledged, resolved, reopened, assigned or commented.
    step: String,
    /// A comment, whom it was assigned to, or what an escalation did.
    #[oai(nullable)]
    note: Option<String>,
}

/// Alerts that were not raised: of one rule and thing, stopped by one gate within an hour.
#[derive(Debug, Object)]
#[oai(rename = "SuppressedAlert")]
pub(super) struct SuppressedAnswer {
    /// Names this row.
    suppressed_id: Text<EventId>,
    /// The rule.
    rule_id: Text<RuleId>,
    /// What the rule is called; null when it is gone.
    #[oai(nullable)]
    rule_name: Option<String>,
    /// What stopped them first.
    stopped_by: AlertGate,
    /// The edge they are about.
    edge_id: Text<EdgeId>,
    /// The camera they are about.
    #[oai(nullable)]
    camera_id: Option<Text<CameraId>>,
    /// When the first happened.
    first_at: Text<Time>,
    /// When the last happened.
    last_at: Text<Time>,
    /// How many.
    times: u64,
    /// What the last one told, in one line.
    title: String,
    /// The event of the last one.
    #[oai(nullable)]
    event_id: Option<Text<EventId>>,
    /// The conditions of the last one, with what was found.
    why: Vec<FindingAnswer>,
}

/// A page of suppressed alerts.
#[derive(Debug, Object)]
pub(super) struct SuppressedPage {
    /// Newest first.
    pub(super) items: Vec<SuppressedAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    pub(super) next_cursor: Option<Text<Cursor>>,
}

impl AlertAnswer {
    /// The answer's form of an alert.
    pub(in crate::api) fn of(alert: Alert) -> Option<Self> {
        let (acknowledged_at, acknowledged_by) = parts(alert.acknowledged);
        let (resolved_at, resolved_by) = parts(alert.resolved);
        Some(Self {
            alert_id: Text(alert.alert_id),
            incident_id: Text(alert.incident_id),
            rule_id: Text(alert.rule_id),
            rule_name: alert.rule_name,
            kind: in_words(&alert.kind)?,
            severity: in_words(&alert.severity)?,
            state: alert.state.into(),
            acknowledged: alert.state != AlertState::Open,
            timestamp: time(alert.alert_id.0.at()),
            raised_at: time(alert.raised_at),
            title: alert.title,
            edge_id: Text(alert.edge_id),
            camera_id: alert.camera_id.map(Text),
            zone_id: alert.zone_id.map(Text),
            object_class: alert.object_class,
            track_id: alert.track,
            event_id: alert.event_id.map(Text),
            acknowledged_at,
            acknowledged_by,
            resolved_at,
            resolved_by,
            assigned_to: alert.assignee.map(|person| person.name),
            escalations: alert.escalated,
            escalates_at: alert.escalates_at.map(time),
        })
    }
}

fn parts(done: Option<Done>) -> (Option<Text<Time>>, Option<String>) {
    match done {
        Some(Done { at, by }) => (Some(time(at)), by.map(|PersonName { name, .. }| name)),
        None => (None, None),
    }
}

impl FindingAnswer {
    pub(in crate::api) fn of(Finding { gate, passed, value, wanted }: Finding) -> Option<Self> {
        Some(Self { gate: in_words(&gate)?, passed, value, wanted })
    }
}

impl From<AlertStep> for AlertStepAnswer {
    fn from(AlertStep { at, by, step, note }: AlertStep) -> Self {
        Self { at: time(at), by: by.map(|person| person.name), step, note }
    }
}

impl SuppressedAnswer {
    pub(super) fn of(one: Suppressed) -> Option<Self> {
        Some(Self {
            suppressed_id: Text(one.id),
            rule_id: Text(one.rule_id),
            rule_name: one.rule_name,
            stopped_by: in_words(&one.gate)?,
            edge_id: Text(one.edge_id),
            camera_id: one.camera_id.map(Text),
            first_at: time(one.first_at),
            last_at: time(one.last_at),
            times: one.times,
            title: one.title,
            event_id: one.event_id.map(Text),
            why: one.why.into_iter().filter_map(FindingAnswer::of).collect(),
        })
    }
}

impl From<AlertState> for AlertStateName {
    fn from(state: AlertState) -> Self {
        match state {
            AlertState::Open => Self::Open,
            AlertState::Acknowledged => Self::Acknowledged,
            AlertState::Resolved => Self::Resolved,
        }
    }
}

impl From<AlertStateName> for AlertState {
    fn from(state: AlertStateName) -> Self {
        match state {
            AlertStateName::Open => Self::Open,
            AlertStateName::Acknowledged => Self::Acknowledged,
            AlertStateName::Resolved => Self::Resolved,
        }
    }
}
