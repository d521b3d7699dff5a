//! The search behind a page of a list of events: which index it walks, how far, and what it looks for on the way.
//!
//! A search walks one index from the newest event on, that of the most telling name asked for. Further conditions are
//! checked on the way, for [`WINDOW`] events at most: so a page takes milliseconds whatever is asked for, and the next
//! one goes on where it stopped. Who asks by one name and time only is never cut short.

use std::collections::BTreeMap;

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::id::{CameraId, EdgeId, EventId, ZoneId};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;

use super::events::{event_type_number, kind_number};
use super::lists::{EventFilter, PageRequest, select_events};
use super::names::{NameTable, find};
use super::sql::{Transaction, Value, values};
use super::{StoreError, TenantKey, scope};

/// Most events one page looks at when it can't tell by the index alone which are meant; takes SQLite some 7 ms, more when
/// the rows lie far apart. Tests have a handful of events.
const WINDOW: u32 = if cfg!(test) { 7 } else { 2_000 };

/// A search that was cut short goes on at a multiple of this, in milliseconds: where exactly it stopped is an event that
/// the person may not be allowed to see.
const GRAIN_MS: i64 = if cfg!(test) { 1 } else { 1_000 };

/// The indexes with the columns that they order by after tenant and kind and before the id, the most telling one first.
const INDEXES: [(&str, &[&str]); 8] = [
    ("events_made_for", &["made_for"]),
    ("events_by_track", &["track"]),
    ("events_by_zone", &["zone"]),
    ("events_by_place", &["edge", "camera"]),
    ("events_by_camera", &["camera"]),
    ("events_by_edge", &["edge"]),
    ("events_by_class", &["object_class"]),
    ("events_by_type", &["event_type"]),
];

/// A search for one page.
#[derive(Debug)]
pub(super) struct Search {
    index: &'static str,
    /// Columns that the index orders by before the id, with what they must be.
    walked: Vec<(&'static str, Value)>,
    /// Not older than.
    start: Option<EventId>,
    /// Older than.
    end: Option<EventId>,
    /// What else must hold of an event: column, operator, value.
    checked: Vec<(&'static str, &'static str, Value)>,
    limit: u32,
}

/// A statement with its values.
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Search {
    /// Plans the page; `None` when a name is asked for that the tenant has never used, so that nothing matches.
    pub(super) fn plan(
        transaction: &mut Transaction<'_>,
        kind: UpKind,
        tenant: TenantKey,
        filter: &EventFilter,
        page: PageRequest,
    ) -> Result<Option<Self>, StoreError> {
        if !may_match(filter) {
            return Ok(None);
        }
        let Some(named) = Named::find(transaction, tenant, filter)? else { return Ok(None) };
        let mut search = Self {
            index: "events_by_kind",
            walked: vec![("tenant", tenant.0.into()), ("kind", kind_number(kind).into())],
            start: filter.start.map(EventId::first_at),
            end: filter.end.map(EventId::first_at).into_iter().chain(page.before).min(),
            checked: Vec::new(),
            limit: page.limit,
        };
        search.walk_by(named.columns(filter));
        search.checked.extend(filter.min_confidence.map(|least| ("confidence", ">=", least.into())));
        Ok(Some(search))
    }

    /// Walks the first index all of whose columns are asked for, and checks the others.
    fn walk_by(&mut self, mut asked: BTreeMap<&'static str, Value>) {
        let is_asked = |columns: &&[&'static str]| columns.iter().all(|column| asked.contains_key(column));
        if let Some((index, columns)) = INDEXES.iter().find(|(_, columns)| is_asked(columns)) {
            self.index = index;
            self.walked.extend(columns.iter().filter_map(|column| asked.remove_entry(column)));
        }
        self.checked.extend(asked.into_iter().map(|(column, value)| (column, "=", value)));
    }

    /// The oldest event that this page may look at; `None` when it may look at all there are.
    pub(super) fn floor(
        &self,
        transaction: &mut Transaction<'_>,
        filter: &EventFilter,
    ) -> Result<Option<EventId>, StoreError> {
        if self.checked.is_empty() && filter.cameras == CameraScope::All {
            return Ok(None);
        }
        let mut query = Query { sql: String::new(), values: Vec::new() };
        let indexed = transaction.dialect().indexed_by(self.index);
        query.sql.push_str(&format!("select v.id from events v{indexed} where "));
        self.push_range(&mut query, None);
        query.values.push((WINDOW - 1).into());
        query.sql.push_str(&format!(" order by v.id desc limit 1 offset ?{}", query.values.len()));
        let last = transaction.first(&query.sql, &query.values, |row| Ok(EventId::from_bytes(row.get(0)?)))?;
        Ok(last
            .map(|id| EventId::first_at(UtcMillis::from_millis(id.at().as_millis().div_euclid(GRAIN_MS) * GRAIN_MS))))
    }

    /// The statement that reads the page, and one event more.
    pub(super) fn query(
        &self,
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        filter: &EventFilter,
        floor: Option<EventId>,
    ) -> Result<Query, StoreError> {
        let mut query = Query { sql: select_events(transaction.dialect(), self.index) + " where ", values: Vec::new() };
        self.push_range(&mut query, floor);
        for (column, operator, value) in &self.checked {
            query.values.push(value.clone());
            query.sql.push_str(&format!(" and v.{column} {operator} ?{}", query.values.len()));
        }
        let seen = scope::condition(transaction, tenant, &filter.cameras, "v", &mut query.values)?;
        query.sql.push_str(&seen);
        query.values.push(i64::from(self.limit).saturating_add(1).into());
        query.sql.push_str(&format!(" order by v.id desc limit ?{}", query.values.len()));
        Ok(query)
    }

    /// The range of the index, as conditions.
    fn push_range(&self, query: &mut Query, floor: Option<EventId>) {
        let walked = self.walked.iter().map(|(column, value)| (*column, "=", value.clone()));
        let start = self.start.into_iter().chain(floor).max().map(|id| ("id", ">=", Value::from(id)));
        let end = self.end.map(|id| ("id", "<", Value::from(id)));
        let conditions = walked.chain(start).chain(end).map(|(column, operator, value)| {
            query.values.push(value);
            format!("v.{column} {operator} ?{}", query.values.len())
        });
        let conditions: Vec<String> = conditions.collect();
        query.sql.push_str(&conditions.join(" and "));
    }
}

/// Whether a camera that may be seen is among those asked for. If none is, nothing is looked at: how far a search gets says
/// how much there is.
fn may_match(filter: &EventFilter) -> bool {
    let CameraScope::Only(seen) = &filter.cameras else { return true };
    seen.iter().any(|(edge, camera)| {
        filter.edge_id.as_ref().is_none_or(|asked| asked == edge)
            && filter.camera_id.as_ref().is_none_or(|asked| asked == camera)
    })
}

/// The rows of the names that are asked for.
#[derive(Debug)]
struct Named {
    camera: Option<i64>,
    zone: Option<i64>,
    class: Option<i64>,
    edge: Option<i64>,
}

impl Named {
    /// `None` when the tenant has never used one of the names.
    fn find(
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        filter: &EventFilter,
    ) -> Result<Option<Self>, StoreError> {
        let mut name = |table, name: Option<&str>| match name {
            None => Ok(Some(None)),
            Some(name) => find(transaction, table, tenant.0, name).map(|row| row.map(Some)),
        };
        let (Some(camera), Some(zone), Some(class)) = (
            name(NameTable::Cameras, filter.camera_id.as_ref().map(CameraId::as_str))?,
            name(NameTable::Zones, filter.zone_id.as_ref().map(ZoneId::as_str))?,
            name(NameTable::ObjectClasses, filter.object_class.as_deref())?,
        ) else {
            return Ok(None);
        };
        let edge = match &filter.edge_id {
            None => None,
            Some(edge_id) => match edge_row(transaction, tenant, edge_id)? {
                None => return Ok(None),
                row => row,
            },
        };
        Ok(Some(Self { camera, zone, class, edge }))
    }

    /// What is asked for by a name or a number that an index orders by, by column.
    fn columns(&self, filter: &EventFilter) -> BTreeMap<&'static str, Value> {
        let columns = [
            ("made_for", filter.made_for.map(|event| event.to_string().into())),
            ("track", filter.track_id.as_deref().map(Value::from)),
            ("zone", self.zone.map(Value::from)),
            ("camera", self.camera.map(Value::from)),
            ("edge", self.edge.map(Value::from)),
            ("object_class", self.class.map(Value::from)),
            ("event_type", filter.event_type.map(|it| event_type_number(it).into())),
        ];
        columns.into_iter().filter_map(|(column, value)| Some((column, value?))).collect()
    }
}

fn edge_row(transaction: &mut Transaction<'_>, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<i64>, StoreError> {
    let sql = "select id from edges where tenant = ?1 and edge_id = ?2";
    transaction.first(sql, &values![tenant.0, edge_id.as_str()], |row| row.get(0))
}
