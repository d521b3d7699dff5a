//! The suite, and what only PostgreSQL must keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aivms_contract::time::UtcMillis;
use aivms_test_database::{TestDatabase, TestServer};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Receiver;

use super::super::sql::{Transaction, values};
use super::super::suite::store_suite;
use super::super::{NewTenant, News, Peer, Presence, RelayHome, SharedStore, Store, StoreError, TenantKey, UserKey};

pub(super) fn open(database: &TestDatabase) -> SharedStore {
    open_url(database.url())
}

fn open_url(url: &str) -> SharedStore {
    let settings = url.parse().unwrap();
    let opened = tokio::task::block_in_place(|| Handle::current().block_on(Store::open_postgres(&settings)));
    Arc::new(opened.unwrap())
}

store_suite!(TestDatabase::create().unwrap(), open);

fn count(transaction: &mut Transaction<'_>) -> Result<i64, StoreError> {
    number(transaction, "select count(*) from tenants")
}

fn number(transaction: &mut Transaction<'_>, sql: &str) -> Result<i64, StoreError> {
    transaction.first(sql, &[], |row| row.get(0)).map(Option::unwrap_or_default)
}

fn add(transaction: &mut Transaction<'_>, name: &str) -> Result<(), StoreError> {
    let sql = "insert into tenants (tenant_id, name, created_at) values (?1, '', 0)";
    transaction.execute(sql, &values![name]).map(drop)
}

/// Waits until nothing of the test's own connections is inside a transaction, and returns how many there are.
async fn connections_at_rest(database: &TestDatabase) -> i64 {
    let asked = "select count(*) filter (where state <> 'idle'), count(*) from pg_stat_activity
                 where datname = current_database() and application_name like 'aivms-cloud%'";
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = database.psql(&[asked]).unwrap();
        let (busy, all) = answer.trim().split_once('|').unwrap();
        if busy == "0" || Instant::now() > deadline {
            assert_eq!(busy, "0", "connections inside a transaction");
            return all.parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_that_give_up_leave_no_transaction_open_and_only_whole_ones_behind() {
    let database = TestDatabase::create().unwrap();
    let store = open(&database);
    for turn in 0..1_000 {
        let work = store.write(move |transaction| {
            add(transaction, &format!("one-{turn}"))?;
            add(transaction, &format!("two-{turn}"))
        });
        // From the first poll to some time after the usual end.
        let _ = tokio::time::timeout(Duration::from_micros(turn % 50 * 100), work).await;
    }
    let connections = connections_at_rest(&database).await;
    assert!(connections <= 20, "{connections} connections");
    let halves = "select count(*) from tenants a where not exists
                  (select 1 from tenants b where substr(b.tenant_id, 5) = substr(a.tenant_id, 5) and b.id <> a.id)";
    assert_eq!(store.lookup(move |transaction| number(transaction, halves)).await.unwrap(), 0);
    let kept = store.lookup(count).await.unwrap();
    assert!((1..=2_000).contains(&kept), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_meet_run_again_until_each_has_happened_as_if_alone() {
    let database = TestDatabase::create().unwrap();
    let store = open(&database);
    store.write(|transaction| add(transaction, "counter")).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let adders = (0..8).map(|_| {
        let (store, runs) = (Arc::clone(&store), Arc::clone(&runs));
        tokio::spawn(async move {
            for _ in 0..20 {
                let runs = Arc::clone(&runs);
                let read_then_write = move |transaction: &mut Transaction<'_>| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    let now = number(transaction, "select created_at from tenants")?;
                    transaction.execute("update tenants set created_at = ?1", &values![now + 1])
                };
                store.write(read_then_write).await.unwrap();
            }
        })
    });
    for adder in adders.collect::<Vec<_>>() {
        adder.await.unwrap();
    }
    let sum = store.lookup(|transaction| number(transaction, "select created_at from tenants")).await.unwrap();
    assert_eq!(sum, 160);
    assert!(runs.load(Ordering::Relaxed) > 160, "none of them met another one");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_register_one_name_at_the_same_time_get_one_tenant_and_one_clear_refusal() {
    let database = TestDatabase::create().unwrap();
    let (one, two) = (open(&database), open(&database));
    for turn in 0..20 {
        let register = |store: &SharedStore, person: &str| {
            let (store, email) = (Arc::clone(store), format!("{person}-{turn}@acme.example"));
            let slug = format!("acme-{turn}");
            let (tenant_id, tenant_name) = (slug.parse().unwrap(), slug);
            let tenant = NewTenant { tenant_id, tenant_name, email, name: "P".into(), password_hash: "x".into() };
            async move { store.register_tenant(tenant, UtcMillis::from_millis(0)).await }
        };
        let both = tokio::join!(register(&one, "ann"), register(&two, "bob"));
        let (made, refused) = match both {
            (Ok(made), Err(refused)) | (Err(refused), Ok(made)) => (made, refused),
            other => panic!("{other:?}"),
        };
        assert!(matches!(refused, StoreError::Taken("tenant_name")), "{refused:?}");
        assert_eq!(made.tenant_id.as_str(), format!("acme-{turn}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_or_panicking_write_leaves_nothing_and_stops_nobody() {
    let database = TestDatabase::create().unwrap();
    let store = open(&database);
    for _ in 0..10 {
        let failed = store.write(|transaction| add(transaction, "x").and(Err::<(), _>(StoreError::NotFound))).await;
        assert!(matches!(failed, Err(StoreError::NotFound)));
        let panicked = store.write(|transaction| -> Result<(), StoreError> {
            add(transaction, "x")?;
            panic!("a defect")
        });
        assert!(matches!(panicked.await, Err(StoreError::Database(_))));
        // A failure that the work does not pass on must not end in a commit that only looks like one.
        let swallowed = store.write(|transaction| {
            add(transaction, "x")?;
            let _ = transaction.execute("this is no SQL", &[]);
            Ok(())
        });
        assert!(matches!(swallowed.await, Err(StoreError::Database(_))));
    }
    store.write(|transaction| add(transaction, "x")).await.unwrap();
    assert_eq!(store.lookup(count).await.unwrap(), 1);
    connections_at_rest(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_can_not_write() {
    let database = TestDatabase::create().unwrap();
    let store = open(&database);
    let refused = store.lookup(|transaction| transaction.execute("delete from tenants", &[])).await;
    assert!(matches!(refused, Err(StoreError::Unwritable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_takes_too_long_is_broken_off_and_leaves_room_to_other_tenants() {
    let database = TestDatabase::create().unwrap();
    let store = open(&database);
    let sleep = |transaction: &mut Transaction<'_>| transaction.exists("select pg_sleep(20)", &[]);
    let slow: Vec<_> = (0..12)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.list(TenantKey(1), sleep).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let others = tokio::time::timeout(Duration::from_secs(2), store.list(TenantKey(2), count));
    assert_eq!(others.await.expect("a connection is free").unwrap(), 0);
    let first = slow.into_iter().next().unwrap().await.unwrap();
    assert!(matches!(first, Err(StoreError::TooSlow)), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_is_told_apart() {
    let database = TestDatabase::create().unwrap();
    let store = open(&database);
    // The server itself raises the states that a test can't bring about.
    for (state, unwritable) in [("53100", true), ("25006", true), ("57P01", true), ("23502", false), ("40001", true)] {
        let raise = format!("do $$ begin raise exception 'as asked' using errcode = '{state}'; end $$");
        let failed = store.write(move |transaction| transaction.execute(&raise, &[])).await.unwrap_err();
        assert_eq!(matches!(failed, StoreError::Unwritable(_)), unwritable, "{state}: {failed:?}");
        assert!(failed.to_string().contains(state), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_used_again_and_what_was_said_meanwhile_counts_as_missed() {
    let mut server = TestServer::start(&[]).unwrap();
    let url = server.create_database("cloud").unwrap();
    let (store, other) = (open_url(&url), open_url(&url));
    let mut news = listening(&other).await;
    store.write(|transaction| add(transaction, "before")).await.unwrap();
    server.crash();
    let gone = store.write(|transaction| add(transaction, "meanwhile")).await;
    assert!(matches!(gone, Err(StoreError::Unwritable(_))), "{gone:?}");
    let gone = store.lookup(count).await;
    assert!(matches!(gone, Err(StoreError::Unwritable(_))), "{gone:?}");
    server.resume().unwrap();
    store.write(|transaction| add(transaction, "after")).await.unwrap();
    assert_eq!(other.lookup(count).await.unwrap(), 2);
    wait_for(&mut news, &News::Missed).await;
    tell(&store, News::User(UserKey(3))).await;
    wait_for(&mut news, &News::User(UserKey(3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_reach_every_process_once_and_only_with_the_commit() {
    let database = TestDatabase::create().unwrap();
    let (one, two) = (open(&database), open(&database));
    let mut heard = [listening(&one).await, listening(&two).await];
    // What the second one told while it began to listen.
    tell(&one, News::Missed).await;
    for news in &mut heard {
        wait_for(news, &News::Missed).await;
    }
    let untold = one.write(|transaction| {
        transaction.announce(News::Deliveries);
        add(transaction, "x").and(Err::<(), _>(StoreError::NotFound))
    });
    untold.await.unwrap_err();
    tell(&two, News::Alerts(TenantKey(7))).await;
    for news in &mut heard {
        assert_eq!(news.recv().await.unwrap(), News::Alerts(TenantKey(7)));
        assert!(tokio::time::timeout(Duration::from_millis(200), news.recv()).await.is_err(), "told twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_together_bring_an_empty_database_to_the_schema_once() {
    let database = TestDatabase::create().unwrap();
    let settings = database.url().parse().unwrap();
    let open = || Store::open_postgres(&settings);
    let opened = tokio::join!(open(), open(), open(), open());
    opened.0.unwrap();
    opened.1.unwrap();
    opened.2.unwrap();
    opened.3.unwrap();
    let versions = database.psql(&["select count(*), count(distinct version), max(version) from schema_version"]);
    let steps = super::super::migrations::STEPS.len();
    assert_eq!(versions.unwrap().trim(), format!("{steps}|{steps}|{steps}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_program_is_refused_by_its_version() {
    let database = TestDatabase::create().unwrap();
    drop(open(&database));
    database.psql(&["insert into schema_version values (99)"]).unwrap();
    let error = Store::open_postgres(&database.url().parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_said_so_without_the_password() {
    let settings = "postgres://aivms:hush-hush@127.0.0.1:1/cloud".parse().unwrap();
    let error = Store::open_postgres(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::Unwritable(_)));
    assert!(error.to_string().contains("refused") && !error.to_string().contains("hush"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_edges_of_a_process_that_fell_silent_are_marked_as_gone() {
    let database = TestDatabase::create().unwrap();
    let (one, two) = (open(&database), open(&database));
    one.join_processes(None).await.unwrap();
    two.join_processes(None).await.unwrap();
    let at = UtcMillis::from_millis(1);
    let owner = one.register_tenant(acme(), at).await.unwrap();
    let mut edges = Vec::new();
    for (store, name) in [(&one, "edge_one"), (&two, "edge_two")] {
        let edge = store.create_edge(owner.tenant, &name.parse().unwrap(), name, [0; 32], at).await.unwrap();
        let generation = store.next_connection().await.unwrap();
        store.record_presence(Presence { edge: edge.key, generation, up: true, at }).await.unwrap();
        edges.push((edge, generation));
    }
    let connected = |store: SharedStore| async move {
        let edges = store.list_edges(owner.tenant).await.unwrap();
        edges.iter().map(|edge| edge.connected).collect::<Vec<_>>()
    };
    assert!(two.stay_alive().await.unwrap());
    assert_eq!(connected(Arc::clone(&two)).await, [true, true], "both live");
    // The first one has hung for longer than its lease.
    let oldest =
        "update processes set alive_until = 0 where id = (select process from edges where edge_id = 'edge_one')";
    database.psql(&[oldest]).unwrap();
    assert!(two.stay_alive().await.unwrap());
    assert_eq!(connected(Arc::clone(&two)).await, [false, true]);
    // It was not dead after all, and finds out.
    assert!(!one.stay_alive().await.unwrap());
    let (edge, generation) = edges.first().unwrap();
    one.still_connected(edge.key, *generation).await.unwrap();
    assert_eq!(connected(Arc::clone(&one)).await, [true, true]);
    assert!(one.stay_alive().await.unwrap());
    one.leave_processes().await.unwrap();
    let third = open(&database);
    third.join_processes(None).await.unwrap();
    assert_eq!(connected(third).await, [false, true], "a start marks nobody's edges but the dead's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_of_an_edge_is_one_process_business_until_that_one_is_gone_or_does_not_answer() {
    let database = TestDatabase::create().unwrap();
    let (one, two) = (open(&database), open(&database));
    one.join_processes(Some("one:1".into())).await.unwrap();
    two.join_processes(Some("two:2".into())).await.unwrap();
    let (at, edge_id) = (UtcMillis::from_millis(1), "edge_one".parse().unwrap());
    let owner = one.register_tenant(acme(), at).await.unwrap();
    let edge = one.create_edge(owner.tenant, &edge_id, "One", [0; 32], at).await.unwrap().key;
    let there = |store: &SharedStore, address: &str| {
        RelayHome::There(Peer { process: store.process().to_owned(), address: address.to_owned() })
    };
    let (first, second) = tokio::join!(one.relay_home(edge), two.relay_home(edge));
    let (first, second) = (first.unwrap(), second.unwrap());
    let (home, other, address) = if first == RelayHome::Here { (&one, &two, "one:1") } else { (&two, &one, "two:2") };
    assert!([&first, &second].contains(&&there(home, address)), "of two at once one has it: {first:?}, {second:?}");
    assert_eq!(home.relay_home(edge).await.unwrap(), RelayHome::Here);

    let mut news = listening(home).await;
    assert_eq!(
        other.take_relay(edge, Some("somebody else")).await.unwrap(),
        there(home, address),
        "that one has it not"
    );
    assert_eq!(other.take_relay(edge, Some(home.process())).await.unwrap(), RelayHome::Here);
    wait_for(&mut news, &News::RelayTaken(edge)).await;
    assert!(matches!(home.relay_home(edge).await.unwrap(), RelayHome::There(_)), "and finds that it is gone");
    other.call_edge(edge).await.unwrap();
    wait_for(&mut news, &News::RelayWanted(edge)).await;

    other.leave_processes().await.unwrap();
    assert_eq!(home.relay_home(edge).await.unwrap(), RelayHome::Here, "who leaves leaves its relays");
    database.psql(&["update processes set alive_until = 0"]).unwrap();
    assert!(!other.stay_alive().await.unwrap());
    assert_eq!(other.relay_home(edge).await.unwrap(), RelayHome::Here, "and so does who falls silent");
}

fn acme() -> NewTenant {
    NewTenant {
        tenant_id: "acme".parse().unwrap(),
        tenant_name: "Acme".into(),
        email: "ann@acme.example".into(),
        name: "Ann".into(),
        password_hash: "x".into(),
    }
}

async fn tell(store: &SharedStore, news: News) {
    let told = store.write(move |transaction| {
        transaction.announce(news.clone());
        number(transaction, "select 1").map(drop)
    });
    told.await.unwrap();
}

/// News of a store that certainly hears what is told from now on.
async fn listening(store: &SharedStore) -> Receiver<News> {
    let mut news = store.news();
    loop {
        tell(store, News::User(UserKey(0))).await;
        if let Ok(Ok(News::User(_))) = tokio::time::timeout(Duration::from_millis(200), news.recv()).await {
            return news;
        }
    }
}

async fn wait_for(news: &mut Receiver<News>, wanted: &News) {
    let heard = async { while news.recv().await.unwrap() != *wanted {} };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("the news came");
}
