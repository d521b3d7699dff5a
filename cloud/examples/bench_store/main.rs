//! Measures inserts into a new database on disk, without MQTT: `bench_store [EVENTS] [BATCH] [DIRECTORY]`. First into
//! a file of SQLite, then into a PostgreSQL server of its own, which shares the machine's cores with it.
//!
//! Prints one JSON line per figure, as `make bench` reads them.
#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod raw_rate;

use std::path::PathBuf;
use std::sync::Arc;

use aivms_cloud::store::{SharedStore, Store};
use aivms_test_database::{SMALL_MACHINE, TestServer};
use anyhow::{Context, Result};
use serde_json::json;

const EDGES: usize = 50;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse()).context("a number");
    let (events, batch) = (number(200_000)?, number(1_000)?);
    let directory = arguments.next().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    sqlite(events, batch, directory).await?;
    postgres(events, batch).await
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn sqlite(events: usize, batch: usize, directory: PathBuf) -> Result<()> {
    let folder = tempfile::tempdir_in(directory)?;
    let store: SharedStore = Arc::new(Store::open_sqlite(&folder.path().join("cloud.db"))?);
    let rate = raw_rate::measure(&store, EDGES, events / batch, batch).await?;
    print("store.raw", rate.events_per_second(), "events/s");
    print("store.raw.cpu", rate.cpu_micros_per_event(), "µs/event");
    print("store.raw.written", rate.written_bytes as f64 / 1024.0 / rate.events as f64, "KiB/event");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn postgres(events: usize, batch: usize) -> Result<()> {
    let server = TestServer::start(&SMALL_MACHINE)?;
    let url = server.create_database("bench")?;
    let store: SharedStore = Arc::new(Store::open_postgres(&url.parse()?).await?);
    let ask = |sql: &str| -> Result<f64> { Ok(server.psql("bench", &[sql])?.trim().parse()?) };
    let (wal, size) = ("select pg_current_wal_lsn() - '0/0'::pg_lsn", "select pg_database_size('bench')");
    let before = (ask(wal)?, ask(size)?);
    let rate = raw_rate::measure(&store, EDGES, events / batch, batch).await?;
    let after = (ask(wal)?, ask(size)?);
    let per_event = |bytes: f64| bytes / 1024.0 / rate.events as f64;
    print("store.postgres.raw", rate.events_per_second(), "events/s");
    print("store.postgres.raw.cpu", rate.cpu_micros_per_event(), "µs/event");
    print("store.postgres.raw.wal", per_event(after.0 - before.0), "KiB/event");
    print("store.postgres.raw.size", per_event(after.1 - before.1), "KiB/event");
    Ok(())
}

fn print(bench: &str, value: f64, unit: &str) {
    println!("{}", json!({ "bench": bench, "value": value, "unit": unit }));
}
