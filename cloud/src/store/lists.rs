//! Lists of events and the live feed.

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::VERSION;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::{CameraId, EdgeId, EventId, ZoneId};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use aivms_contract::zone_event::ZoneEventType;

use super::event_search::Search;
use super::events::StoredEvent;
use super::sql::{Dialect, Row, Transaction, values};
use super::{Store, StoreError, TenantKey};

/// Which events a list shows; `None` and empty mean all.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Not before.
    pub start: Option<UtcMillis>,
    /// Before, exclusive.
    pub end: Option<UtcMillis>,
    /// Of this edge.
    pub edge_id: Option<EdgeId>,
    /// Of this camera.
    pub camera_id: Option<CameraId>,
    /// Of this class.
    pub object_class: Option<String>,
    /// Of this track.
    pub track_id: Option<String>,
    /// Zone events of this zone.
    pub zone_id: Option<ZoneId>,
    /// Zone events of this type.
    pub event_type: Option<ZoneEventType>,
    /// Detections at least this sure.
    pub min_confidence: Option<f32>,
    /// Clips and snapshots made for this event.
    pub made_for: Option<EventId>,
    /// Of these cameras only: those that the person who asks may see.
    pub cameras: CameraScope,
}

/// Where a page begins and how long it is; lists run from the newest to the oldest event.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// Events older than this one; `None` for the newest.
    pub before: Option<EventId>,
    /// Most rows.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Whether older ones exist.
    pub more: bool,
}

/// One page of a list of events. It may hold fewer than were asked for, even none, while there is a next one: a page
/// looks at so many events at most.
#[derive(Debug, Clone)]
pub struct EventPage<T = StoredEvent> {
    /// The rows.
    pub items: Vec<T>,
    /// The next page is of events older than this one; `None` at the end of the list.
    pub next: Option<EventId>,
}

impl<T> Default for EventPage<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

impl<T> Page<T> {
    /// A page of what was found when one row more than `limit` was asked for.
    pub(super) fn of(mut items: Vec<T>, limit: u32) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Self { items, more }
    }

    /// What the next page is asked for with, made of the last row of this one; `None` on the last page.
    pub fn next<K>(&self, place: impl FnOnce(&T) -> K) -> Option<K> {
        self.items.last().filter(|_| self.more).map(place)
    }
}

impl Store {
    /// A page of detections, newest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_detections(
        &self,
        tenant: TenantKey,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<EventPage, StoreError> {
        self.list(tenant, move |transaction| list(transaction, UpKind::Detections, tenant, &filter, page)).await
    }

    /// A page of zone events, newest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_zone_events(
        &self,
        tenant: TenantKey,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<EventPage, StoreError> {
        self.list(tenant, move |transaction| list(transaction, UpKind::ZoneEvents, tenant, &filter, page)).await
    }

    /// Events of the tenant stored after `feed_number`, in the order of storing, at most `limit`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn feed_after(
        &self,
        tenant: TenantKey,
        feed_number: i64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.list(tenant, move |transaction| {
            let sql = feed_sql(transaction.dialect());
            transaction.all(&sql, &values![tenant.0, feed_number, limit], read_event)
        })
        .await
    }

    /// The newest feed number of the whole store, where a new watcher starts.
    ///
    /// # Errors
    /// The database's own.
    pub async fn feed_head(&self) -> Result<i64, StoreError> {
        self.lookup(feed_head).await
    }
}

/// The beginning of a query for events `v`, up to its `where`: `events` drives the join, so that the named index
/// gives the order.
pub(super) fn select_events(dialect: Dialect, index: &str) -> String {
    let (indexed, join) = (dialect.indexed_by(index), dialect.joined_to_driver());
    format!(
        "select v.feed_number, v.id, e.edge_id, o.name, v.seq, v.kind, v.received_at, v.body
         from events v{indexed} {join} edges e on e.id = v.edge {join} outboxes o on o.id = v.outbox"
    )
}

/// A page of events of one kind, newest first.
pub(super) fn list(
    transaction: &mut Transaction<'_>,
    kind: UpKind,
    tenant: TenantKey,
    filter: &EventFilter,
    page: PageRequest,
) -> Result<EventPage, StoreError> {
    let Some(search) = Search::plan(transaction, kind, tenant, filter, page)? else { return Ok(EventPage::default()) };
    let floor = search.floor(transaction, filter)?;
    let query = search.query(transaction, tenant, filter, floor)?;
    let Page { items, more } = Page::of(transaction.all(&query.sql, &query.values, read_event)?, page.limit);
    let next = if more { items.last().map(|last| last.envelope.id) } else { floor };
    Ok(EventPage { items, next })
}

/// The newest feed number; 0 before the first event.
pub(super) fn feed_head(transaction: &mut Transaction<'_>) -> Result<i64, StoreError> {
    let sql = match transaction.dialect() {
        Dialect::Sqlite => "select feed_number from events order by feed_number desc limit 1",
        Dialect::Postgres => "select head from feed",
    };
    transaction.first(sql, &[], |row| row.get(0)).map(Option::unwrap_or_default)
}

pub(super) fn feed_sql(dialect: Dialect) -> String {
    let select = select_events(dialect, "events_by_feed");
    format!("{select} where v.tenant = ?1 and v.feed_number > ?2 order by v.feed_number limit ?3")
}

/// Reads a row of [`select_events`].
pub(super) fn read_event(row: &Row) -> Result<StoredEvent, StoreError> {
    let id = EventId::from_bytes(row.get(1)?);
    let edge: EdgeId = row.parsed(2)?;
    let envelope = Envelope {
        v: VERSION,
        id,
        edge: edge.clone(),
        outbox: row.parsed(3)?,
        seq: row.get(4)?,
        at: id.at(),
        body: read_body(row, row.get(5)?)?,
    };
    Ok(StoredEvent { feed_number: row.get(0)?, edge_id: edge, received_at: row.time(6)?, envelope })
}

fn read_body(row: &Row, kind: i64) -> Result<Body, StoreError> {
    match kind {
        1 => row.json(7).map(Body::Detections),
        2 => row.json(7).map(Body::ZoneEvents),
        3 => row.json(7).map(Body::Alerts),
        4 => row.json(7).map(Body::Health),
        5 => row.json(7).map(Body::Clips),
        9 => row.json(7).map(Body::Snapshots),
        10 => row.json(7).map(Body::Footage),
        other => Err(StoreError::Database(format!("column 5: kind {other} is not known"))),
    }
}
