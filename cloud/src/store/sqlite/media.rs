//! Files of clips and snapshots.

use aivms_contract::id::EventId;
use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaType};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use rusqlite::types::Type;
use rusqlite::{Connection, Error as SqliteError, OptionalExtension, Row, Transaction, params};

use super::super::{EdgeKey, Media, MediaKey, OfferedMedia, StoreError, StoredEvent, TenantKey};
use super::connection::store_error;
use super::events::kind_number;
use super::lists::{COLUMNS, NAMES, read_event};
use super::rows::{optional_time, parsed, time};

const MEDIA: &str = "select m.id, m.tenant, e.edge_id, m.kind, m.media_id, m.camera, m.size, m.sha256, m.content_type,
    m.captured_at, m.event_id, m.object, m.stored_at from media m join edges e on e.id = m.edge";

/// Writes an offer down, or finds the file that was offered before.
pub(super) fn offer(
    transaction: &Transaction<'_>,
    offered: &OfferedMedia,
    now: UtcMillis,
) -> Result<Media, StoreError> {
    let offer = &offered.offer;
    if let Some(known) = at_place(transaction, offered.edge, offer.kind, &offer.media_id)? {
        if !known.is(offer) {
            return Err(StoreError::Taken("media_id"));
        }
        transaction
            .execute("update media set offered_at = ?2 where id = ?1", params![known.key.0, now.as_millis()])
            .map_err(store_error)?;
        return Ok(known);
    }
    let size = i64::try_from(offer.size_bytes).map_err(|_| StoreError::QuotaFull)?;
    let total: i64 = transaction
        .query_row("select bytes from media_totals where tenant = ?1", [offered.tenant.0], |row| row.get(0))
        .optional()
        .map_err(store_error)?
        .unwrap_or_default();
    let total = total.saturating_add(size);
    if u64::try_from(total).unwrap_or_default() > offered.quota_bytes {
        return Err(StoreError::QuotaFull);
    }
    set_total(transaction, offered.tenant, total)?;
    insert(transaction, offered, size, now)?;
    at_place(transaction, offered.edge, offer.kind, &offer.media_id)?.ok_or(StoreError::NotFound)
}

/// A file by its edge and its id there.
pub(super) fn at_place(
    connection: &Connection,
    edge: EdgeKey,
    kind: MediaKind,
    media_id: &MediaId,
) -> Result<Option<Media>, StoreError> {
    connection
        .prepare_cached(&format!("{MEDIA} where m.edge = ?1 and m.kind = ?2 and m.media_id = ?3"))
        .and_then(|mut find| {
            find.query_row(params![edge.0, media_kind_number(kind), media_id.as_str()], read).optional()
        })
        .map_err(store_error)
}

/// A file of a tenant by its row.
pub(super) fn by_key(connection: &Connection, tenant: TenantKey, key: MediaKey) -> Result<Option<Media>, StoreError> {
    connection
        .prepare_cached(&format!("{MEDIA} where m.id = ?1 and m.tenant = ?2"))
        .and_then(|mut find| find.query_row(params![key.0, tenant.0], read).optional())
        .map_err(store_error)
}

/// The file of an event of a clip or snapshot.
pub(super) fn of_event(
    connection: &Connection,
    tenant: TenantKey,
    event: &StoredEvent,
) -> Result<Option<Media>, StoreError> {
    use aivms_contract::envelope::Body;
    let (kind, media_id): (_, MediaId) = match &event.envelope.body {
        Body::Clips(clip) => (MediaKind::Clip, clip.clip_id.clone().into()),
        Body::Snapshots(snapshot) => (MediaKind::Snapshot, snapshot.snapshot_id.clone().into()),
        _ => return Ok(None),
    };
    connection
        .prepare_cached(&format!("{MEDIA} where e.edge_id = ?1 and m.kind = ?2 and m.media_id = ?3 and m.tenant = ?4"))
        .and_then(|mut find| {
            let values = params![event.edge_id.as_str(), media_kind_number(kind), media_id.as_str(), tenant.0];
            find.query_row(values, read).optional()
        })
        .map_err(store_error)
}

/// The newest event of a clip or snapshot by its id.
pub(super) fn event_of(
    connection: &Connection,
    tenant: TenantKey,
    kind: MediaKind,
    media_id: &MediaId,
) -> Result<Option<StoredEvent>, StoreError> {
    let sql = format!(
        "{COLUMNS} from events v indexed by events_of_media {NAMES}
         where v.tenant = ?1 and v.kind = ?2 and v.kind in (5, 9)
             and coalesce(json_extract(v.body, '$.clip_id'), json_extract(v.body, '$.snapshot_id')) = ?3
         order by v.id desc limit 1"
    );
    let values = params![tenant.0, kind_number(up_kind(kind)), media_id.as_str()];
    connection
        .prepare_cached(&sql)
        .and_then(|mut find| find.query_row(values, read_event).optional())
        .map_err(store_error)
}

/// Says that a file is where it stays.
pub(super) fn stored(transaction: &Transaction<'_>, key: MediaKey, now: UtcMillis) -> Result<(), StoreError> {
    let sql = "update media set stored_at = ?2 where id = ?1 and stored_at is null";
    transaction.execute(sql, params![key.0, now.as_millis()]).map(|_| ()).map_err(store_error)
}

/// Files that are not stored and were not offered since `before`, oldest first.
pub(super) fn unfinished(connection: &Connection, before: UtcMillis, limit: u32) -> Result<Vec<Media>, StoreError> {
    let sql = format!("{MEDIA} where m.stored_at is null and m.offered_at < ?1 order by m.offered_at limit ?2");
    connection
        .prepare_cached(&sql)
        .and_then(|mut list| list.query_map(params![before.as_millis(), limit], read)?.collect())
        .map_err(store_error)
}

/// Forgets a file that is not stored; true when there was one.
pub(super) fn forget(transaction: &Transaction<'_>, key: MediaKey) -> Result<bool, StoreError> {
    let sql = "delete from media where id = ?1 and stored_at is null returning tenant, size";
    let gone: Option<(i64, i64)> =
        transaction.query_row(sql, [key.0], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(store_error)?;
    if let Some((tenant, size)) = gone {
        transaction
            .execute("update media_totals set bytes = max(bytes - ?2, 0) where tenant = ?1", params![tenant, size])
            .map_err(store_error)?;
    }
    Ok(gone.is_some())
}

fn set_total(transaction: &Transaction<'_>, tenant: TenantKey, bytes: i64) -> Result<(), StoreError> {
    let sql = "insert into media_totals (tenant, bytes) values (?1, ?2) on conflict do update set bytes = ?2";
    transaction.execute(sql, params![tenant.0, bytes]).map(|_| ()).map_err(store_error)
}

fn insert(transaction: &Transaction<'_>, offered: &OfferedMedia, size: i64, now: UtcMillis) -> Result<(), StoreError> {
    let MediaOffer { kind, media_id, camera_id, sha256, content_type, captured_at, event_id, .. } = &offered.offer;
    transaction
        .execute(
            "insert into media (tenant, edge, kind, media_id, camera, size, sha256, content_type, captured_at,
                 event_id, object, offered_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                offered.tenant.0,
                offered.edge.0,
                media_kind_number(*kind),
                media_id.as_str(),
                camera_id.as_str(),
                size,
                sha256.as_str(),
                type_number(*content_type),
                captured_at.as_millis(),
                event_id.map(EventId::to_bytes),
                offered.object,
                now.as_millis(),
            ],
        )
        .map(|_| ())
        .map_err(store_error)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Media> {
    Ok(Media {
        key: MediaKey(row.get(0)?),
        tenant: TenantKey(row.get(1)?),
        edge_id: parsed(row, 2)?,
        kind: numbered(row, 3, [(1, MediaKind::Clip), (2, MediaKind::Snapshot)])?,
        media_id: parsed(row, 4)?,
        camera_id: parsed(row, 5)?,
        size: u64::try_from(row.get::<_, i64>(6)?).unwrap_or_default(),
        sha256: parsed(row, 7)?,
        content_type: numbered(row, 8, [(1, MediaType::Mp4), (2, MediaType::Jpeg)])?,
        captured_at: time(row, 9)?,
        event_id: row.get::<_, Option<[u8; 16]>>(10)?.map(EventId::from_bytes),
        object: row.get(11)?,
        stored_at: optional_time(row, 12)?,
    })
}

fn numbered<T: Copy, const N: usize>(row: &Row<'_>, index: usize, values: [(i64, T); N]) -> rusqlite::Result<T> {
    let number: i64 = row.get(index)?;
    let found = values.into_iter().find(|(known, _)| *known == number).map(|(_, value)| value);
    found.ok_or_else(|| {
        SqliteError::FromSqlConversionFailure(index, Type::Integer, format!("{number} is not known").into())
    })
}

fn media_kind_number(kind: MediaKind) -> i64 {
    match kind {
        MediaKind::Clip => 1,
        MediaKind::Snapshot => 2,
    }
}

fn type_number(form: MediaType) -> i64 {
    match form {
        MediaType::Mp4 => 1,
        MediaType::Jpeg => 2,
    }
}

/// The kind of the events of such files.
pub(super) fn up_kind(kind: MediaKind) -> UpKind {
    match kind {
        MediaKind::Clip => UpKind::Clips,
        MediaKind::Snapshot => UpKind::Snapshots,
    }
}
