//! Recording of a batch: one prepared statement, row after row, which is what SQLite is fastest at.

use aivms_contract::id::EventId;
use rusqlite::params;

use super::super::StoreError;
use super::super::events::{
    Content, Event, Outcome, Prepared, filterable, keep_aside, kind_number, resolve_conflict, sequence,
};
use super::super::names::{NameTable, Names};
use super::super::sql::values;
use super::transaction::{SqliteConnection, store_error};

const INSERT: &str =
    "insert into events (tenant, id, edge, outbox, seq, kind, camera, received_at, object_class, track,
        confidence, zone, event_type, body, subject, made_for)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
    on conflict do nothing";

/// Stores a batch in the order given.
pub(super) fn insert_events(
    connection: &mut SqliteConnection<'_>,
    names: &mut Names,
    batch: &[Prepared],
) -> Result<Vec<Outcome>, StoreError> {
    let one = |message: &Prepared| match &message.content {
        Content::Event(event) => insert_event(connection, names, message, event),
        Content::Kept(kept) => keep_aside(connection, names, message, kept),
    };
    batch.iter().map(one).collect()
}

fn insert_event(
    connection: &mut SqliteConnection<'_>,
    names: &mut Names,
    message: &Prepared,
    event: &Event,
) -> Result<Outcome, StoreError> {
    let envelope = &event.envelope;
    let columns = filterable(&envelope.body);
    let (tenant, edge) = (message.tenant.0, message.edge.0);
    let mut row = |table, owner, name: &str| names.row(connection, table, owner, name);
    let outbox = row(NameTable::Outboxes, edge, envelope.outbox.as_str())?;
    let camera = columns.camera.map(|name| row(NameTable::Cameras, tenant, name)).transpose()?;
    let zone = columns.zone.map(|name| row(NameTable::Zones, tenant, name)).transpose()?;
    let class = columns.object_class.map(|name| row(NameTable::ObjectClasses, tenant, name)).transpose()?;
    let seq = sequence(envelope.seq)?;
    let mut insert = connection.sqlite.prepare_cached(INSERT).map_err(store_error)?;
    let inserted = insert.execute(params![
        tenant,
        envelope.id.to_bytes(),
        edge,
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
        columns.subject,
        columns.made_for,
    ]);
    drop(insert);
    if inserted.map_err(store_error)? > 0 {
        return Ok(Outcome::Stored);
    }
    let connection: &mut dyn super::super::sql::Connection = connection;
    let sql = "select id from events where edge = ?1 and outbox = ?2 and seq = ?3";
    let at_its_place: Option<[u8; 16]> = connection.first(sql, &values![edge, outbox, seq], |row| row.get(0))?;
    resolve_conflict(connection, names, message, event, at_its_place.map(EventId::from_bytes))
}
