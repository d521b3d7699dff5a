//! The rate of inserts without anything before them: what ingest over MQTT is compared with.

use std::time::{Duration, Instant};

use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use anyhow::{Context, Result};

use aivms_cloud::store::{Edge, Incoming, Message, NewTenant, SharedStore, User};

/// What was inserted how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRate {
    /// Events stored.
    pub(crate) events: u64,
    /// Wall time of the inserts.
    pub(crate) elapsed: Duration,
    /// Processor time of the whole process during the inserts.
    pub(crate) cpu: Duration,
    /// Bytes the process caused to be written to disk during the inserts.
    pub(crate) written_bytes: u64,
}

impl RawRate {
    /// Events stored per second of wall time.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 events")]
    pub(crate) fn events_per_second(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time per event in microseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 events")]
    pub(crate) fn cpu_micros_per_event(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.events as f64
    }
}

/// Stores `batches` of `batch_size` detections from `edges` edges, one batch after the other, in a tenant made for it.
///
/// # Errors
/// The store fails, or does not store each event exactly once.
pub(crate) async fn measure(store: &SharedStore, edges: usize, batches: usize, batch_size: usize) -> Result<RawRate> {
    let (owner, edges) = fleet(store, edges).await?;
    let mut made = 0;
    let batches: Vec<Vec<Incoming>> = (0..batches)
        .map(|_| {
            let batch = (made..made + batch_size).map(|n| message(&owner, &edges, n)).collect::<Result<_>>();
            made += batch_size;
            batch
        })
        .collect::<Result<_>>()?;
    let (started, cpu, written) = (Instant::now(), cpu_time()?, written_bytes()?);
    let mut events = 0;
    for batch in batches {
        events += store.record_events(batch).await?.stored;
    }
    anyhow::ensure!(usize::try_from(events)? == made, "stored {events} of {made} events");
    Ok(RawRate {
        events,
        elapsed: started.elapsed(),
        cpu: cpu_time()?.saturating_sub(cpu),
        written_bytes: written_bytes()? - written,
    })
}

async fn fleet(store: &SharedStore, count: usize) -> Result<(User, Vec<Edge>)> {
    let now = UtcMillis::from_millis(1_795_352_700_000);
    let slug = format!("raw-rate-{:08x}", fastrand::u32(..));
    let tenant = NewTenant {
        tenant_id: slug.parse()?,
        tenant_name: "Raw rate".into(),
        email: format!("{slug}@example.com"),
        name: "Raw rate".into(),
        password_hash: String::new(),
    };
    let owner = store.register_tenant(tenant, now).await?;
    let mut edges = Vec::with_capacity(count);
    for _ in 0..count {
        let edge_id = EdgeId::from_random(fastrand::u128(..));
        edges.push(store.create_edge(owner.tenant, &edge_id, "raw rate", [0; 32], now).await?);
    }
    Ok((owner, edges))
}

/// The n-th event: edges take turns, each has eight cameras, one event every 10 ms over all of them.
fn message(owner: &User, edges: &[Edge], n: usize) -> Result<Incoming> {
    let edge = edges.get(n % edges.len()).context("no edges")?;
    let place = n / edges.len();
    let at = UtcMillis::from_millis(1_795_352_700_000 + i64::try_from(n)? * 10);
    let detection = Detection {
        camera_id: format!("camera-{}", place % 8).parse()?,
        timestamp: at,
        object_class: if place.is_multiple_of(3) { "car" } else { "person" }.into(),
        confidence: 0.75,
        bbox: PixelBox::new(120.5, 80.25, 210.0, 300.75)?,
        frame: FrameSize { width: 1920, height: 1080 },
        track_id: format!("{:016x}-{}", fastrand::u64(..), place % 100).parse()?,
        phase: TrackPhase::Update,
        age_ms: 12_400,
        stationary: false,
    };
    let outbox = format!("outbox-{}", edge.edge_id).parse()?;
    let seq = u64::try_from(place)? + 1;
    let envelope = Envelope::new(edge.edge_id.clone(), outbox, seq, Body::Detections(detection), fastrand::u128(..));
    Ok(Incoming { tenant: owner.tenant, edge: edge.key, received_at: at, message: Message::Known(Box::new(envelope)) })
}

fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // The kernel shows processor time in hundredths of a second on every Linux.
    Ok(Duration::from_millis(ticks * 10))
}

fn written_bytes() -> Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io").context("reading /proc/self/io")?;
    let line =
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("/proc/self/io: no write_bytes")?;
    Ok(line.trim().parse()?)
}
