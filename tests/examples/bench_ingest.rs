//! Ingest over real mutually authenticated MQTT connections into SQLite and into PostgreSQL on disk, with every commit
//! synchronised.
//!
//! 200 edges of 5 tenants publish to a cloud process of its own; the load, and PostgreSQL, share the machine's cores
//! with it. Two runs on each database: as fast as the window allows (rate), and at half the promised rate while probes
//! measure the time from publish to the row being answered by the API (latency). A third rate is that of a cloud whose
//! tenants have alert rules that look at each event.

use std::time::Duration;

use aivms_contract::id::OutboxId;
use aivms_contract::topic::UpKind;
use aivms_test_database::{SMALL_MACHINE, TestServer};
use aivms_tests::api::Api;
use aivms_tests::edge_client::EdgeIdentity;
use aivms_tests::fixtures;
use aivms_tests::fleet::Fleet;
use aivms_tests::ledger;
use aivms_tests::load::{self, Pace};
use aivms_tests::report::Row;
use aivms_tests::site::{Cloud, CloudSettings};
use anyhow::{Result, ensure};
use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const TENANTS: usize = 5;
const EDGES_PER_TENANT: usize = 40;
/// Events per edge of the unpaced run.
const BURST_EVENTS: u64 = 2_000;
const STEADY_SECONDS: u64 = 15;
/// Alert rules of each tenant in the run with rules.
const RULES: usize = 10;
/// Probes under way at once.
const PROBERS: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = directory_in_target()?;
    let cloud = Cloud::start(directory.path(), None).await?;
    measure("ingest", &cloud, 10_000.0, || Ok(u64::try_from(ledger::stored(&cloud.database())?.len())?)).await?;
    drop(cloud);
    with_rules("ingest.rules", &directory_in_target()?, CloudSettings::default()).await?;

    let server = TestServer::start(&SMALL_MACHINE)?;
    let settings = CloudSettings { database_url: Some(server.create_database("bench")?), ..CloudSettings::default() };
    let directory = directory_in_target()?;
    let cloud = Cloud::start_with(directory.path(), settings).await?;
    let stored = || Ok(server.psql("bench", &["select count(*) from events"])?.trim().parse()?);
    measure("ingest.postgres", &cloud, 5_000.0, stored).await?;
    drop(cloud);
    let settings = CloudSettings { database_url: Some(server.create_database("rules")?), ..CloudSettings::default() };
    with_rules("ingest.postgres.rules", &directory_in_target()?, settings).await
}

/// A folder on the disk that the target directory is on, which is not one in memory.
fn directory_in_target() -> Result<TempDir> {
    Ok(tempfile::tempdir_in(fixtures::target()?)?)
}

/// Measures the rate at which a cloud takes events that [`RULES`] of each tenant look at.
async fn with_rules(name: &str, directory: &TempDir, settings: CloudSettings) -> Result<()> {
    let cloud = Cloud::start_with(directory.path(), settings).await?;
    let fleet = Fleet::enroll(&cloud.base, TENANTS, EDGES_PER_TENANT).await?;
    for owner in &fleet.tenants {
        for number in 0..RULES {
            // Half of them want what each event of the load is; of those, each raises an alert once a minute and camera.
            let class = if number % 2 == 0 { "person" } else { "car" };
            let rule = json!({ "name": format!("Rule {number}"), "kind": "detection", "severity": "warning",
                "classes": [class], "cooldown_s": 60 });
            owner.post("/api/rules", rule).await?;
        }
    }
    let (events, elapsed) = fleet.publish(Pace { events: BURST_EVENTS, rate: None, window: 200 }).await?;
    Row::new(&format!("{name}.rate"), events as f64 / elapsed.as_secs_f64(), "events/s").print();
    let alerts = fleet.tenants[0].get("/api/events/alerts?limit=100").await?["items"].as_array().map_or(0, Vec::len);
    ensure!(alerts >= EDGES_PER_TENANT, "{alerts} alerts of {EDGES_PER_TENANT} edges: the rules looked at nothing");
    Ok(())
}

/// Measures one cloud; `steady_rate` is in events/s over all edges, `stored` counts the rows there are.
async fn measure(name: &str, cloud: &Cloud, steady_rate: f64, stored: impl Fn() -> Result<u64>) -> Result<()> {
    let fleet = Fleet::enroll(&cloud.base, TENANTS, EDGES_PER_TENANT).await?;
    let (events, elapsed) = fleet.publish(Pace { events: BURST_EVENTS, rate: None, window: 200 }).await?;
    let rows = stored()?;
    ensure!(rows == events, "{events} events were acknowledged, {rows} are stored");
    Row::new(&format!("{name}.rate"), events as f64 / elapsed.as_secs_f64(), "events/s").print();

    let rate = steady_rate / (TENANTS * EDGES_PER_TENANT) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive count")]
    let steady = Pace { events: rate as u64 * STEADY_SECONDS, rate: Some(rate), window: 1_000 };
    let owner = &fleet.tenants[0];
    let mut probes = JoinSet::new();
    for prober in 0..PROBERS {
        let identity = EdgeIdentity::enroll(owner, &cloud.base, &format!("probe {prober}")).await?;
        probes.spawn(probe(identity, owner.clone(), Duration::from_secs(STEADY_SECONDS)));
    }
    let (events, elapsed) = fleet.publish(steady).await?;
    Row::new(&format!("{name}.steady"), events as f64 / elapsed.as_secs_f64(), "events/s").print();
    let mut waits: Vec<Duration> = probes.join_all().await.into_iter().collect::<Result<Vec<_>>>()?.concat();
    waits.sort();
    ensure!(waits.len() >= 100, "only {} probes", waits.len());
    for place in [50, 99] {
        let wait = waits[waits.len() * place / 100];
        Row::new(&format!("{name}.queryable.p{place}"), wait.as_secs_f64() * 1e3, "ms").print();
    }
    Ok(())
}

/// Publishes one event after the other and asks the API for each until it is there.
async fn probe(identity: EdgeIdentity, api: Api, span: Duration) -> Result<Vec<Duration>> {
    let (mut reader, mut writer) = identity.connect().await?;
    tokio::spawn(async move { while reader.next().await.is_ok() {} });
    let topic = identity.up_topic(UpKind::Detections);
    let outbox = OutboxId::from_random(fastrand::u128(..));
    let end = Instant::now() + span;
    let mut waits = Vec::new();
    let mut seq = 0;
    while Instant::now() < end {
        seq += 1;
        let event = load::event(&identity.edge, &outbox, "probe", seq, load::utc_now());
        let path = format!(
            "/api/events/detections?limit=1&start_time={}&track_id=probe-load-{seq}&edge_id={}",
            event.at, identity.edge
        );
        let published = Instant::now();
        writer.publish(&topic, 1, Bytes::from(event.to_json()))?;
        writer.flush().await?;
        while api.get(&path).await?["items"].as_array().is_none_or(Vec::is_empty) {
            ensure!(published.elapsed() < Duration::from_secs(10), "an event did not become queryable");
            sleep(Duration::from_millis(3)).await;
        }
        waits.push(published.elapsed());
    }
    Ok(waits)
}
