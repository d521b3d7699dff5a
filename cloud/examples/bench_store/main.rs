//! Measures inserts into a new database file on disk, without MQTT: `bench_store [EVENTS] [BATCH] [DIRECTORY]`.
//!
//! Prints one JSON line per figure, as `make bench` reads them.
#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod raw_rate;

use std::path::PathBuf;
use std::sync::Arc;

use aivms_cloud::store::{SharedStore, Store};

use anyhow::{Context, Result};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse()).context("a number");
    let (events, batch) = (number(200_000)?, number(1_000)?);
    let directory = arguments.next().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = tempfile::tempdir_in(directory)?;
    let store: SharedStore = Arc::new(Store::open_sqlite(&folder.path().join("cloud.db"))?);
    let rate = raw_rate::measure(&store, 50, events / batch, batch).await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let written_kib = rate.written_bytes as f64 / 1024.0 / rate.events as f64;
    for (bench, value, unit) in [
        ("store.raw", rate.events_per_second(), "events/s"),
        ("store.raw.cpu", rate.cpu_micros_per_event(), "µs/event"),
        ("store.raw.written", written_kib, "KiB/event"),
    ] {
        println!("{}", json!({ "bench": bench, "value": value, "unit": unit }));
    }
    Ok(())
}
