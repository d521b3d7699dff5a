//! Prints the rate of inserts into a new database file, without MQTT: `bench_store [EVENTS] [BATCH] [DIRECTORY]`.
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::path::PathBuf;
use std::sync::Arc;

use aivms_cloud::store::SharedStore;
use aivms_cloud::store::raw_rate::measure;
use aivms_cloud::store::sqlite::SqliteStore;
use anyhow::{Context, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse()).context("a number");
    let (events, batch) = (number(200_000)?, number(1_000)?);
    let directory = arguments.next().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = directory.join(format!("bench-store-{}.db", std::process::id()));
    let store: SharedStore = Arc::new(SqliteStore::open(&path)?);
    let rate = measure(&store, 50, events / batch, batch).await?;
    println!(
        "{} events in batches of {batch}: {:.0} events/s, {:.1} us CPU per event, {:.2} KiB written per event",
        rate.events,
        rate.events_per_second(),
        rate.cpu_micros_per_event(),
        rate.written_bytes as f64 / 1024.0 / rate.events as f64,
    );
    drop(store);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    Ok(())
}
