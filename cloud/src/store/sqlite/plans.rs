//! The plans of lists: each reads a range of the index meant for it.

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::id::EventId;
use aivms_contract::topic::UpKind;
use aivms_contract::zone_event::ZoneEventType;
use rusqlite::{Connection, params_from_iter};

use super::super::TenantKey;
use super::super::event_search::Search;
use super::super::lists::{EventFilter, PageRequest, feed_sql};
use super::super::sql::{Dialect, Transaction, Value, values};
use super::migrate::migrate;
use super::transaction::SqliteConnection;

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
            "insert into tenants (id, tenant_id, name, created_at) values (1, 't', 't', 0);
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
    let mut reader = SqliteConnection { sqlite: &connection, names: None };
    let mut transaction = Transaction::new(&mut reader);
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
        cameras: CameraScope::Only([("edge_a".parse().unwrap(), "door".parse().unwrap())].into()),
    };
    let made_for = EventFilter { made_for: Some(EventId::first_at(at)), ..EventFilter::default() };
    let page = PageRequest { before: Some(EventId::first_at(at)), limit: 50 };
    let zone = |filter: EventFilter| EventFilter { track_id: None, ..filter };
    let camera = |filter: EventFilter| EventFilter { zone_id: None, ..zone(filter) };
    let any_edge = |filter: EventFilter| EventFilter { edge_id: None, ..camera(filter) };
    let edge = |filter: EventFilter| EventFilter { camera_id: None, ..camera(filter) };
    let class = |filter: EventFilter| EventFilter { edge_id: None, ..edge(filter) };
    let kind = |filter: EventFilter| EventFilter { object_class: None, ..class(filter) };
    for (filter, index) in [
        (EventFilter::default(), "events_by_kind (tenant=? AND kind=? AND id<?)"),
        (made_for, "events_made_for (tenant=? AND kind=? AND made_for=? AND id<?)"),
        (all.clone(), "events_by_track (tenant=? AND kind=? AND track=? AND id>? AND id<?)"),
        (zone(all.clone()), "events_by_zone (tenant=? AND kind=? AND zone=? AND id>? AND id<?)"),
        (camera(all.clone()), "events_by_place (tenant=? AND kind=? AND edge=? AND camera=? AND id>? AND id<?)"),
        (any_edge(all.clone()), "events_by_camera (tenant=? AND kind=? AND camera=? AND id>? AND id<?)"),
        (edge(all.clone()), "events_by_edge (tenant=? AND kind=? AND edge=? AND id>? AND id<?)"),
        (class(all.clone()), "events_by_class (tenant=? AND kind=? AND object_class=? AND id>? AND id<?)"),
        (kind(all), "events_by_type (tenant=? AND kind=? AND event_type=? AND id>? AND id<?)"),
    ] {
        let tenant = TenantKey(1);
        let search = Search::plan(&mut transaction, UpKind::ZoneEvents, tenant, &filter, page).unwrap().unwrap();
        let query = search.query(&mut transaction, tenant, &filter, None).unwrap();
        let plan = plan(&connection, &query.sql, &query.values);
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[test]
fn the_feed_of_a_tenant_reads_only_rows_of_that_tenant() {
    let plan = plan(&database(), &feed_sql(Dialect::Sqlite), &values![1, 1, 1]);
    assert!(plan.contains("events_by_feed (tenant=? AND rowid>?)"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
}
