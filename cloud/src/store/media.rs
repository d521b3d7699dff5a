//! Files of clips and snapshots, as the database knows them.

use aivms_contract::envelope::Body;
use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaType, Sha256Hex};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;

use super::events::{StoredEvent, kind_number};
use super::lists::{self, EventFilter, EventPage, PageRequest, read_event, select_events};
use super::media_rows::{MEDIA, insert, media_kind_number, read};
use super::sql::{Transaction, values};
use super::{EdgeKey, Store, StoreError, TenantKey};

/// A file's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaKey(pub(crate) i64);

/// A file that an edge offers.
#[derive(Debug, Clone)]
pub struct OfferedMedia {
    /// The tenant of the edge.
    pub tenant: TenantKey,
    /// Who offers it.
    pub edge: EdgeKey,
    /// The file.
    pub offer: MediaOffer,
    /// Its place in the folder or bucket.
    pub object: String,
    /// Most bytes of the tenant's files together.
    pub quota_bytes: u64,
}

/// A file as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its row.
    pub key: MediaKey,
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// Its edge.
    pub edge_id: EdgeId,
    /// What it is.
    pub kind: MediaKind,
    /// The clip's or snapshot's id.
    pub media_id: MediaId,
    /// The camera that filmed it.
    pub camera_id: CameraId,
    /// All bytes of the file.
    pub size: u64,
    /// What the file has.
    pub sha256: Sha256Hex,
    /// Its form.
    pub content_type: MediaType,
    /// Wall time of its first picture.
    pub captured_at: UtcMillis,
    /// The event it was made for.
    pub event_id: Option<EventId>,
    /// Its place in the folder or bucket.
    pub object: String,
    /// When it was put where it stays; `None` before.
    pub stored_at: Option<UtcMillis>,
    /// That retention leaves it, if it does.
    pub lock: Option<MediaLock>,
}

/// That retention leaves a file and what tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaLock {
    /// Since when.
    pub at: UtcMillis,
    /// Who locked it, an address.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Media {
    /// Whether `offer` is of this very file.
    #[must_use]
    pub fn is(&self, offer: &MediaOffer) -> bool {
        (self.size, &self.sha256, self.content_type) == (offer.size_bytes, &offer.sha256, offer.content_type)
    }
}

impl Store {
    /// A page of events of clips or snapshots, newest first, each with its file when that was offered.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_media_events(
        &self,
        tenant: TenantKey,
        kind: MediaKind,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<EventPage<(StoredEvent, Option<Media>)>, StoreError> {
        self.list(tenant, move |transaction| {
            let EventPage { items, next } = lists::list(transaction, up_kind(kind), tenant, &filter, page)?;
            let joined = items.into_iter().map(|event| {
                let media = of_event(transaction, tenant, &event)?;
                Ok((event, media))
            });
            Ok(EventPage { items: joined.collect::<Result<_, StoreError>>()?, next })
        })
        .await
    }

    /// The newest event of a clip or snapshot by its id, with its file when that was offered.
    ///
    /// # Errors
    /// The database's own.
    pub async fn media_event(
        &self,
        tenant: TenantKey,
        kind: MediaKind,
        media_id: &MediaId,
    ) -> Result<Option<(StoredEvent, Option<Media>)>, StoreError> {
        let media_id = media_id.clone();
        self.lookup(move |transaction| {
            let Some(event) = event_of(transaction, tenant, kind, &media_id)? else { return Ok(None) };
            let media = of_event(transaction, tenant, &event)?;
            Ok(Some((event, media)))
        })
        .await
    }

    /// Writes an offered file down, or finds the one that was offered before.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another file has its id, and [`StoreError::QuotaFull`].
    pub async fn offer_media(&self, offered: OfferedMedia, now: UtcMillis) -> Result<Media, StoreError> {
        self.write(move |transaction| offer(transaction, &offered, now)).await
    }

    /// A file that an edge has offered.
    ///
    /// # Errors
    /// The database's own.
    pub async fn offered_media(
        &self,
        edge: EdgeKey,
        kind: MediaKind,
        media_id: &MediaId,
    ) -> Result<Option<Media>, StoreError> {
        let media_id = media_id.clone();
        self.lookup(move |transaction| at_place(transaction, edge, kind, &media_id)).await
    }

    /// A file of the tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn media(&self, tenant: TenantKey, key: MediaKey) -> Result<Option<Media>, StoreError> {
        let sql = format!("{MEDIA} where m.id = ?1 and m.tenant = ?2");
        self.lookup(move |transaction| transaction.first(&sql, &values![key.0, tenant.0], read)).await
    }

    /// Stored files of the tenant in the order of their rows, after `after`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn stored_media_after(
        &self,
        tenant: TenantKey,
        after: MediaKey,
        limit: u32,
    ) -> Result<Vec<Media>, StoreError> {
        let sql =
            format!("{MEDIA} where m.tenant = ?1 and m.id > ?2 and m.stored_at is not null order by m.id limit ?3");
        self.list(tenant, move |transaction| transaction.all(&sql, &values![tenant.0, after.0, limit], read)).await
    }

    /// Says that a file is where it stays; saying it again changes nothing.
    ///
    /// # Errors
    /// The database's own.
    pub async fn media_stored(&self, key: MediaKey, now: UtcMillis) -> Result<(), StoreError> {
        let sql = "update media set stored_at = ?2 where id = ?1 and stored_at is null";
        self.write(move |transaction| transaction.execute(sql, &values![key.0, now])).await.map(drop)
    }

    /// Files of all tenants that are not stored and were not offered since `before`, oldest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn unfinished_media(&self, before: UtcMillis, limit: u32) -> Result<Vec<Media>, StoreError> {
        let sql = format!("{MEDIA} where m.stored_at is null and m.offered_at < ?1 order by m.offered_at limit ?2");
        self.lookup(move |transaction| transaction.all(&sql, &values![before, limit], read)).await
    }

    /// Puts off giving up a file that is not stored, as if it were offered `now`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn put_off_media(&self, key: MediaKey, now: UtcMillis) -> Result<(), StoreError> {
        let sql = "update media set offered_at = ?2 where id = ?1 and stored_at is null";
        self.write(move |transaction| transaction.execute(sql, &values![key.0, now]).map(drop)).await
    }

    /// Forgets a file that is not stored and gives its bytes back to the tenant; true when there was one.
    ///
    /// # Errors
    /// The database's own.
    pub async fn forget_media(&self, key: MediaKey) -> Result<bool, StoreError> {
        self.write(move |transaction| forget(transaction, key)).await
    }
}

fn offer(transaction: &mut Transaction<'_>, offered: &OfferedMedia, now: UtcMillis) -> Result<Media, StoreError> {
    let offer = &offered.offer;
    if let Some(known) = at_place(transaction, offered.edge, offer.kind, &offer.media_id)? {
        if !known.is(offer) {
            return Err(StoreError::Taken("media_id"));
        }
        transaction.execute("update media set offered_at = ?2 where id = ?1", &values![known.key.0, now])?;
        return Ok(known);
    }
    let size = i64::try_from(offer.size_bytes).map_err(|_| StoreError::QuotaFull)?;
    let sql = "select bytes from media_totals where tenant = ?1";
    let total: Option<i64> = transaction.first(sql, &values![offered.tenant.0], |row| row.get(0))?;
    let total = total.unwrap_or_default().saturating_add(size);
    if u64::try_from(total).unwrap_or_default() > offered.quota_bytes {
        return Err(StoreError::QuotaFull);
    }
    let sql = "insert into media_totals (tenant, bytes) values (?1, ?2) on conflict (tenant) do update set bytes = ?2";
    transaction.execute(sql, &values![offered.tenant.0, total])?;
    insert(transaction, offered, size, now)?;
    at_place(transaction, offered.edge, offer.kind, &offer.media_id)?.ok_or(StoreError::NotFound)
}

/// A file by its edge and its id there.
fn at_place(
    transaction: &mut Transaction<'_>,
    edge: EdgeKey,
    kind: MediaKind,
    media_id: &MediaId,
) -> Result<Option<Media>, StoreError> {
    let sql = format!("{MEDIA} where m.edge = ?1 and m.kind = ?2 and m.media_id = ?3");
    transaction.first(&sql, &values![edge.0, media_kind_number(kind), media_id.as_str()], read)
}

/// The file of an event of a clip or snapshot.
fn of_event(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    event: &StoredEvent,
) -> Result<Option<Media>, StoreError> {
    let (kind, media_id): (_, MediaId) = match &event.envelope.body {
        Body::Clips(clip) => (MediaKind::Clip, clip.clip_id.clone().into()),
        Body::Snapshots(snapshot) => (MediaKind::Snapshot, snapshot.snapshot_id.clone().into()),
        _ => return Ok(None),
    };
    let sql = format!("{MEDIA} where e.edge_id = ?1 and m.kind = ?2 and m.media_id = ?3 and m.tenant = ?4");
    let values = values![event.edge_id.as_str(), media_kind_number(kind), media_id.as_str(), tenant.0];
    transaction.first(&sql, &values, read)
}

/// The newest event of a clip or snapshot by its id.
fn event_of(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kind: MediaKind,
    media_id: &MediaId,
) -> Result<Option<StoredEvent>, StoreError> {
    let select = select_events(transaction.dialect(), "events_by_subject");
    let sql = format!("{select} where v.tenant = ?1 and v.kind = ?2 and v.subject = ?3 order by v.id desc limit 1");
    transaction.first(&sql, &values![tenant.0, kind_number(up_kind(kind)), media_id.as_str()], read_event)
}

/// Forgets a file that is not stored; true when there was one.
fn forget(transaction: &mut Transaction<'_>, key: MediaKey) -> Result<bool, StoreError> {
    let gone: Option<(i64, i64)> = transaction.first(
        "delete from media where id = ?1 and stored_at is null returning tenant, size",
        &values![key.0],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if let Some((tenant, size)) = gone {
        let sql = "update media_totals set bytes = case when bytes > ?2 then bytes - ?2 else 0 end where tenant = ?1";
        transaction.execute(sql, &values![tenant, size])?;
    }
    Ok(gone.is_some())
}

/// Stored files from before `before` that nobody locked, oldest first.
pub(super) fn stored_before(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kind: MediaKind,
    before: UtcMillis,
    limit: u32,
) -> Result<Vec<Media>, StoreError> {
    let sql = format!(
        "{MEDIA} where m.tenant = ?1 and m.kind = ?2 and m.captured_at < ?3 and m.stored_at is not null
             and m.locked_at is null
         order by m.captured_at, m.id limit ?4"
    );
    transaction.all(&sql, &values![tenant.0, media_kind_number(kind), before, limit], read)
}

/// Bytes of stored files: of all, or of those from before `before` that nobody locked.
pub(super) fn stored_bytes(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kind: MediaKind,
    before: Option<UtcMillis>,
) -> Result<u64, StoreError> {
    let sql = "select cast(coalesce(sum(size), 0) as bigint) from media
               where tenant = ?1 and kind = ?2 and stored_at is not null
                   and captured_at < coalesce(cast(?3 as bigint), 9223372036854775807)
                   and (cast(?3 as bigint) is null or locked_at is null)";
    let values = values![tenant.0, media_kind_number(kind), before];
    Ok(transaction.first(sql, &values, |row| row.get(0))?.unwrap_or_default())
}

/// Some files of the tenant, stored or not.
pub(super) fn of_tenant(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    limit: u32,
) -> Result<Vec<Media>, StoreError> {
    let sql = format!("{MEDIA} where m.tenant = ?1 order by m.id limit ?2");
    transaction.all(&sql, &values![tenant.0, limit], read)
}

/// Forgets a stored file and gives its bytes back to the tenant; true when there was one.
pub(super) fn forget_stored(transaction: &mut Transaction<'_>, key: MediaKey) -> Result<bool, StoreError> {
    let sql = "update media set stored_at = null where id = ?1";
    transaction.execute(sql, &values![key.0])?;
    forget(transaction, key)
}

/// The kind of the events of such files.
fn up_kind(kind: MediaKind) -> UpKind {
    match kind {
        MediaKind::Clip => UpKind::Clips,
        MediaKind::Snapshot => UpKind::Snapshots,
    }
}
