//! Alerts one by one and by pages.

use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::rules::{AlertId, AlertState, IncidentId, RuleId};
use aivms_contract::alert::Severity;
use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::time::UtcMillis;

use super::super::sql::{Row, Transaction, Value, values};
use super::super::{Page, PageRequest, Store, StoreError, UserKey};
use super::feed::FedAlert;
use super::{Alert, AlertStep, Asker, Done, PersonName, severity_number, severity_of, state_number, state_of};

/// Which alerts a list shows; `None` means all.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// In one of these states.
    pub states: Option<Vec<AlertState>>,
    /// At least so urgent.
    pub least_severity: Option<Severity>,
    /// Of this rule.
    pub rule_id: Option<RuleId>,
    /// Of this incident.
    pub incident_id: Option<IncidentId>,
    /// About this edge.
    pub edge_id: Option<EdgeId>,
    /// About this camera.
    pub camera_id: Option<CameraId>,
    /// Given to this person.
    pub assignee: Option<UserKey>,
    /// Not before.
    pub start: Option<UtcMillis>,
    /// Before, exclusive.
    pub end: Option<UtcMillis>,
}

impl Store {
    /// A page of alerts, newest first by the time of what they tell of.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_alerts(
        &self,
        asker: Asker,
        filter: AlertFilter,
        page: PageRequest,
    ) -> Result<Page<Alert>, StoreError> {
        self.list(asker.tenant, move |transaction| {
            let mut query = Query::new(SELECT_ALERTS, &asker);
            query.filter(&filter);
            query.require("a.alert_id <", page.before);
            let limit = i64::from(page.limit).saturating_add(1);
            let (sql, values) = query.finish("order by a.alert_id desc", limit);
            Ok(Page::of(transaction.all(&sql, &values, read_alert)?, page.limit))
        })
        .await
    }

    /// One alert of the tenant; `None` also when it is about a camera that the asker may not see.
    ///
    /// # Errors
    /// The database's own.
    pub async fn alert(&self, asker: Asker, alert_id: AlertId) -> Result<Option<(Alert, Vec<AlertStep>)>, StoreError> {
        self.lookup(move |transaction| {
            let Some((row, alert)) = find(transaction, &asker, alert_id)? else { return Ok(None) };
            let steps = transaction.all(
                "select s.at, s.step, s.note, s.person, p.name
                 from alert_steps s left join users p on p.id = s.person
                 where s.tenant = ?1 and s.alert = ?2 order by s.id",
                &values![asker.tenant.0, row],
                read_step,
            )?;
            Ok(Some((alert, steps)))
        })
        .await
    }
}

/// Columns of [`read_alert`]; `id` comes last.
const SELECT_ALERTS: &str = "select a.alert_id, i.incident_id, a.rule_id, a.rule_name, a.kind, a.severity, a.state,
         e.edge_id, a.camera, a.zone, a.object_class, a.track, a.title, a.event, a.raised_at, a.acknowledged_at,
         a.acknowledged_by, pa.name, a.resolved_at, a.resolved_by, pr.name, a.assignee, ps.name, a.escalated,
         a.escalate_at, a.why, a.change_number, a.id
     from alerts a join incidents i on i.id = a.incident join edges e on e.id = a.edge
         left join users pa on pa.id = a.acknowledged_by
         left join users pr on pr.id = a.resolved_by
         left join users ps on ps.id = a.assignee";

/// One alert with its row.
pub(super) fn find(
    transaction: &mut Transaction<'_>,
    asker: &Asker,
    alert_id: AlertId,
) -> Result<Option<(i64, Alert)>, StoreError> {
    let mut query = Query::new(SELECT_ALERTS, asker);
    query.require("a.alert_id =", Some(alert_id.0));
    let (sql, values) = query.finish("", 1);
    transaction.first(&sql, &values, |row| Ok((row.get(27)?, read_alert(row)?)))
}

/// Alerts by the number of their last change.
pub(super) fn after(
    transaction: &mut Transaction<'_>,
    asker: &Asker,
    number: i64,
    limit: u32,
) -> Result<Vec<FedAlert>, StoreError> {
    let mut query = Query::new(SELECT_ALERTS, asker);
    query.require("a.change_number >", Some(number));
    let (sql, values) = query.finish("order by a.change_number", i64::from(limit));
    transaction.all(&sql, &values, |row| Ok(FedAlert { number: row.get(26)?, alert: read_alert(row)? }))
}

/// A query for what belongs to alerts `a` of edges `e`: of one tenant, and of cameras that the asker may see.
pub(super) struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    pub(super) fn new(select: &str, asker: &Asker) -> Self {
        let mut query = Self { sql: format!("{select} where a.tenant = ?1"), values: values![asker.tenant.0].into() };
        query.restrict(&asker.cameras);
        query
    }

    /// Lets through what is about no camera, and about the cameras of `scope`.
    fn restrict(&mut self, scope: &CameraScope) {
        let CameraScope::Only(cameras) = scope else { return };
        let mut seen = "a.camera is null".to_owned();
        for (edge, camera) in cameras {
            self.values.extend([edge.as_str().into(), camera.as_str().into()]);
            let n = self.values.len();
            seen.push_str(&format!(" or (e.edge_id = ?{} and a.camera = ?{n})", n - 1));
        }
        self.sql.push_str(&format!(" and ({seen})"));
    }

    fn filter(&mut self, filter: &AlertFilter) {
        if let Some(states) = &filter.states {
            // No state has the number 0: a list without any matches nothing.
            let numbers: Vec<String> = states.iter().map(|state| state_number(*state).to_string()).collect();
            let numbers = if numbers.is_empty() { "0".to_owned() } else { numbers.join(", ") };
            self.sql.push_str(&format!(" and a.state in ({numbers})"));
        }
        self.require("a.severity >=", filter.least_severity.map(severity_number));
        self.require("a.rule_id =", filter.rule_id.map(|id| id.0));
        self.require("i.incident_id =", filter.incident_id.map(|id| id.0));
        self.require("e.edge_id =", filter.edge_id.as_ref().map(EdgeId::as_str));
        self.require("a.camera =", filter.camera_id.as_ref().map(CameraId::as_str));
        self.require("a.assignee =", filter.assignee.map(|user| user.0));
        self.require("a.alert_id >=", filter.start.map(EventId::first_at));
        self.require("a.alert_id <", filter.end.map(EventId::first_at));
    }

    /// Adds a condition when there is a value for it. `condition` is a text of the program.
    pub(super) fn require(&mut self, condition: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.values.push(value.into());
            self.sql.push_str(&format!(" and {condition} ?{}", self.values.len()));
        }
    }

    pub(super) fn finish(mut self, order: &str, limit: i64) -> (String, Vec<Value>) {
        self.values.push(limit.into());
        (format!("{} {order} limit ?{}", self.sql, self.values.len()), self.values)
    }
}

fn read_alert(row: &Row) -> Result<Alert, StoreError> {
    Ok(Alert {
        alert_id: AlertId::from_bytes(row.get(0)?),
        incident_id: IncidentId::from_bytes(row.get(1)?),
        rule_id: RuleId::from_bytes(row.get(2)?),
        rule_name: row.get(3)?,
        kind: row.parsed(4)?,
        severity: severity_of(row.get(5)?),
        state: state_of(row.get(6)?),
        edge_id: row.parsed(7)?,
        camera_id: row.optional_parsed(8)?,
        zone_id: row.optional_parsed(9)?,
        object_class: row.get(10)?,
        track: row.get(11)?,
        title: row.get(12)?,
        event_id: row.get::<Option<[u8; 16]>>(13)?.map(EventId::from_bytes),
        raised_at: row.time(14)?,
        acknowledged: done(row, 15)?,
        resolved: done(row, 18)?,
        assignee: person(row, 21)?,
        escalated: row.get(23)?,
        escalates_at: row.optional_time(24)?,
        why: row.json(25)?,
    })
}

/// A time, who, and their name in three columns.
fn done(row: &Row, column: usize) -> Result<Option<Done>, StoreError> {
    let by = person(row, column + 1)?;
    Ok(row.optional_time(column)?.map(|at| Done { at, by }))
}

fn person(row: &Row, column: usize) -> Result<Option<PersonName>, StoreError> {
    let (key, name): (Option<i64>, Option<String>) = (row.get(column)?, row.get(column + 1)?);
    Ok(key.zip(name).map(|(key, name)| PersonName { key: UserKey(key), name }))
}

fn read_step(row: &Row) -> Result<AlertStep, StoreError> {
    Ok(AlertStep { at: row.time(0)?, step: row.get(1)?, note: row.get(2)?, by: person(row, 3)? })
}
