//! The events of a large tenant, stored by the cloud's own store.

use std::time::Duration;

use aivms_cloud::store::{Edge, Incoming, Message, Store, TenantKey};
use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};
use aivms_tests::load;
use anyhow::{Result, ensure};

/// Edges of the tenant.
pub(crate) const EDGES: usize = 20;
const CAMERAS: usize = 8;
/// The time that the events are spread over, up to now.
const SPAN: Duration = Duration::from_secs(60 * 24 * 3600);
/// Events of a commit.
const BATCH: usize = 5_000;
/// One detection and one zone event in so many are of a class or zone that is seldom seen.
const RARE: usize = 500_000;

/// Where the events are.
pub(crate) struct Site {
    pub(crate) edges: Vec<Edge>,
    pub(crate) start: UtcMillis,
    pub(crate) end: UtcMillis,
    events: usize,
}

/// Stores `events` events, and counts them ahead as the cloud does in the background.
pub(crate) async fn fill(store: &Store, tenant: TenantKey, events: usize) -> Result<Site> {
    let edges = store.list_edges(tenant).await?;
    let end = load::utc_now();
    let site = Site { edges, start: end - SPAN, end, events };
    let mut made = 0;
    while made < events {
        let batch = (made..(made + BATCH).min(events)).map(|n| site.message(tenant, n)).collect::<Result<Vec<_>>>()?;
        made += batch.len();
        ensure!(store.record_events(batch).await?.stored > 0, "nothing was stored");
    }
    count_ahead(store, end).await?;
    Ok(site)
}

/// Counts all quarters that are over; the pause between the steps of a count passes in the time that is told.
async fn count_ahead(store: &Store, end: UtcMillis) -> Result<()> {
    let mut now = end;
    while store.begin_counts(now).await? > 0 {
        now = now + Duration::from_secs(60);
        let counts = store.counts_to_end(now).await?;
        for count in counts {
            store.end_count(count).await?;
        }
    }
    Ok(())
}

impl Site {
    /// The n-th event in the order of time; edges and cameras take turns. One in ten is a zone event.
    fn message(&self, tenant: TenantKey, n: usize) -> Result<Incoming> {
        let edge = &self.edges[n % EDGES];
        let at = self.start + SPAN.mul_f64(n as f64 / self.events as f64);
        let body = if n.is_multiple_of(10) { zone_event(n, at)? } else { detection(n, at)? };
        let outbox = format!("outbox-{}", edge.edge_id).parse()?;
        let seq = u64::try_from(n / EDGES)? + 1;
        let envelope = Envelope::new(edge.edge_id.clone(), outbox, seq, body, fastrand::u128(..));
        Ok(Incoming { tenant, edge: edge.key, received_at: at, message: Message::Known(Box::new(envelope)) })
    }
}

fn detection(n: usize, at: UtcMillis) -> Result<Body> {
    let rare = n % RARE == RARE / 2 + 7;
    Ok(Body::Detections(Detection {
        camera_id: camera(n).parse()?,
        timestamp: at,
        object_class: if rare { "bear" } else { ["person", "car", "person", "bicycle", "truck"][n % 5] }.to_owned(),
        confidence: if rare { 0.999 } else { 0.5 + (n % 40) as f32 / 100.0 },
        bbox: PixelBox::new(120.5, 80.25, 210.0, 300.75)?,
        frame: FrameSize { width: 1920, height: 1080 },
        track_id: track(n).parse()?,
        phase: TrackPhase::Update,
        age_ms: 12_400,
        stationary: false,
    }))
}

fn zone_event(n: usize, at: UtcMillis) -> Result<Body> {
    Ok(Body::ZoneEvents(ZoneEvent {
        camera_id: camera(n).parse()?,
        zone_id: if n % RARE == RARE / 2 { "vault" } else { "yard" }.parse()?,
        timestamp: at,
        event_type: if (n / 10).is_multiple_of(2) { ZoneEventType::Enter } else { ZoneEventType::Exit },
        object_class: "person".into(),
        confidence: 0.8,
        track_id: track(n).parse()?,
        bbox: PixelBox::new(120.5, 80.25, 210.0, 300.75)?,
        frame: FrameSize { width: 1920, height: 1080 },
        dwell_ms: None,
        exit_reason: None,
        direction: None,
        count: Some(1),
        speed_kmh: None,
        why: Vec::new(),
    }))
}

fn camera(n: usize) -> String {
    format!("camera-{}", n / EDGES % CAMERAS)
}

/// A track of some ten events.
pub(crate) fn track(n: usize) -> String {
    format!("{}-{}-{}", n % EDGES, n / EDGES % CAMERAS, n / (EDGES * CAMERAS * 10))
}
