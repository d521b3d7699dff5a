//! What an edge publishes: checked, batched, committed, and only then acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aivms_cloud_core::access::Access;
use aivms_contract::ack::Ack;
use aivms_contract::id::{EdgeId, OutboxId};
use aivms_contract::identity::Role;
use aivms_contract::limits::MAX_PACKET_BYTES;
use aivms_contract::status::Status;
use aivms_contract::topic::{DownKind, Topic, UpKind};
use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PubAck, Publish};
use tokio::time::Instant;

use super::super::codec::write_packet;
use super::super::{Shared, now};
use super::said::{self, Said};
use super::{Ended, Guest};
use crate::ingest::{Place, Receipt, read_message};
use crate::store::{EdgeKey, Incoming, Message, TenantKey};

/// Messages of one session that wait for a commit, above which nothing more is read from it. A well-behaved client's
/// own window is far smaller.
const IN_FLIGHT: usize = 1_000;
/// How often a sign of life is written down per edge, a quarter of the usual time-out.
const HEARD_EVERY: Duration = Duration::from_secs(30);

/// Checks everything about a publish that needs no look inside.
pub(super) fn check(publish: &Publish, access: &Access) -> Result<UpKind, Ended> {
    let denied = |what: &str| Err(Ended::Denied(what.to_owned()));
    if publish.retain {
        return denied("retained messages");
    }
    if publish.qos == QoS::ExactlyOnce {
        return denied("QoS 2");
    }
    if publish.payload.is_empty() {
        return denied("an empty payload");
    }
    access.publish(&publish.topic).ok_or_else(|| {
        let shown: String = publish.topic.chars().take(200).collect();
        Ended::Denied(format!("publish to {shown:?}"))
    })
}

/// The way in of one session.
pub(super) struct Inbound {
    shared: Arc<Shared>,
    tenant: TenantKey,
    edge: Option<PublishingEdge>,
    watchers: Arc<AtomicUsize>,
    staged: Batch,
    /// Submitted, oldest first; commits come in this order.
    submitted: VecDeque<(Batch, Receipt)>,
    in_flight: usize,
    last_ack: Option<Ack>,
    heard: Option<(Instant, Option<String>)>,
}

struct PublishingEdge {
    key: EdgeKey,
    id: EdgeId,
    acks: Topic,
}

/// What one read of the socket held, and what follows from its commit.
#[derive(Default)]
pub(super) struct Batch {
    messages: Vec<Incoming>,
    count: usize,
    /// Packet ids to acknowledge, in the order of their publishes.
    packet_ids: Vec<u16>,
    /// Answers to commands and reports, stored after the messages.
    said: Vec<Said>,
    /// How far each outbox got, in the order of sending; nearly always one.
    acks: Vec<Ack>,
    /// For operators who watch: topic and payload.
    live: Vec<(String, Bytes)>,
}

impl Inbound {
    pub(super) fn new(guest: &Guest, watchers: Arc<AtomicUsize>, shared: &Arc<Shared>) -> Self {
        let edge = match (&guest.identity.role, guest.edge) {
            (Role::Edge(id), Some(key)) => Some(PublishingEdge {
                key,
                id: id.clone(),
                acks: Topic::down(guest.identity.tenant.clone(), id.clone(), DownKind::Acks),
            }),
            _ => None,
        };
        Self {
            shared: Arc::clone(shared),
            tenant: guest.tenant,
            edge,
            watchers,
            staged: Batch::default(),
            submitted: VecDeque::new(),
            in_flight: 0,
            last_ack: None,
            heard: None,
        }
    }

    /// Messages that wait for a commit.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether something waits for a place in the ingest queue.
    pub(super) fn is_staged(&self) -> bool {
        !self.staged.messages.is_empty() || !self.staged.said.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        !self.is_staged() && self.in_flight < IN_FLIGHT
    }

    /// Takes an accepted publish.
    pub(super) fn on_publish(&mut self, publish: Publish, kind: UpKind, out: &mut BytesMut) -> Result<(), Ended> {
        let Some(edge) = &self.edge else { return Err(Ended::Denied("only edges publish".to_owned())) };
        let (qos, pkid) = (publish.qos, publish.pkid);
        if kind.is_durable() {
            let message = read_message(kind, &publish.payload, &edge.id)
                .map_err(|error| Ended::Malformed(format!("{}: {error}", kind.as_str())))?;
            if let Message::Unreadable { reason, seq, .. } = &message {
                tracing::warn!(edge.id = %edge.id, kind = kind.as_str(), seq, %reason, "message set aside unread");
            }
            self.staged.note_place(&message);
            let incoming = Incoming { tenant: self.tenant, edge: edge.key, received_at: now(), message };
            self.staged.messages.push(incoming);
            if self.is_watched() {
                self.staged.live.push((publish.topic, Bytes::copy_from_slice(&publish.payload)));
            }
            self.note_heard(None);
        } else {
            self.on_passing(kind, publish.topic, &publish.payload);
        }
        if qos == QoS::AtLeastOnce { self.acknowledge(pkid, out) } else { Ok(()) }
    }

    /// Submits what is staged.
    pub(super) fn submit(&mut self, place: Place) {
        let mut batch = std::mem::take(&mut self.staged);
        let messages = std::mem::take(&mut batch.messages);
        let told = std::mem::take(&mut batch.said);
        batch.count = messages.len() + told.len();
        self.in_flight += batch.count;
        let events = (!messages.is_empty()).then(|| place.submit(messages));
        let receipt = match (events, &self.edge) {
            (Some(events), _) if told.is_empty() => events,
            (events, Some(edge)) => said::store(&self.shared, edge.key, told, events),
            // Only edges stage anything; a receipt that is never given ends the session.
            (_, None) => tokio::sync::oneshot::channel().1,
        };
        self.submitted.push_back((batch, receipt));
    }

    /// Waits for the oldest submission to be on disk. Cancelling loses nothing.
    pub(super) async fn next_settled(&mut self) -> Result<Batch, Ended> {
        let Some((_, receipt)) = self.submitted.front_mut() else { return std::future::pending().await };
        receipt.await.map_err(|_| Ended::Shutdown)?;
        let (batch, _) = self.submitted.pop_front().ok_or(Ended::Shutdown)?;
        self.in_flight -= batch.count;
        Ok(batch)
    }

    /// Answers a batch that is on disk: PUBACKs in the order of the publishes, one acknowledgement of the outbox, and
    /// a copy to those who watch.
    pub(super) fn answer(&mut self, batch: Batch, wants_acks: bool, out: &mut BytesMut) -> Result<(), Ended> {
        for pkid in batch.packet_ids {
            write_packet(&Packet::PubAck(PubAck::new(pkid)), out, MAX_PACKET_BYTES)?;
        }
        for (topic, payload) in batch.live {
            self.shared.router.publish_live(topic, payload);
        }
        for ack in batch.acks {
            let Some(edge) = &self.edge else { break };
            if wants_acks {
                write_ack(&edge.acks, &ack, out)?;
            }
            if self.is_watched() {
                self.shared.router.publish_live(edge.acks.to_string(), to_json(&ack));
            }
            self.last_ack = Some(ack);
        }
        Ok(())
    }

    /// Sends the last acknowledgement to an edge that has only now subscribed to them.
    pub(super) fn repeat_ack(&self, wants_acks: bool, out: &mut BytesMut) -> Result<(), Ended> {
        match (&self.edge, &self.last_ack) {
            (Some(edge), Some(ack)) if wants_acks => write_ack(&edge.acks, ack, out),
            _ => Ok(()),
        }
    }

    /// Acknowledges a packet after all before it, at once when nothing waits (MQTT 3.1.1 §4.6).
    fn acknowledge(&mut self, pkid: u16, out: &mut BytesMut) -> Result<(), Ended> {
        if self.is_staged() {
            self.staged.packet_ids.push(pkid);
        } else if let Some((batch, _)) = self.submitted.back_mut() {
            batch.packet_ids.push(pkid);
        } else {
            write_packet(&Packet::PubAck(PubAck::new(pkid)), out, MAX_PACKET_BYTES)?;
        }
        Ok(())
    }

    /// Takes a message that is not stored as an event.
    fn on_passing(&mut self, kind: UpKind, topic: String, payload: &[u8]) {
        let version = match kind {
            UpKind::Status => serde_json::from_slice::<Status>(payload).ok().map(|status| status.version),
            _ => None,
        };
        self.note_heard(version);
        let is_stored = match Said::read(kind, payload) {
            Some(Ok(said)) => {
                self.staged.said.push(said);
                true
            }
            Some(Err(error)) => {
                self.shared.answers.unreadable.inc();
                tracing::warn!(kind = kind.as_str(), %error, "what an edge says can't be read and is not stored");
                false
            }
            None => false,
        };
        if self.is_watched() {
            let payload = Bytes::copy_from_slice(payload);
            if is_stored {
                self.staged.live.push((topic, payload));
            } else {
                self.shared.router.publish_live(topic, payload);
            }
        }
    }

    /// Has a sign of life written down, at most every [`HEARD_EVERY`] unless it tells a new version.
    fn note_heard(&mut self, version: Option<String>) {
        let Some(edge) = &self.edge else { return };
        let (fresh, known) = match &self.heard {
            Some((at, known)) => (at.elapsed() < HEARD_EVERY, known),
            None => (false, &None),
        };
        let news = version.is_some() && version != *known;
        if fresh && !news {
            return;
        }
        let known = version.clone().or_else(|| known.clone());
        self.shared.presence.heard(edge.key, now(), version);
        self.heard = Some((Instant::now(), known));
    }

    /// Whether somebody reads the tenant's live messages.
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }
}

impl Batch {
    fn note_place(&mut self, message: &Message) {
        let (outbox, seq): (&OutboxId, u64) = match message {
            Message::Known(envelope) => (&envelope.outbox, envelope.seq),
            Message::Unreadable { outbox, seq, .. } => (outbox, *seq),
        };
        match self.acks.last_mut() {
            Some(ack) if ack.outbox == *outbox => ack.through = ack.through.max(seq),
            _ => self.acks.push(Ack { outbox: outbox.clone(), through: seq }),
        }
    }
}

/// QoS 0 is enough: the next one covers this one, and a connection that loses it is a new connection.
fn write_ack(topic: &Topic, ack: &Ack, out: &mut BytesMut) -> Result<(), Ended> {
    let publish = Publish::from_bytes(topic.to_string(), QoS::AtMostOnce, to_json(ack));
    Ok(write_packet(&Packet::Publish(publish), out, MAX_PACKET_BYTES)?)
}

fn to_json(ack: &Ack) -> Bytes {
    serde_json::to_vec(ack).expect("an acknowledgement is plain data").into()
}
