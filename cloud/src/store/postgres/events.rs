//! Recording of a batch: few statements over arrays, whatever the batch holds.
//!
//! A partitioned table can't hold `unique (edge, outbox, seq)`, so the places that are taken stand in a narrow table
//! of their own. The lock of the feed, taken first, makes batches of all processes run one after the other: what is
//! found out about taken places stays true until the commit, and feed numbers rise in the order of commits.

use std::collections::{HashMap, HashSet};

use aivms_contract::id::EventId;
use tokio_postgres::types::ToSql;

use super::super::StoreError;
use super::super::events::{
    Content, Event, Outcome, Prepared, filterable, keep_aside, kind_number, resolve_conflict, sequence,
};
use super::super::names::{NameTable, Names};
use super::session::Session;

const NEXT_NUMBERS: &str = "update feed set head = head + $1 returning head";

const TAKEN_PLACES: &str = "select b.n, p.id from unnest($1::bigint[], $2::bigint[]) with ordinality b (outbox, seq, n)
    join event_places p on p.outbox = b.outbox and p.seq = b.seq";

const INSERT: &str = "insert into events (feed_number, tenant, id, edge, outbox, seq, kind, camera, received_at,
        object_class, track, confidence, zone, event_type, body, subject, made_for)
    select * from unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::float8[], $13::bigint[],
        $14::bigint[], $15::text[], $16::text[], $17::text[])
    on conflict (tenant, id) do nothing
    returning feed_number";

const TAKE_PLACES: &str =
    "insert into event_places (outbox, seq, id) select * from unnest($1::bigint[], $2::bigint[], $3::bytea[])";

/// Stores a batch; the outcomes are those of taking message after message.
pub(super) fn insert(session: &mut Session, names: &mut Names, batch: &[Prepared]) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes = vec![Outcome::Duplicate; batch.len()];
    let mut events = Vec::with_capacity(batch.len());
    for (index, message) in batch.iter().enumerate() {
        match &message.content {
            Content::Event(event) => events.push(Candidate::new(session, names, index, message, event)?),
            Content::Kept(kept) => set(&mut outcomes, index, keep_aside(session, names, message, kept)?),
        }
    }
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Ok(outcomes);
    }
    let head: i64 = first(session, NEXT_NUMBERS, &[&count])?;
    for (number, event) in (head - count + 1..).zip(&mut events) {
        event.feed_number = number;
    }
    let mut waiting = events;
    while !waiting.is_empty() {
        let (round, later) = without_rivals(waiting);
        take(session, names, &round, &mut outcomes)?;
        waiting = later;
    }
    Ok(outcomes)
}

/// An event with the rows of its names.
struct Candidate<'a> {
    index: usize,
    message: &'a Prepared,
    event: &'a Event,
    feed_number: i64,
    outbox: i64,
    seq: i64,
    camera: Option<i64>,
    zone: Option<i64>,
    class: Option<i64>,
}

impl<'a> Candidate<'a> {
    fn new(
        session: &mut Session,
        names: &mut Names,
        index: usize,
        message: &'a Prepared,
        event: &'a Event,
    ) -> Result<Self, StoreError> {
        let envelope = &event.envelope;
        let columns = filterable(&envelope.body);
        let tenant = message.tenant.0;
        let mut row = |table, owner, name: &str| names.row(session, table, owner, name);
        Ok(Self {
            index,
            message,
            event,
            feed_number: 0,
            outbox: row(NameTable::Outboxes, message.edge.0, envelope.outbox.as_str())?,
            seq: sequence(envelope.seq)?,
            camera: columns.camera.map(|name| row(NameTable::Cameras, tenant, name)).transpose()?,
            zone: columns.zone.map(|name| row(NameTable::Zones, tenant, name)).transpose()?,
            class: columns.object_class.map(|name| row(NameTable::ObjectClasses, tenant, name)).transpose()?,
        })
    }

    fn place(&self) -> (i64, i64) {
        (self.outbox, self.seq)
    }

    fn id(&self) -> EventId {
        self.event.envelope.id
    }
}

/// Parts events of which no two want the same place or id from those that must wait to see what became of an earlier
/// one. Nearly always nothing waits.
fn without_rivals(events: Vec<Candidate<'_>>) -> (Vec<Candidate<'_>>, Vec<Candidate<'_>>) {
    let (mut places, mut ids) = (HashSet::new(), HashSet::new());
    events.into_iter().partition(|event| {
        // Both are noted, also by those that wait: whoever comes after them must wait as well.
        let (place, id) = (places.insert(event.place()), ids.insert((event.message.tenant, event.id())));
        place && id
    })
}

/// Stores events of which no two want the same, as far as nobody had their places and ids before.
fn take(
    session: &mut Session,
    names: &mut Names,
    round: &[Candidate<'_>],
    outcomes: &mut [Outcome],
) -> Result<(), StoreError> {
    let taken = taken_places(session, round)?;
    let (doubles, free): (Vec<_>, Vec<_>) = (1_i64..).zip(round).partition(|(number, _)| taken.contains_key(number));
    for (number, event) in doubles {
        let there = taken.get(&number).copied();
        set(outcomes, event.index, resolve_conflict(session, names, event.message, event.event, there)?);
    }
    let free: Vec<_> = free.into_iter().map(|(_, event)| event).collect();
    let stored = insert_rows(session, &free)?;
    let (stored, refused): (Vec<_>, Vec<_>) = free.into_iter().partition(|event| stored.contains(&event.feed_number));
    take_places(session, &stored)?;
    stored.iter().for_each(|event| set(outcomes, event.index, Outcome::Stored));
    for event in refused {
        set(outcomes, event.index, resolve_conflict(session, names, event.message, event.event, None)?);
    }
    Ok(())
}

/// The ids of events that have the place of one of these, by its number from 1.
fn taken_places(session: &mut Session, round: &[Candidate<'_>]) -> Result<HashMap<i64, EventId>, StoreError> {
    let (outboxes, seqs): (Vec<_>, Vec<_>) = round.iter().map(Candidate::place).unzip();
    let rows = session.rows(TAKEN_PLACES, &[&outboxes, &seqs])?;
    rows.iter().map(|row| Ok((get(row, 0)?, event_id(get(row, 1)?)?))).collect()
}

/// Inserts rows and returns the feed numbers of those whose id was free.
fn insert_rows(session: &mut Session, events: &[&Candidate<'_>]) -> Result<HashSet<i64>, StoreError> {
    if events.is_empty() {
        return Ok(HashSet::new());
    }
    let columns: Vec<_> = events.iter().map(|event| filterable(&event.event.envelope.body)).collect();
    let ids: Vec<[u8; 16]> = events.iter().map(|event| event.id().to_bytes()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(<[u8; 16]>::as_slice).collect();
    let of_events = |value: fn(&Candidate<'_>) -> i64| events.iter().map(|event| value(event)).collect::<Vec<_>>();
    let of_names = |value: fn(&Candidate<'_>) -> Option<i64>| events.iter().map(|e| value(e)).collect::<Vec<_>>();
    let rows = session.rows(
        INSERT,
        &[
            &of_events(|event| event.feed_number),
            &of_events(|event| event.message.tenant.0),
            &ids,
            &of_events(|event| event.message.edge.0),
            &of_events(|event| event.outbox),
            &of_events(|event| event.seq),
            &of_events(|event| kind_number(event.event.envelope.body.kind())),
            &of_names(|event| event.camera),
            &of_events(|event| event.message.received_at.as_millis()),
            &of_names(|event| event.class),
            &columns.iter().map(|column| column.track).collect::<Vec<_>>(),
            &columns.iter().map(|column| column.confidence.map(f64::from)).collect::<Vec<_>>(),
            &of_names(|event| event.zone),
            &columns.iter().map(|column| column.event_type).collect::<Vec<_>>(),
            &events.iter().map(|event| event.event.body.as_str()).collect::<Vec<_>>(),
            &columns.iter().map(|column| column.subject).collect::<Vec<_>>(),
            &columns.iter().map(|column| column.made_for.as_deref()).collect::<Vec<_>>(),
        ],
    )?;
    rows.iter().map(|row| get(row, 0)).collect()
}

fn take_places(session: &mut Session, stored: &[&Candidate<'_>]) -> Result<(), StoreError> {
    let (outboxes, seqs): (Vec<_>, Vec<_>) = stored.iter().map(|event| event.place()).unzip();
    let ids: Vec<_> = stored.iter().map(|event| event.id().to_bytes()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(<[u8; 16]>::as_slice).collect();
    session.touch(TAKE_PLACES, &[&outboxes, &seqs, &ids]).map(drop)
}

fn set(outcomes: &mut [Outcome], index: usize, outcome: Outcome) {
    if let Some(place) = outcomes.get_mut(index) {
        *place = outcome;
    }
}

fn first(session: &mut Session, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<i64, StoreError> {
    let rows = session.rows(sql, values)?;
    get(rows.first().ok_or_else(|| StoreError::Database("the feed has no row".into()))?, 0)
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a tokio_postgres::Row, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| StoreError::Database(format!("column {index}: {error}")))
}

fn event_id(bytes: &[u8]) -> Result<EventId, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Database("an event id has not 16 bytes".into()))?;
    Ok(EventId::from_bytes(bytes))
}
