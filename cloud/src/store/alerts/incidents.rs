//! Incidents: alerts of one edge that followed each other.

use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::rules::{AlertState, IncidentId};
use aivms_contract::alert::Severity;
use aivms_contract::id::{EdgeId, EventId};
use aivms_contract::time::UtcMillis;

use super::super::sql::{Row, Transaction, Value, values};
use super::super::{Page, PageRequest, Store, StoreError};
use super::{Asker, severity_of, state_number};

/// Which incidents a list shows; `None` means all.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Only those with an alert in this state.
    pub with_state: Option<AlertState>,
    /// Of this edge.
    pub edge_id: Option<EdgeId>,
    /// Begun not before.
    pub start: Option<UtcMillis>,
    /// Begun before, exclusive.
    pub end: Option<UtcMillis>,
}

/// An incident as its asker may see it: alerts of other cameras do not count.
#[derive(Debug, Clone)]
pub struct Incident {
    /// Its id; the time part is the time of the alert that opened it.
    pub incident_id: IncidentId,
    /// Where it happened.
    pub edge_id: EdgeId,
    /// Time of its first alert.
    pub first_at: UtcMillis,
    /// Time of its last alert.
    pub last_at: UtcMillis,
    /// How urgent its most urgent alert is.
    pub severity: Severity,
    /// What its first alert tells, in one line.
    pub title: String,
    /// Alerts that nobody has acknowledged.
    pub open: u32,
    /// Alerts that somebody looks after.
    pub acknowledged: u32,
    /// Alerts that are done.
    pub resolved: u32,
}

impl Store {
    /// A page of incidents, newest first by their beginning.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_incidents(
        &self,
        asker: Asker,
        filter: IncidentFilter,
        page: PageRequest,
    ) -> Result<Page<Incident>, StoreError> {
        self.list(asker.tenant, move |transaction| {
            let rows = rows(transaction, &asker, &filter, page)?;
            let page = Page::of(rows, page.limit);
            let items = page.items.into_iter().map(|row| complete(transaction, &asker, row));
            let items = items.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
            Ok(Page { items, more: page.more })
        })
        .await
    }

    /// One incident of the tenant; `None` also when it has no alert that the asker may see.
    ///
    /// # Errors
    /// The database's own.
    pub async fn incident(&self, asker: Asker, incident_id: IncidentId) -> Result<Option<Incident>, StoreError> {
        self.lookup(move |transaction| {
            let sql = format!("{SELECT} where i.tenant = ?1 and i.incident_id = ?2");
            let Some(row) = transaction.first(&sql, &values![asker.tenant.0, incident_id.0], read)? else {
                return Ok(None);
            };
            complete(transaction, &asker, row)
        })
        .await
    }
}

const SELECT: &str = "select i.id, i.incident_id, e.edge_id from incidents i join edges e on e.id = i.edge";

struct Found {
    row: i64,
    incident_id: IncidentId,
    edge_id: EdgeId,
}

fn read(row: &Row) -> Result<Found, StoreError> {
    Ok(Found { row: row.get(0)?, incident_id: IncidentId::from_bytes(row.get(1)?), edge_id: row.parsed(2)? })
}

fn rows(
    transaction: &mut Transaction<'_>,
    asker: &Asker,
    filter: &IncidentFilter,
    page: PageRequest,
) -> Result<Vec<Found>, StoreError> {
    let mut values: Vec<Value> = values![asker.tenant.0].into();
    let mut wanted = String::new();
    seen(&asker.cameras, &mut values, &mut wanted);
    if let Some(state) = filter.with_state {
        wanted.push_str(&format!(" and a.state = {}", state_number(state)));
    }
    let mut sql = format!(
        "{SELECT} where i.tenant = ?1 and exists (select 1 from alerts a
             where a.tenant = i.tenant and a.incident = i.id{wanted})"
    );
    let end = filter.end.map(EventId::first_at).into_iter().chain(page.before).min();
    let bounds: [(&str, Option<Value>); 3] = [
        ("e.edge_id =", filter.edge_id.as_ref().map(|edge| edge.as_str().into())),
        ("i.incident_id >=", filter.start.map(|start| EventId::first_at(start).into())),
        ("i.incident_id <", end.map(Into::into)),
    ];
    for (condition, value) in bounds {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" and {condition} ?{}", values.len()));
        }
    }
    values.push(i64::from(page.limit).saturating_add(1).into());
    sql.push_str(&format!(" order by i.incident_id desc limit ?{}", values.len()));
    transaction.all(&sql, &values, read)
}

/// A condition on alerts `a` of an incident of edge `e` that lets those through that the asker may see.
fn seen(scope: &CameraScope, values: &mut Vec<Value>, sql: &mut String) {
    let CameraScope::Only(cameras) = scope else { return };
    sql.push_str(" and (a.camera is null");
    for (edge, camera) in cameras {
        values.extend([edge.as_str().into(), camera.as_str().into()]);
        let n = values.len();
        sql.push_str(&format!(" or (e.edge_id = ?{} and a.camera = ?{n})", n - 1));
    }
    sql.push(')');
}

/// Adds up the alerts of an incident that the asker may see; `None` when there are none.
fn complete(transaction: &mut Transaction<'_>, asker: &Asker, found: Found) -> Result<Option<Incident>, StoreError> {
    let mut values: Vec<Value> = values![asker.tenant.0, found.row].into();
    let mut sql = "select a.severity, a.state, a.title, a.alert_id from alerts a join edges e on e.id = a.edge
         where a.tenant = ?1 and a.incident = ?2"
        .to_owned();
    seen(&asker.cameras, &mut values, &mut sql);
    sql.push_str(" order by a.alert_id");
    let alerts = transaction.all(&sql, &values, |row| {
        let at = EventId::from_bytes(row.get(3)?).at();
        Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<String>(2)?, at))
    })?;
    let (Some(first), Some(last)) = (alerts.first(), alerts.last()) else { return Ok(None) };
    let in_state = |state| alerts.iter().filter(|alert| alert.1 == state_number(state)).count();
    let count = |state| u32::try_from(in_state(state)).unwrap_or(u32::MAX);
    Ok(Some(Incident {
        incident_id: found.incident_id,
        edge_id: found.edge_id,
        first_at: first.3,
        last_at: last.3,
        severity: severity_of(alerts.iter().map(|alert| alert.0).max().unwrap_or_default()),
        title: first.2.clone(),
        open: count(AlertState::Open),
        acknowledged: count(AlertState::Acknowledged),
        resolved: count(AlertState::Resolved),
    }))
}
