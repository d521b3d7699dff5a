//! What people do with alerts.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::rules::{AlertId, AlertState, EscalationStep, Next, Step, StepRefused, escalation_due};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::super::sql::{Transaction, values};
use super::super::{News, Store, StoreError, TenantKey, UserKey, audit, deliveries};
use super::feed::next_number;
use super::{Alert, AlertNews, Asker, Occasion, lists, state_number};

/// What somebody does with an alert.
#[derive(Debug, Clone)]
pub enum AlertChange {
    /// Looks after it, and perhaps says something.
    Acknowledge(Option<String>),
    /// Is done with it, and perhaps says something.
    Resolve(Option<String>),
    /// Opens it again, and perhaps says why.
    Reopen(Option<String>),
    /// Gives it to a person of the tenant, or to nobody.
    Assign(Option<UserKey>),
    /// Says something.
    Comment(String),
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Changed {
    /// The alert as it is now; whether anything was changed.
    Done(Box<Alert>, bool),
    /// It does not fit the alert's state.
    Refused(StepRefused),
    /// There is no such person.
    NoSuchPerson,
}

impl AlertChange {
    fn step(&self) -> Step {
        match self {
            Self::Acknowledge(_) => Step::Acknowledge,
            Self::Resolve(_) => Step::Resolve,
            Self::Reopen(_) => Step::Reopen,
            Self::Assign(_) => Step::Assign,
            Self::Comment(_) => Step::Comment,
        }
    }

    /// The name in the audit log.
    fn action(&self) -> Action {
        match self {
            Self::Acknowledge(_) => Action::AlertAcknowledged,
            Self::Resolve(_) => Action::AlertResolved,
            Self::Reopen(_) => Action::AlertReopened,
            Self::Assign(_) => Action::AlertAssigned,
            Self::Comment(_) => Action::AlertCommented,
        }
    }

    /// The name in an alert's history.
    fn name(&self) -> &'static str {
        match self {
            Self::Acknowledge(_) => "acknowledged",
            Self::Resolve(_) => "resolved",
            Self::Reopen(_) => "reopened",
            Self::Assign(_) => "assigned",
            Self::Comment(_) => "commented",
        }
    }

    fn words(&self) -> Option<&str> {
        match self {
            Self::Acknowledge(words) | Self::Resolve(words) | Self::Reopen(words) => words.as_deref(),
            Self::Comment(words) => Some(words),
            Self::Assign(_) => None,
        }
    }
}

impl Store {
    /// Carries out what `by` does with an alert. Doing again what has been done changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the tenant has no such alert or the asker may not see its camera.
    pub async fn change_alert(
        &self,
        asker: Asker,
        by: UserKey,
        alert_id: AlertId,
        change: AlertChange,
        now: UtcMillis,
    ) -> Result<Changed, StoreError> {
        self.write(move |transaction| apply(transaction, &asker, by, alert_id, &change, now)).await
    }
}

fn apply(
    transaction: &mut Transaction<'_>,
    asker: &Asker,
    by: UserKey,
    alert_id: AlertId,
    change: &AlertChange,
    now: UtcMillis,
) -> Result<Changed, StoreError> {
    let (row, alert) = lists::find(transaction, asker, alert_id)?.ok_or(StoreError::NotFound)?;
    let state = match alert.state.after(change.step()) {
        Ok(Next::Already) => return Ok(Changed::Done(Box::new(alert), false)),
        Ok(Next::Changed(state)) => state,
        Ok(Next::Noted) => alert.state,
        Err(refused) => return Ok(Changed::Refused(refused)),
    };
    let mut note = change.words().map(str::to_owned);
    if let AlertChange::Assign(person) = change {
        let name = person.map(|person| person_name(transaction, asker.tenant, person)).transpose()?;
        if name == Some(None) {
            return Ok(Changed::NoSuchPerson);
        }
        note = Some(name.flatten().unwrap_or_else(|| "nobody".to_owned()));
        let sql = "update alerts set assignee = ?1 where tenant = ?2 and id = ?3";
        transaction.execute(sql, &values![person.map(|person| person.0), asker.tenant.0, row])?;
    }
    if state != alert.state {
        set_state(transaction, asker.tenant, row, state, by, now)?;
        owe(transaction, asker.tenant, row, &alert, state, now)?;
    }
    note_step(transaction, asker.tenant, row, Some(by), change.name(), note.as_deref(), now)?;
    touch(transaction, asker.tenant, row)?;
    let (_, alert) = lists::find(transaction, asker, alert_id)?.ok_or(StoreError::NotFound)?;
    let given_to = note.filter(|_| matches!(change, AlertChange::Assign(_)));
    audit_step(transaction, asker.tenant, change.action(), &alert, given_to, now)?;
    Ok(Changed::Done(Box::new(alert), true))
}

/// Writes to the audit log what was done with an alert. What was said stays in the alert's own history.
fn audit_step(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    action: Action,
    alert: &Alert,
    given_to: Option<String>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let mut detail = json!({
        "edge_id": alert.edge_id.as_str(),
        "camera_id": alert.camera_id.as_ref().map(CameraId::as_str),
    });
    if let Some(person) = given_to {
        detail["given_to"] = person.into();
    }
    audit::note(transaction, tenant, action, Some(&alert.alert_id.to_string()), detail, now)
}

fn set_state(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    row: i64,
    state: AlertState,
    by: UserKey,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let who = match state {
        AlertState::Acknowledged => "acknowledged_at = ?2, acknowledged_by = ?3, escalate_at = null",
        AlertState::Resolved => "resolved_at = ?2, resolved_by = ?3, escalate_at = null",
        AlertState::Open => {
            let steps: Vec<EscalationStep> = transaction
                .first("select escalation from alerts where id = ?1", &values![row], |row| row.json(0))?
                .unwrap_or_default();
            let sql = "update alerts set state = ?1, open_since = ?2, escalated = 0, escalate_at = ?3,
                     acknowledged_at = null, acknowledged_by = null, resolved_at = null, resolved_by = null
                 where tenant = ?4 and id = ?5";
            let due = escalation_due(&steps, 0, now);
            return transaction.execute(sql, &values![state_number(state), now, due, tenant.0, row]).map(drop);
        }
    };
    let sql = format!("update alerts set state = ?1, {who} where tenant = ?4 and id = ?5");
    transaction.execute(&sql, &values![state_number(state), now, by.0, tenant.0, row]).map(drop)
}

fn owe(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    row: i64,
    alert: &Alert,
    state: AlertState,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let occasion = match state {
        AlertState::Open => Occasion::Reopened,
        AlertState::Acknowledged => Occasion::Acknowledged,
        AlertState::Resolved => Occasion::Resolved,
    };
    let sql = "select targets, escalation from alerts where id = ?1";
    let called = transaction.first(sql, &values![row], |row| Ok((row.json(0)?, row.json(1)?)))?;
    let (targets, mut steps): (Vec<String>, Vec<EscalationStep>) = called.unwrap_or_default();
    steps.truncate(steps_carried_out(transaction, tenant, row)?);
    let escalated_to = steps.into_iter().map(|step| step.targets).collect();
    let news = AlertNews { escalated_to, ..news(transaction, tenant, alert, occasion, targets, now)? };
    deliveries::owe(transaction, &news)
}

/// How far the escalation has come since the alert was raised; after a reopening it begins anew, and those who were told
/// before that go on to hear of it.
fn steps_carried_out(transaction: &mut Transaction<'_>, tenant: TenantKey, row: i64) -> Result<usize, StoreError> {
    let sql = "select step from alert_steps where tenant = ?1 and alert = ?2 and step in (?3, ?4) order by id";
    let (escalated, reopened) = (Occasion::Escalated(0).as_str(), Occasion::Reopened.as_str());
    let steps = transaction.all(sql, &values![tenant.0, row, escalated, reopened], |row| row.get::<String>(0))?;
    let runs = steps.split(|step| step == reopened).map(<[String]>::len);
    Ok(runs.max().unwrap_or_default())
}

/// What is to be told of an alert that exists.
pub(super) fn news(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    alert: &Alert,
    occasion: Occasion,
    targets: Vec<String>,
    now: UtcMillis,
) -> Result<AlertNews, StoreError> {
    let sql = "select name from edges where tenant = ?1 and edge_id = ?2";
    let edge_name = transaction.first(sql, &values![tenant.0, alert.edge_id.as_str()], |row| row.get(0))?;
    Ok(AlertNews {
        tenant,
        alert: alert.alert_id,
        incident: alert.incident_id,
        opens_incident: false,
        occasion,
        severity: alert.severity,
        title: alert.title.clone(),
        rule: alert.rule_id,
        rule_name: alert.rule_name.clone(),
        edge: alert.edge_id.clone(),
        edge_name: edge_name.unwrap_or_default(),
        camera: alert.camera_id.clone(),
        zone: alert.zone_id.clone(),
        at: alert.alert_id.0.at(),
        told_at: now,
        event: alert.event_id,
        targets,
        escalated_to: Vec::new(),
    })
}

/// Gives the alert the number of a change and tells those who watch.
pub(super) fn touch(transaction: &mut Transaction<'_>, tenant: TenantKey, row: i64) -> Result<(), StoreError> {
    let number = next_number(transaction, tenant)?;
    let sql = "update alerts set change_number = ?1 where tenant = ?2 and id = ?3";
    transaction.execute(sql, &values![number, tenant.0, row])?;
    transaction.announce(News::Alerts(tenant));
    Ok(())
}

/// Writes a step of an alert's life down.
pub(super) fn note_step(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    row: i64,
    by: Option<UserKey>,
    step: &str,
    note: Option<&str>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let sql = "insert into alert_steps (tenant, alert, at, person, step, note) values (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.execute(sql, &values![tenant.0, row, now, by.map(|by| by.0), step, note]).map(drop)
}

fn person_name(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    person: UserKey,
) -> Result<Option<String>, StoreError> {
    let sql = "select name from users where tenant = ?1 and id = ?2 and removed_at is null";
    transaction.first(sql, &values![tenant.0, person.0], |row| row.get(0))
}
