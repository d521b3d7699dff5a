//! Ingest over real mutually authenticated MQTT connections into SQLite on disk, beside the same inserts without MQTT.
//!
//! 50 edges of 5 tenants publish to a cloud process of its own; the load shares the machine's cores with it. Two runs:
//! as fast as the window allows (rate), and at a steady 10,000 events/s while probes measure the time from publish to
//! the row being answered by the API (latency).

use std::path::Path;
use std::time::Duration;

use aivms_contract::id::OutboxId;
use aivms_contract::topic::UpKind;
use aivms_tests::api::Api;
use aivms_tests::edge_client::EdgeIdentity;
use aivms_tests::ledger;
use aivms_tests::load::{self, Pace};
use aivms_tests::report::Row;
use aivms_tests::site::Cloud;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const TENANTS: usize = 5;
const EDGES_PER_TENANT: usize = 10;
/// Events per edge of the unpaced run.
const BURST_EVENTS: u64 = 4_000;
/// Steady rate of the paced run over all edges.
const STEADY_RATE: f64 = 10_000.0;
const STEADY_SECONDS: u64 = 15;
/// Probes under way at once.
const PROBERS: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir_in(own_target()?)?;
    let cloud = Cloud::start(directory.path(), None).await?;
    let mut tenants = Vec::new();
    let mut edges = Vec::new();
    for tenant in 0..TENANTS {
        let api = Api::register(&cloud.base, &format!("bench-{tenant}")).await?;
        for edge in 0..EDGES_PER_TENANT {
            edges.push(EdgeIdentity::enroll(&api, &cloud.base, &format!("edge {edge}")).await?);
        }
        tenants.push(api);
    }
    let burst = Pace { events: BURST_EVENTS, rate: None, window: 200 };
    let (events, elapsed) = run(&edges, burst).await?;
    check_stored(&cloud, events)?;
    Row::new("ingest.rate", events as f64 / elapsed.as_secs_f64(), "events/s").print();

    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let rate = STEADY_RATE / edges.len() as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive count")]
    let steady = Pace { events: rate as u64 * STEADY_SECONDS, rate: Some(rate), window: 1_000 };
    let mut probes = JoinSet::new();
    for prober in 0..PROBERS {
        let identity = EdgeIdentity::enroll(&tenants[0], &cloud.base, &format!("probe {prober}")).await?;
        probes.spawn(probe(identity, tenants[0].clone(), Duration::from_secs(STEADY_SECONDS)));
    }
    let (events, elapsed) = run(&edges, steady).await?;
    Row::new("ingest.steady", events as f64 / elapsed.as_secs_f64(), "events/s").print();
    let mut waits: Vec<Duration> = probes.join_all().await.into_iter().collect::<Result<Vec<_>>>()?.concat();
    waits.sort();
    ensure!(waits.len() >= 100, "only {} probes", waits.len());
    for (name, place) in [("ingest.queryable.p50", 50), ("ingest.queryable.p99", 99)] {
        Row::new(name, waits[waits.len() * place / 100].as_secs_f64() * 1e3, "ms").print();
    }
    Ok(())
}

/// What was acknowledged is in the database, each event once.
fn check_stored(cloud: &Cloud, events: u64) -> Result<()> {
    let rows = u64::try_from(ledger::stored(&cloud.database())?.len())?;
    ensure!(rows == events, "{events} events were acknowledged, {rows} are stored");
    Ok(())
}

/// The target folder of this build: on the same disk as the project, unlike /tmp on some machines.
fn own_target() -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    own.parent().and_then(Path::parent).map(Path::to_owned).context("target folder")
}

async fn run(edges: &[EdgeIdentity], pace: Pace) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for edge in edges {
        tasks.spawn(load::publish(edge.clone(), pace));
    }
    let sent = tasks.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    Ok((sent.iter().map(|sent| sent.acknowledged).sum(), start.elapsed()))
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
