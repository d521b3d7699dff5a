//! Raises an alert: its row, its incident, the first step of its life and what is owed for it.

use aivms_cloud_core::rules::{
    AlertId, AlertState, DedupKey, Finding, Folding, IncidentId, Occurrence, ReadyRule, Span, escalation_due, headline,
};
use aivms_contract::alert::Severity;
use aivms_contract::id::{CameraId, ZoneId};
use aivms_contract::time::UtcMillis;

use super::super::rules::to_json;
use super::super::sql::{Transaction, values};
use super::super::{StoreError, TenantKey, deliveries};
use super::consider::EdgeRow;
use super::feed::next_number;
use super::steps::note_step;
use super::{AlertNews, Occasion, severity_number, state_number};

/// Incidents of one place that are looked at for one that takes an alert: those around its time.
const LOOKED_AT: i64 = 4;

/// What becomes an alert.
pub(super) struct NewAlert<'a> {
    pub(super) tenant: TenantKey,
    pub(super) rule: &'a ReadyRule,
    pub(super) occurrence: &'a Occurrence,
    pub(super) edge: EdgeRow,
    pub(super) key: DedupKey,
    pub(super) severity: Severity,
    pub(super) why: Vec<Finding>,
    pub(super) now: UtcMillis,
}

/// The incident of an alert.
struct Joined {
    row: i64,
    id: IncidentId,
    is_new: bool,
}

/// Writes the alert down. The unique key makes a second one impossible: the transaction then fails, and runs again where
/// the database has several writers.
pub(super) fn raise(transaction: &mut Transaction<'_>, new: NewAlert<'_>) -> Result<(), StoreError> {
    // First of all: whoever has the number is alone with the tenant's incidents.
    let number = next_number(transaction, new.tenant)?;
    let incident = join_incident(transaction, &new)?;
    let alert = AlertId::from_parts(new.occurrence.at, fastrand::u128(..));
    let title = headline(new.occurrence);
    let row = insert(transaction, &new, alert, &incident, &title, number)?;
    note_step(transaction, new.tenant, row, None, Occasion::Raised.as_str(), None, new.now)?;
    let occurrence = new.occurrence;
    let news = AlertNews {
        tenant: new.tenant,
        alert,
        incident: incident.id,
        opens_incident: incident.is_new,
        occasion: Occasion::Raised,
        severity: new.severity,
        title,
        rule: new.rule.id,
        rule_name: new.rule.rule.name.clone(),
        edge: occurrence.edge.clone(),
        edge_name: new.edge.name,
        camera: occurrence.camera.clone(),
        zone: occurrence.zone().cloned(),
        at: occurrence.at,
        told_at: new.now,
        event: occurrence.event,
        targets: new.rule.rule.targets.clone(),
        escalated_to: Vec::new(),
    };
    deliveries::owe(transaction, &news)
}

fn insert(
    transaction: &mut Transaction<'_>,
    new: &NewAlert<'_>,
    alert: AlertId,
    incident: &Joined,
    title: &str,
    number: i64,
) -> Result<i64, StoreError> {
    let (rule, occurrence) = (&new.rule.rule, new.occurrence);
    let seen = occurrence.seen();
    let row = transaction.first(
        "insert into alerts (tenant, alert_id, dedup_key, incident, rule_id, rule_name, kind, severity, state, edge,
             camera, zone, object_class, track, title, event, raised_at, open_since, why, targets, escalation, escalated,
             escalate_at, change_number)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?17, ?18, ?19, ?20, 0, ?21,
             ?22)
         returning id",
        &values![
            new.tenant.0,
            alert.0,
            new.key.as_str(),
            incident.row,
            new.rule.id.0,
            &rule.name,
            rule.kind.as_str(),
            severity_number(new.severity),
            state_number(AlertState::Open),
            new.edge.row,
            occurrence.camera.as_ref().map(CameraId::as_str),
            occurrence.zone().map(ZoneId::as_str),
            seen.map(|seen| seen.class.as_str()),
            seen.map(|seen| seen.track.as_str()),
            title,
            occurrence.event,
            new.now,
            to_json(&new.why)?,
            to_json(&rule.targets)?,
            to_json(&rule.escalation)?,
            escalation_due(&rule.escalation, 0, new.now),
            number,
        ],
        |row| row.get(0),
    )?;
    row.ok_or_else(|| StoreError::Database("an alert's row was not returned".into()))
}

/// Finds the incident that takes the alert, or opens one.
fn join_incident(transaction: &mut Transaction<'_>, new: &NewAlert<'_>) -> Result<Joined, StoreError> {
    let (folding, at) = (Folding::default(), new.occurrence.at);
    let around = transaction.all(
        "select id, incident_id, first_at, last_at, alerts from incidents
         where tenant = ?1 and edge = ?2 and last_at >= ?3 and first_at <= ?4 order by last_at desc limit ?5",
        &values![new.tenant.0, new.edge.row, at - folding.window, at + folding.window, LOOKED_AT],
        |row| {
            let span = Span { first_at: row.time(2)?, last_at: row.time(3)?, alerts: row.get(4)? };
            Ok((row.get::<i64>(0)?, IncidentId::from_bytes(row.get(1)?), span))
        },
    )?;
    for (row, id, span) in around {
        if let Some(span) = folding.join(span, at) {
            let sql = "update incidents set first_at = ?1, last_at = ?2, alerts = ?3 where id = ?4 and tenant = ?5";
            transaction.execute(sql, &values![span.first_at, span.last_at, span.alerts, row, new.tenant.0])?;
            return Ok(Joined { row, id, is_new: false });
        }
    }
    let (span, id) = (Folding::open(at), IncidentId::from_parts(at, fastrand::u128(..)));
    let row = transaction.first(
        "insert into incidents (tenant, incident_id, edge, first_at, last_at, alerts) values (?1, ?2, ?3, ?4, ?5, ?6)
         returning id",
        &values![new.tenant.0, id.0, new.edge.row, span.first_at, span.last_at, span.alerts],
        |row| row.get(0),
    )?;
    let row = row.ok_or_else(|| StoreError::Database("an incident's row was not returned".into()))?;
    Ok(Joined { row, id, is_new: true })
}
