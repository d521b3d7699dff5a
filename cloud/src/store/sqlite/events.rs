//! Recording of events: each at most once, a batch in one transaction.

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::{EventId, OutboxId};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use aivms_contract::zone_event::ZoneEventType;
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::super::{EdgeKey, Incoming, Message, Recorded, StoreError, TenantKey};
use super::connection::store_error;
use super::names::{NameTable, Names};

/// A message with everything prepared that needs no database, so that the writer thread does less.
#[derive(Debug)]
pub(super) struct Prepared {
    tenant: TenantKey,
    edge: EdgeKey,
    received_at: UtcMillis,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Event(Box<Event>),
    Kept(Kept),
}

#[derive(Debug)]
struct Event {
    envelope: Envelope,
    body: String,
}

/// A message for the quarantine.
#[derive(Debug)]
struct Kept {
    outbox: OutboxId,
    seq: u64,
    kind: UpKind,
    payload: Vec<u8>,
    reason: String,
}

/// What lists filter by, copied out of a body.
#[derive(Debug, Default)]
struct Filterable<'a> {
    camera: Option<&'a str>,
    object_class: Option<&'a str>,
    track: Option<&'a str>,
    confidence: Option<f32>,
    zone: Option<&'a str>,
    event_type: Option<i64>,
}

/// What became of one message.
enum Outcome {
    Stored,
    Duplicate,
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

impl From<Incoming> for Prepared {
    fn from(incoming: Incoming) -> Self {
        let content = match incoming.message {
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

/// Records a batch in the order given.
pub(super) fn record(
    transaction: &Transaction<'_>,
    names: &mut Names,
    batch: &[Prepared],
) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    let mut recorder = Recorder { transaction, names, insert: prepare_insert(transaction)? };
    for message in batch {
        match recorder.record(message)? {
            Outcome::Stored => recorded.stored += 1,
            Outcome::Duplicate => recorded.duplicates += 1,
        }
    }
    recorded.feed_number = super::lists::feed_head(transaction)?;
    Ok(recorded)
}

struct Recorder<'a> {
    transaction: &'a Transaction<'a>,
    names: &'a mut Names,
    insert: CachedStatement<'a>,
}

impl Recorder<'_> {
    fn record(&mut self, message: &Prepared) -> Result<Outcome, StoreError> {
        match &message.content {
            Content::Event(event) => self.record_event(message, event),
            Content::Kept(kept) => self.keep(message, kept),
        }
    }

    fn record_event(&mut self, message: &Prepared, event: &Event) -> Result<Outcome, StoreError> {
        let envelope = &event.envelope;
        let outbox = self.row(NameTable::Outboxes, message.edge.0, envelope.outbox.as_str())?;
        let seq = sequence(envelope.seq)?;
        let columns = filterable(&envelope.body);
        let tenant = message.tenant.0;
        let camera = columns.camera.map(|name| self.row(NameTable::Cameras, tenant, name)).transpose()?;
        let zone = columns.zone.map(|name| self.row(NameTable::Zones, tenant, name)).transpose()?;
        let class = columns.object_class.map(|name| self.row(NameTable::ObjectClasses, tenant, name)).transpose()?;
        let stored = self.insert.execute(params![
            tenant,
            envelope.id.to_bytes(),
            message.edge.0,
            outbox,
            seq,
            kind_number(envelope.body.kind()),
            camera,
            message.received_at.as_millis(),
            class,
            columns.track,
            columns.confidence,
            zone,
            columns.event_type,
            event.body,
        ]);
        match stored.map_err(store_error)? {
            0 => self.resolve_conflict(message, event, outbox, seq),
            _ => Ok(Outcome::Stored),
        }
    }

    /// The row was not inserted: either this very event is there, or its id or its place belong to another one.
    /// Then the message is kept aside: failing would make the edge send it for ever.
    fn resolve_conflict(
        &mut self,
        message: &Prepared,
        event: &Event,
        outbox: i64,
        seq: i64,
    ) -> Result<Outcome, StoreError> {
        let at_its_place: Option<[u8; 16]> = self
            .transaction
            .prepare_cached("select id from events where edge = ?1 and outbox = ?2 and seq = ?3")
            .and_then(|mut find| find.query_row(params![message.edge.0, outbox, seq], |row| row.get(0)).optional())
            .map_err(store_error)?;
        let reason = match at_its_place.map(EventId::from_bytes) {
            Some(id) if id == event.envelope.id => return Ok(Outcome::Duplicate),
            Some(id) => format!("seq: event {id} has this place of the outbox"),
            None => "id: another event of the tenant has it".to_owned(),
        };
        let kept = Kept {
            outbox: event.envelope.outbox.clone(),
            seq: event.envelope.seq,
            kind: event.envelope.body.kind(),
            payload: event.envelope.to_json(),
            reason,
        };
        self.keep(message, &kept)
    }

    fn keep(&mut self, message: &Prepared, kept: &Kept) -> Result<Outcome, StoreError> {
        let outbox = self.row(NameTable::Outboxes, message.edge.0, kept.outbox.as_str())?;
        let inserted = self
            .transaction
            .prepare_cached(
                "insert into quarantine (tenant, edge, outbox, seq, kind, received_at, payload, payload_hash, reason)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 on conflict (edge, outbox, seq, payload_hash) do nothing",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    message.tenant.0,
                    message.edge.0,
                    outbox,
                    i64::try_from(kept.seq).unwrap_or(i64::MAX),
                    kind_number(kept.kind),
                    message.received_at.as_millis(),
                    kept.payload,
                    <[u8; 32]>::from(Sha256::digest(&kept.payload)),
                    kept.reason,
                ])
            })
            .map_err(store_error)?;
        Ok(if inserted == 0 { Outcome::Duplicate } else { Outcome::Stored })
    }

    fn row(&mut self, table: NameTable, owner: i64, name: &str) -> Result<i64, StoreError> {
        self.names.row(self.transaction, table, owner, name)
    }
}

fn prepare_insert<'a>(transaction: &'a Transaction<'_>) -> Result<CachedStatement<'a>, StoreError> {
    transaction
        .prepare_cached(
            "insert into events (tenant, id, edge, outbox, seq, kind, camera, received_at, object_class, track,
                 confidence, zone, event_type, body)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             on conflict do nothing",
        )
        .map_err(store_error)
}

/// SQLite's integers end at 2^63; an outbox that counts one event per nanosecond gets there in 292 years.
fn sequence(seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|_| StoreError::Database(format!("seq: {seq} is beyond 2^63")))
}

fn filterable(body: &Body) -> Filterable<'_> {
    match body {
        Body::Detections(body) => Filterable {
            camera: Some(body.camera_id.as_str()),
            object_class: Some(&body.object_class),
            track: Some(body.track_id.as_str()),
            confidence: Some(body.confidence),
            ..Filterable::default()
        },
        Body::ZoneEvents(body) => Filterable {
            camera: Some(body.camera_id.as_str()),
            object_class: Some(&body.object_class),
            track: Some(body.track_id.as_str()),
            confidence: Some(body.confidence),
            zone: Some(body.zone_id.as_str()),
            event_type: Some(event_type_number(body.event_type)),
        },
        Body::Alerts(body) => Filterable { camera: Some(body.camera_id.as_str()), ..Filterable::default() },
        Body::Health(_) => Filterable::default(),
        Body::Clips(body) => Filterable { camera: Some(body.camera_id.as_str()), ..Filterable::default() },
        Body::Snapshots(body) => Filterable { camera: Some(body.camera_id.as_str()), ..Filterable::default() },
        Body::Footage(body) => Filterable { camera: Some(body.camera_id.as_str()), ..Filterable::default() },
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
