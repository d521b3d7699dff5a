//! Lists of events and the live feed.

use aivms_contract::VERSION;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::{CameraId, EdgeId, EventId, ZoneId};
use aivms_contract::topic::UpKind;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, Error as SqliteError, OptionalExtension, Row, params, params_from_iter};
use serde::de::DeserializeOwned;

use super::super::{EventFilter, Page, PageRequest, StoreError, StoredEvent, TenantKey};
use super::connection::store_error;
use super::events::{event_type_number, kind_number};
use super::names::{NameTable, find};
use super::rows::{parsed, time};

/// Columns of an event; `events` drives the join, so that the named index gives the order.
pub(super) const COLUMNS: &str = "select v.feed_number, v.id, e.edge_id, o.name, v.seq, v.kind, v.received_at, v.body";
/// The tables beside `events` that [`COLUMNS`] needs.
pub(super) const NAMES: &str = "cross join edges e on e.id = v.edge cross join outboxes o on o.id = v.outbox";

/// A statement with its values.
struct Query {
    sql: String,
    values: Vec<Value>,
}

/// A page of events of one kind, newest first.
pub(super) fn list(
    connection: &Connection,
    kind: UpKind,
    tenant: TenantKey,
    filter: &EventFilter,
    page: PageRequest,
) -> Result<Page<StoredEvent>, StoreError> {
    let Some(query) = list_query(connection, kind, tenant, filter, page)? else {
        return Ok(Page { items: Vec::new(), more: false });
    };
    let mut statement = connection.prepare_cached(&query.sql).map_err(store_error)?;
    let rows = statement.query_map(params_from_iter(query.values), read_event).map_err(store_error)?;
    let mut items = rows.collect::<Result<Vec<_>, _>>().map_err(store_error)?;
    let more = items.len() > page.limit as usize;
    items.truncate(page.limit as usize);
    Ok(Page { items, more })
}

/// Events of a tenant after a feed number, in the order of storing.
pub(super) fn feed_after(
    connection: &Connection,
    tenant: TenantKey,
    feed_number: i64,
    limit: u32,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut statement = connection.prepare_cached(&feed_sql()).map_err(store_error)?;
    statement
        .query_map(params![tenant.0, feed_number, limit], read_event)
        .and_then(Iterator::collect)
        .map_err(store_error)
}

/// The newest feed number; 0 before the first event.
pub(super) fn feed_head(connection: &Connection) -> Result<i64, StoreError> {
    connection
        .prepare_cached("select feed_number from events order by feed_number desc limit 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .map(Option::unwrap_or_default)
        .map_err(store_error)
}

fn feed_sql() -> String {
    format!(
        "{COLUMNS} from events v indexed by events_by_feed {NAMES}
         where v.tenant = ?1 and v.feed_number > ?2 order by v.feed_number limit ?3"
    )
}

/// The statement of a list; `None` when a name is asked for that the tenant has never used, so that nothing matches.
fn list_query(
    connection: &Connection,
    kind: UpKind,
    tenant: TenantKey,
    filter: &EventFilter,
    page: PageRequest,
) -> Result<Option<Query>, StoreError> {
    let name = |table, name: Option<&str>| match name {
        None => Ok(Some(None)),
        Some(name) => find(connection, table, tenant.0, name).map(|row| row.map(Some)),
    };
    let (Some(camera), Some(zone), Some(class), Some(edge)) = (
        name(NameTable::Cameras, filter.camera_id.as_ref().map(CameraId::as_str))?,
        name(NameTable::Zones, filter.zone_id.as_ref().map(ZoneId::as_str))?,
        name(NameTable::ObjectClasses, filter.object_class.as_deref())?,
        edge_row(connection, tenant, filter.edge_id.as_ref())?,
    ) else {
        return Ok(None);
    };
    let index = match (filter.made_for, camera) {
        (Some(_), _) => "events_made_for",
        (None, Some(_)) => "events_by_camera",
        (None, None) => "events_by_kind",
    };
    let mut query = Query {
        sql: format!("{COLUMNS} from events v indexed by {index} {NAMES} where v.tenant = ?1 and v.kind = ?2"),
        values: vec![tenant.0.into(), kind_number(kind).into()],
    };
    let end = filter.end.map(EventId::first_at).into_iter().chain(page.before).min();
    let integers = [("camera", camera), ("zone", zone), ("object_class", class), ("edge", edge)];
    for (column, row) in integers {
        query.require(column, "=", row.map(Value::Integer));
    }
    query.require("id", ">=", filter.start.map(|start| blob(EventId::first_at(start))));
    query.require("id", "<", end.map(blob));
    query.require("track", "=", filter.track_id.clone().map(Value::Text));
    query.require("event_type", "=", filter.event_type.map(|t| Value::Integer(event_type_number(t))));
    query.require("confidence", ">=", filter.min_confidence.map(|c| Value::Real(f64::from(c))));
    if let Some(event) = filter.made_for {
        query.values.push(Value::Text(event.to_string()));
        // The list of kinds is what lets the partial index serve.
        let number = query.values.len();
        query.sql.push_str(&format!(" and v.kind in (5, 9) and json_extract(v.body, '$.event_id') = ?{number}"));
    }
    query.values.push(i64::from(page.limit).saturating_add(1).into());
    query.sql.push_str(&format!(" order by v.id desc limit ?{}", query.values.len()));
    Ok(Some(query))
}

impl Query {
    /// Adds a condition when there is a value for it. `column` and `operator` are texts of this file.
    fn require(&mut self, column: &'static str, operator: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.values.push(value);
            self.sql.push_str(&format!(" and v.{column} {operator} ?{}", self.values.len()));
        }
    }
}

/// The edge's row: outer `None` when the tenant has no such edge, inner `None` when none was asked for.
#[expect(clippy::option_option, reason = "matches the look-up of the other names")]
fn edge_row(
    connection: &Connection,
    tenant: TenantKey,
    edge_id: Option<&EdgeId>,
) -> Result<Option<Option<i64>>, StoreError> {
    let Some(edge_id) = edge_id else { return Ok(Some(None)) };
    connection
        .prepare_cached("select id from edges where tenant = ?1 and edge_id = ?2")
        .and_then(|mut find| find.query_row(params![tenant.0, edge_id.as_str()], |row| row.get(0)).optional())
        .map(|row| row.map(Some))
        .map_err(store_error)
}

fn blob(id: EventId) -> Value {
    Value::Blob(id.to_bytes().to_vec())
}

/// Reads a row of [`COLUMNS`].
pub(super) fn read_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    let id = EventId::from_bytes(row.get(1)?);
    let edge: EdgeId = parsed(row, 2)?;
    let envelope = Envelope {
        v: VERSION,
        id,
        edge: edge.clone(),
        outbox: parsed(row, 3)?,
        seq: u64::try_from(row.get::<_, i64>(4)?).unwrap_or_default(),
        at: id.at(),
        body: read_body(row, row.get(5)?)?,
    };
    Ok(StoredEvent { feed_number: row.get(0)?, edge_id: edge, received_at: time(row, 6)?, envelope })
}

fn read_body(row: &Row<'_>, kind: i64) -> rusqlite::Result<Body> {
    match kind {
        1 => json(row).map(Body::Detections),
        2 => json(row).map(Body::ZoneEvents),
        3 => json(row).map(Body::Alerts),
        4 => json(row).map(Body::Health),
        5 => json(row).map(Body::Clips),
        9 => json(row).map(Body::Snapshots),
        10 => json(row).map(Body::Footage),
        other => Err(SqliteError::IntegralValueOutOfRange(5, other)),
    }
}

fn json<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(7)?.as_str()?)
        .map_err(|error| SqliteError::FromSqlConversionFailure(7, Type::Text, Box::new(error)))
}

#[cfg(test)]
mod tests {
    use aivms_contract::zone_event::ZoneEventType;
    use rusqlite::Connection;

    use super::super::migrate::migrate;
    use super::*;

    fn plan(connection: &Connection, sql: &str, values: &[Value]) -> String {
        let mut statement = connection.prepare(&format!("explain query plan {sql}")).unwrap();
        let details = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        details.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "insert into tenants values (1, 't', 't', 0);
                 insert into edges (id, tenant, edge_id, name, created_at) values (1, 1, 'edge_a', '', 0);
                 insert into cameras values (1, 1, 'door');
                 insert into zones values (1, 1, 'lobby');
                 insert into object_classes values (1, 1, 'person');",
            )
            .unwrap();
        connection
    }

    #[test]
    fn every_filter_reads_a_range_of_the_index_meant_for_it_without_sorting() {
        let connection = database();
        let at = aivms_contract::time::UtcMillis::from_millis(1);
        let all = EventFilter {
            start: Some(at),
            end: Some(at),
            edge_id: "edge_a".parse().ok(),
            camera_id: "door".parse().ok(),
            object_class: Some("person".into()),
            track_id: Some("1".into()),
            zone_id: "lobby".parse().ok(),
            event_type: Some(ZoneEventType::Enter),
            min_confidence: Some(0.5),
            made_for: None,
        };
        let made_for = EventFilter { made_for: Some(EventId::first_at(at)), ..EventFilter::default() };
        let page = PageRequest { before: Some(EventId::first_at(at)), limit: 50 };
        let without_camera = EventFilter { camera_id: None, ..all.clone() };
        for (filter, range) in [
            (EventFilter::default(), "events_by_kind (tenant=? AND kind=? AND id<?)"),
            (without_camera, "events_by_kind (tenant=? AND kind=? AND id>? AND id<?)"),
            (all, "events_by_camera (tenant=? AND camera=? AND id>? AND id<?)"),
            (made_for, "events_made_for (tenant=? AND kind=? AND <expr>=? AND id<?)"),
        ] {
            let query = list_query(&connection, UpKind::ZoneEvents, TenantKey(1), &filter, page).unwrap().unwrap();
            let plan = plan(&connection, &query.sql, &query.values);
            assert!(plan.contains(range), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn the_feed_of_a_tenant_reads_only_rows_of_that_tenant() {
        let plan = plan(&database(), &feed_sql(), &[1.into(), 1.into(), 1.into()]);
        assert!(plan.contains("events_by_feed (tenant=? AND rowid>?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
