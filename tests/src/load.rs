//! Many edges that publish at a set rate over real connections, for the ingest benchmark and test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aivms_contract::ack::Ack;
use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::{EdgeId, OutboxId};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rumqttc::mqttbytes::v4::Packet;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::edge_client::{EdgeIdentity, PacketReader, PacketWriter};

/// Time between two bursts of a paced edge.
const BURST_INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait for the last acknowledgement.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);

/// How one edge publishes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Events to publish.
    pub events: u64,
    /// Events per second; `None` for as fast as the window allows.
    pub rate: Option<f64>,
    /// Most publishes without PUBACK.
    pub window: usize,
}

/// What one edge measured.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Events published and covered by `down/acks`.
    pub acknowledged: u64,
    /// From the first publish to the acknowledgement of the last.
    pub elapsed: Duration,
}

/// Makes the `seq`th event of a load: about 300 bytes of JSON body with its keys.
#[must_use]
pub fn event(edge: &EdgeId, outbox: &OutboxId, camera: &str, seq: u64, at: UtcMillis) -> Envelope {
    let body = Body::Detections(Detection {
        camera_id: camera.parse().expect("a slug"),
        timestamp: at,
        object_class: "person".into(),
        confidence: 0.75,
        bbox: PixelBox::new(412.5, 208.0, 448.25, 310.75).expect("ordered corners"),
        frame: FrameSize { width: 768, height: 576 },
        track_id: format!("{camera}-load-{seq}").parse().expect("a slug"),
        phase: TrackPhase::Update,
        age_ms: 600,
        stationary: false,
    });
    Envelope::new(edge.clone(), outbox.clone(), seq, body, fastrand::u128(..))
}

/// Wall time now.
#[must_use]
pub fn utc_now() -> UtcMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UtcMillis::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A connected edge that hears its acknowledgements and has published nothing yet.
#[derive(Debug)]
pub struct Publisher {
    identity: EdgeIdentity,
    reader: PacketReader,
    writer: PacketWriter,
}

impl Publisher {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// The front refuses.
    pub async fn connect(identity: EdgeIdentity) -> Result<Self> {
        let (mut reader, mut writer) = identity.connect().await?;
        writer.subscribe(&identity.down_filter(), 1)?;
        writer.flush().await?;
        while !matches!(reader.next().await?, Packet::SubAck(_)) {}
        Ok(Self { identity, reader, writer })
    }

    /// Publishes until everything is acknowledged by the cloud's database.
    ///
    /// # Errors
    /// The connection ended or the last acknowledgement did not come.
    pub async fn publish(mut self, pace: Pace) -> Result<Sent> {
        let outbox = OutboxId::from_random(fastrand::u128(..));
        let window = Arc::new(Semaphore::new(pace.window));
        let through = Arc::new(AtomicU64::new(0));
        let (done, finished) = oneshot::channel();
        let reading =
            read_acks(self.reader, pace.events, outbox.clone(), Arc::clone(&window), Arc::clone(&through), done);
        let acks = tokio::spawn(reading);
        let start = Instant::now();
        write_events(&self.identity, &mut self.writer, &outbox, pace, &window).await?;
        timeout(DRAIN_DEADLINE, finished).await.context("the last event was not acknowledged")??;
        let elapsed = start.elapsed();
        acks.abort();
        let acknowledged = through.load(Ordering::Relaxed);
        ensure!(acknowledged == pace.events, "acknowledged {acknowledged} of {}", pace.events);
        Ok(Sent { acknowledged, elapsed })
    }
}

async fn write_events(
    identity: &EdgeIdentity,
    writer: &mut PacketWriter,
    outbox: &OutboxId,
    pace: Pace,
    window: &Semaphore,
) -> Result<()> {
    let topic = identity.up_topic(UpKind::Detections);
    let mut ticks = interval(BURST_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = Instant::now();
    let mut seq = 0;
    while seq < pace.events {
        let due = match pace.rate {
            Some(rate) => {
                ticks.tick().await;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
                let due = (start.elapsed().as_secs_f64() * rate) as u64;
                due.min(pace.events)
            }
            None => pace.events.min(seq + 50),
        };
        while seq < due {
            match window.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) => {
                    writer.flush().await?;
                    window.acquire().await?.forget();
                }
            }
            seq += 1;
            let json = event(&identity.edge, outbox, "gate", seq, utc_now()).to_json();
            let packet_id = u16::try_from(seq % 60_000).unwrap_or(0) + 1;
            writer.publish(&topic, packet_id, Bytes::from(json))?;
        }
        writer.flush().await?;
    }
    Ok(())
}

async fn read_acks(
    mut reader: PacketReader,
    events: u64,
    outbox: OutboxId,
    window: Arc<Semaphore>,
    through: Arc<AtomicU64>,
    done: oneshot::Sender<()>,
) -> Result<()> {
    while through.load(Ordering::Relaxed) < events {
        match reader.next().await? {
            Packet::PubAck(_) => window.add_permits(1),
            Packet::Publish(publish) if publish.topic.ends_with("/down/acks") => {
                let ack: Ack = serde_json::from_slice(&publish.payload)?;
                ensure!(ack.outbox == outbox, "an acknowledgement of another outbox");
                through.fetch_max(ack.through, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    let _ = done.send(());
    // Reads on, so that the connection stays drained until the writer has finished.
    loop {
        reader.next().await?;
    }
}
