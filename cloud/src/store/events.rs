//! Recording of events: each at most once, a batch in one transaction.

use std::collections::BTreeSet;

use aivms_cloud_core::analytics::Quarter;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::{EdgeId, EventId, OutboxId};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use aivms_contract::zone_event::ZoneEventType;
use sha2::{Digest, Sha256};

use super::names::{NameTable, Names};
use super::sql::{Connection, Transaction, values};
use super::{EdgeKey, News, Store, StoreError, TenantKey, alerts, edge_health, lists, quarters};

/// One durable message, checked by the front: the envelope's edge is the connection's own.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The tenant of the connection.
    pub tenant: TenantKey,
    /// The edge of the connection.
    pub edge: EdgeKey,
    /// When the cloud took it.
    pub received_at: UtcMillis,
    /// What was said.
    pub message: Message,
}

/// What a durable publish held.
#[derive(Debug, Clone)]
pub enum Message {
    /// An envelope of a kind this version knows.
    Known(Box<Envelope>),
    /// Identity and order could be read, the body not (a newer edge): kept aside as it came, so that nothing is lost.
    Unreadable {
        /// Its outbox.
        outbox: OutboxId,
        /// Its place.
        seq: u64,
        /// Kind by topic.
        kind: UpKind,
        /// The whole payload.
        payload: Vec<u8>,
        /// Why it could not be read.
        reason: String,
    },
}

/// A batch was recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Messages stored now.
    pub stored: u64,
    /// Messages that had been stored before.
    pub duplicates: u64,
    /// Feed number of the newest event: [`Store::feed_after`] reads on from it.
    pub feed_number: i64,
}

/// A stored event for lists and the live feed.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Strictly rising number in the order of storing; the live feed's cursor.
    pub feed_number: i64,
    /// Its edge.
    pub edge_id: EdgeId,
    /// When the cloud took it.
    pub received_at: UtcMillis,
    /// The message.
    pub envelope: Envelope,
}

/// A message with everything prepared that needs no database, so that the transaction does less.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) tenant: TenantKey,
    pub(super) edge: EdgeKey,
    pub(super) received_at: UtcMillis,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Event(Box<Event>),
    Kept(Kept),
}

/// An event to be stored, with its body in JSON.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) envelope: Envelope,
    pub(super) body: String,
}

/// A message for the quarantine.
#[derive(Debug)]
pub(super) struct Kept {
    outbox: OutboxId,
    seq: u64,
    kind: UpKind,
    payload: Vec<u8>,
    reason: String,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is an event now.
    Stored,
    /// It counts as stored, and no list shows it.
    KeptAside,
    /// It had been stored before.
    Duplicate,
}

/// What lists filter by, copied out of a body.
#[derive(Debug, Default)]
pub(super) struct Filterable<'a> {
    pub(super) camera: Option<&'a str>,
    pub(super) object_class: Option<&'a str>,
    pub(super) track: Option<&'a str>,
    pub(super) confidence: Option<f32>,
    pub(super) zone: Option<&'a str>,
    pub(super) event_type: Option<i64>,
    /// The id of a clip or snapshot.
    pub(super) subject: Option<&'a str>,
    /// The event a clip or snapshot was made for.
    pub(super) made_for: Option<String>,
}

impl Store {
    /// Records a batch in one transaction, each message at most once per (edge, outbox, seq). When it returns, the
    /// batch is on disk.
    ///
    /// # Errors
    /// The database's own; then nothing of the batch is stored.
    pub async fn record_events(&self, batch: Vec<Incoming>) -> Result<Recorded, StoreError> {
        let batch: Vec<Prepared> = batch.into_iter().map(Prepared::from).collect();
        self.ingest(move |transaction| record(transaction, &batch)).await
    }
}

fn record(transaction: &mut Transaction<'_>, batch: &[Prepared]) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    let outcomes = transaction.insert_events(batch)?;
    for (message, outcome) in batch.iter().zip(&outcomes) {
        match outcome {
            Outcome::Stored | Outcome::KeptAside => recorded.stored += 1,
            Outcome::Duplicate => recorded.duplicates += 1,
        }
        if let (Outcome::Stored, Content::Event(event)) = (outcome, &message.content) {
            edge_health::note(transaction, message.edge, &event.envelope, message.received_at)?;
        }
    }
    quarters::mark(transaction, &quarters_of(batch, &outcomes))?;
    alerts::consider_batch(transaction, batch, &outcomes)?;
    recorded.feed_number = lists::feed_head(transaction)?;
    transaction.announce(News::Events(recorded.feed_number));
    Ok(recorded)
}

/// The quarters of an hour that got events.
fn quarters_of(batch: &[Prepared], outcomes: &[Outcome]) -> BTreeSet<(TenantKey, Quarter)> {
    let stored = batch.iter().zip(outcomes).filter(|(_, outcome)| **outcome == Outcome::Stored);
    let quarter = |(message, _): (&Prepared, _)| match &message.content {
        Content::Event(event) => Some((message.tenant, Quarter::of(event.envelope.id.at()))),
        Content::Kept(_) => None,
    };
    stored.filter_map(quarter).collect()
}

impl From<Incoming> for Prepared {
    fn from(incoming: Incoming) -> Self {
        let content = match incoming.message {
            // No text of PostgreSQL holds it, and no class of objects needs it.
            Message::Known(envelope) if filterable(&envelope.body).object_class.is_some_and(|c| c.contains('\0')) => {
                let reason = "object_class: holds the character U+0000".to_owned();
                let (kind, payload) = (envelope.body.kind(), envelope.to_json());
                Content::Kept(Kept { outbox: envelope.outbox, seq: envelope.seq, kind, payload, reason })
            }
            Message::Known(envelope) => {
                let body = body_json(&envelope.body);
                Content::Event(Box::new(Event { envelope: *envelope, body }))
            }
            Message::Unreadable { outbox, seq, kind, payload, reason } => {
                Content::Kept(Kept { outbox, seq, kind, payload, reason })
            }
        };
        Self { tenant: incoming.tenant, edge: incoming.edge, received_at: incoming.received_at, content }
    }
}

/// An event was not inserted: either this very event is there, or its id or its place belong to another one. Then the
/// message is kept aside: failing would make the edge send it for ever.
pub(super) fn resolve_conflict(
    connection: &mut dyn Connection,
    names: &mut Names,
    message: &Prepared,
    event: &Event,
    at_its_place: Option<EventId>,
) -> Result<Outcome, StoreError> {
    let envelope = &event.envelope;
    let reason = match at_its_place {
        Some(id) if id == envelope.id => return Ok(Outcome::Duplicate),
        Some(id) => format!("seq: event {id} has this place of the outbox"),
        None => "id: another event of the tenant has it".to_owned(),
    };
    let kept = Kept {
        outbox: envelope.outbox.clone(),
        seq: envelope.seq,
        kind: envelope.body.kind(),
        payload: envelope.to_json(),
        reason,
    };
    keep_aside(connection, names, message, &kept)
}

/// Keeps a message as it came.
pub(super) fn keep_aside(
    connection: &mut dyn Connection,
    names: &mut Names,
    message: &Prepared,
    kept: &Kept,
) -> Result<Outcome, StoreError> {
    let outbox = names.row(connection, NameTable::Outboxes, message.edge.0, kept.outbox.as_str())?;
    let inserted = connection.execute(
        "insert into quarantine (tenant, edge, outbox, seq, kind, received_at, payload, payload_hash, reason)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         on conflict (edge, outbox, seq, payload_hash) do nothing",
        &values![
            message.tenant.0,
            message.edge.0,
            outbox,
            i64::try_from(kept.seq).unwrap_or(i64::MAX),
            kind_number(kept.kind),
            message.received_at,
            kept.payload.as_slice(),
            <[u8; 32]>::from(Sha256::digest(&kept.payload)),
            // It may quote what came.
            kept.reason.replace('\0', "\u{fffd}"),
        ],
    )?;
    Ok(if inserted == 0 { Outcome::Duplicate } else { Outcome::KeptAside })
}

/// The number of a kind in the column `kind`.
pub(super) fn kind_number(kind: UpKind) -> i64 {
    match kind {
        UpKind::Detections => 1,
        UpKind::ZoneEvents => 2,
        UpKind::Alerts => 3,
        UpKind::Health => 4,
        UpKind::Clips => 5,
        UpKind::Status => 6,
        UpKind::Results => 7,
        UpKind::Reported => 8,
        UpKind::Snapshots => 9,
        UpKind::Footage => 10,
    }
}

/// The number of a zone event's type in the column `event_type`.
pub(super) fn event_type_number(event_type: ZoneEventType) -> i64 {
    match event_type {
        ZoneEventType::Enter => 1,
        ZoneEventType::Exit => 2,
        ZoneEventType::Dwell => 3,
        ZoneEventType::Cross => 4,
        ZoneEventType::Occupied => 5,
        ZoneEventType::Cleared => 6,
    }
}

/// The databases' integers end at 2^63; an outbox that counts one event per nanosecond gets there in 292 years.
pub(super) fn sequence(seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|_| StoreError::Database(format!("seq: {seq} is beyond 2^63")))
}

/// What lists filter by, of a body.
pub(super) fn filterable(body: &Body) -> Filterable<'_> {
    let of_camera = |camera| Filterable { camera: Some(camera), ..Filterable::default() };
    match body {
        Body::Detections(body) => Filterable {
            object_class: Some(&body.object_class),
            track: Some(body.track_id.as_str()),
            confidence: Some(body.confidence),
            ..of_camera(body.camera_id.as_str())
        },
        Body::ZoneEvents(body) => Filterable {
            object_class: Some(&body.object_class),
            track: Some(body.track_id.as_str()),
            confidence: Some(body.confidence),
            zone: Some(body.zone_id.as_str()),
            event_type: Some(event_type_number(body.event_type)),
            ..of_camera(body.camera_id.as_str())
        },
        Body::Clips(body) => Filterable {
            subject: Some(body.clip_id.as_str()),
            made_for: body.event_id.map(|id| id.to_string()),
            ..of_camera(body.camera_id.as_str())
        },
        Body::Snapshots(body) => Filterable {
            subject: Some(body.snapshot_id.as_str()),
            made_for: body.event_id.map(|id| id.to_string()),
            ..of_camera(body.camera_id.as_str())
        },
        Body::Alerts(body) => of_camera(body.camera_id.as_str()),
        Body::Footage(body) => of_camera(body.camera_id.as_str()),
        Body::Health(_) => Filterable::default(),
    }
}

fn body_json(body: &Body) -> String {
    let json = match body {
        Body::Detections(body) => serde_json::to_string(body),
        Body::ZoneEvents(body) => serde_json::to_string(body),
        Body::Alerts(body) => serde_json::to_string(body),
        Body::Health(body) => serde_json::to_string(body),
        Body::Clips(body) => serde_json::to_string(body),
        Body::Snapshots(body) => serde_json::to_string(body),
        Body::Footage(body) => serde_json::to_string(body),
    };
    json.expect("contract types always serialise")
}
