//! Events in partitions: where they lie, how they are found, and how they go.

use aivms_contract::envelope::Body;
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use aivms_contract::zone_event::ZoneEventType;
use aivms_test_database::TestDatabase;

use super::super::event_search::Search;
use super::super::events::Incoming;
use super::super::lists::{EventFilter, PageRequest, feed_sql};
use super::super::sql::{Dialect, Transaction, Value};
use super::super::suite::{at, detection, edge, incoming, tenant, zone_event};
use super::super::{Edge, SharedStore, StoreError, TenantKey, User};
use super::partitions::make_ahead;
use super::tests::open;

/// From [`at`] to the same day five years on, of which nobody has made a month.
const FIVE_YEARS_MS: i64 = 5 * 365 * 86_400_000;

async fn site(database: &TestDatabase) -> (SharedStore, User, Edge) {
    let store = open(database);
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    (store, owner, edge)
}

async fn listed(store: &SharedStore, owner: &User) -> Vec<u64> {
    let page = PageRequest { before: None, limit: 100 };
    let page = store.list_detections(owner.tenant, EventFilter::default(), page).await.unwrap();
    page.items.iter().map(|event| event.envelope.seq).collect()
}

fn rows(database: &TestDatabase, sql: &str) -> String {
    database.psql(&[sql]).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_far_time_is_kept_and_moves_when_its_month_is_made() {
    let database = TestDatabase::create().unwrap();
    let (store, owner, edge) = site(&database).await;
    let event = |seq, millis| incoming(&owner, &edge, seq, Body::Detections(detection(millis)));
    let batch = vec![event(1, 0), event(2, FIVE_YEARS_MS), event(3, -FIVE_YEARS_MS)];
    assert_eq!(store.record_events(batch).await.unwrap().stored, 3);
    assert_eq!(rows(&database, "select count(*) from events_default"), "2");
    let (mut client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert!(make_ahead(&mut client, at(FIVE_YEARS_MS)).await.unwrap() > 0);
    assert_eq!(make_ahead(&mut client, at(FIVE_YEARS_MS)).await.unwrap(), 0, "once is enough");
    assert_eq!(rows(&database, "select count(*) from events_default"), "1");
    assert_eq!(listed(&store, &owner).await, [2, 1, 3], "newest first over all partitions");
    // Its place is still taken.
    assert_eq!(store.record_events(vec![event(2, FIVE_YEARS_MS)]).await.unwrap().duplicates, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_events_gives_their_places_back() {
    let database = TestDatabase::create().unwrap();
    let (store, owner, edge) = site(&database).await;
    let batch: Vec<Incoming> =
        (1..=5).map(|seq| incoming(&owner, &edge, seq, Body::Detections(detection(0)))).collect();
    store.record_events(batch.clone()).await.unwrap();
    store.write(|transaction| transaction.execute("delete from events where seq <= 3", &[])).await.unwrap();
    assert_eq!(rows(&database, "select count(*) from event_places"), "2");
    let again = store.record_events(batch).await.unwrap();
    assert_eq!((again.stored, again.duplicates), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_batch_that_want_the_same_place_or_id_fare_as_if_they_came_one_by_one() {
    let database = TestDatabase::create().unwrap();
    let (store, owner, edge) = site(&database).await;
    let event = |seq, millis| incoming(&owner, &edge, seq, Body::Detections(detection(millis)));
    // The same event twice, another one at its place, and again after that.
    let batch = vec![event(1, 0), event(1, 0), event(1, 1), event(2, 0), event(1, 1)];
    let recorded = store.record_events(batch).await.unwrap();
    assert_eq!((recorded.stored, recorded.duplicates), (3, 2), "two events, one kept aside, two known");
    assert_eq!(rows(&database, "select count(*), count(distinct feed_number) from events"), "2|2");
    assert_eq!(rows(&database, "select count(*) from quarantine"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_several_processes_get_feed_numbers_in_the_order_of_their_commits() {
    let database = TestDatabase::create().unwrap();
    let (one, owner, edge) = site(&database).await;
    let two = open(&database);
    let batch = |from: u64| -> Vec<Incoming> {
        (from..from + 20).map(|seq| incoming(&owner, &edge, seq, Body::Detections(detection(0)))).collect()
    };
    let write = |store: SharedStore, first: u64| {
        let batches: Vec<_> = (0..20).map(|n| batch(first + n * 20)).collect();
        tokio::spawn(async move {
            for batch in batches {
                store.record_events(batch).await.unwrap();
            }
        })
    };
    let (a, b) = (write(std::sync::Arc::clone(&one), 1), write(std::sync::Arc::clone(&two), 10_001));
    // A watcher that goes on from the last number it saw must not miss one.
    let (mut seen, mut place) = (0, 0);
    while seen < 800 {
        let events = two.feed_after(owner.tenant, place, 50).await.unwrap();
        assert!(events.is_sorted_by_key(|event| event.feed_number));
        seen += events.len();
        place = events.last().map_or(place, |event| event.feed_number);
    }
    a.await.unwrap();
    b.await.unwrap();
    assert_eq!(rows(&database, "select count(*) from events"), "800");
    assert!(two.feed_after(owner.tenant, place, 50).await.unwrap().is_empty());
}

fn plan(transaction: &mut Transaction<'_>, sql: &str, values: &[Value]) -> Result<String, StoreError> {
    let lines: Vec<String> = transaction.all(&format!("explain (costs off) {sql}"), values, |row| row.get(0))?;
    Ok(lines.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_reads_ranges_of_indexes_and_only_the_months_it_is_about() {
    let database = TestDatabase::create().unwrap();
    let (store, owner, edge) = site(&database).await;
    let batch = (1..=3).map(|seq| incoming(&owner, &edge, seq, Body::ZoneEvents(zone_event(0)))).collect();
    store.record_events(batch).await.unwrap();
    // Many events of another tenant, in three months, so that the planner has something to choose.
    let months = [0, 28, 56].map(|days| {
        let first = EventId::first_at(UtcMillis::from_millis(at(days * 86_400_000).as_millis()));
        format!(
            "insert into events (feed_number, tenant, edge, outbox, seq, kind, camera, received_at, id, body)
             select 1000000 * {days} + n, 99, 1, 1, n, 1 + n % 2, n % 8, 0,
                 decode('{}' || lpad(to_hex(n), 20, '0'), 'hex'), '{{}}' from generate_series(1, 10000) n",
            hex::encode(first.to_bytes().first_chunk::<6>().unwrap())
        )
    });
    database.psql(&months.each_ref().map(String::as_str)).unwrap();
    database.psql(&["analyze"]).unwrap();
    let bounded = EventFilter { start: Some(at(-1_000)), end: Some(at(1_000)), ..EventFilter::default() };
    let camera = EventFilter { camera_id: "door".parse().ok(), ..bounded.clone() };
    let zone = EventFilter {
        zone_id: "lobby".parse().ok(),
        edge_id: Some(edge.edge_id.clone()),
        min_confidence: Some(0.5),
        ..bounded.clone()
    };
    let kind = EventFilter { event_type: Some(ZoneEventType::Enter), ..bounded.clone() };
    for (filter, index, partitions) in [
        (EventFilter::default(), "tenant_kind_id_idx", 6),
        (bounded, "tenant_kind_id_idx", 1),
        (camera, "tenant_kind_camera_id_idx", 1),
        (zone, "tenant_kind_zone_id_idx", 1),
        (kind, "tenant_kind_event_type_id_idx", 1),
    ] {
        let asked = filter.clone();
        let plan = store.lookup(move |transaction| {
            let page = PageRequest { before: None, limit: 50 };
            let mut tenant = TenantKey(99);
            let mut search = Search::plan(transaction, UpKind::ZoneEvents, tenant, &asked, page)?;
            if search.is_none() {
                // Names are the tenant's own, so those of the other one are asked with.
                tenant = owner.tenant;
                search = Search::plan(transaction, UpKind::ZoneEvents, tenant, &asked, page)?;
            }
            let query = search.unwrap().query(transaction, tenant, &asked, None)?;
            plan(transaction, &query.sql, &query.values)
        });
        let plan = plan.await.unwrap();
        assert!(!plan.contains("Seq Scan on events"), "{filter:?}\n{plan}");
        assert!(plan.contains(index), "{filter:?}\n{plan}");
        let read = plan.matches(" on events_").count();
        assert!(read <= partitions, "{read} partitions: {filter:?}\n{plan}");
    }
    let sql = feed_sql(Dialect::Postgres);
    let values: Vec<Value> = [99_i64, 56_009_000, 50].map(Value::from).into();
    let plan = store.lookup(move |transaction| plan(transaction, &sql, &values)).await.unwrap();
    assert!(plan.contains("tenant_feed_number_idx") && !plan.contains("Seq Scan on events"), "{plan}");
}
