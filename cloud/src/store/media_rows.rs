//! Rows of the table of files: how they are written and read.

use aivms_contract::id::EventId;
use aivms_contract::media::{MediaKind, MediaOffer, MediaType};
use aivms_contract::time::UtcMillis;

use super::media::{Media, MediaKey, MediaLock, OfferedMedia};
use super::sql::{Row, Transaction, values};
use super::{StoreError, TenantKey};

/// Reads files with [`read`]; conditions follow.
pub(super) const MEDIA: &str = "select m.id, m.tenant, e.edge_id, m.kind, m.media_id, m.camera, m.size, m.sha256, m.content_type,
    m.captured_at, m.event_id, m.object, m.stored_at, m.locked_at, m.locked_by, m.lock_reason from media m join edges e on e.id = m.edge";

/// Writes down a file that is offered for the first time.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    offered: &OfferedMedia,
    size: i64,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let MediaOffer { kind, media_id, camera_id, sha256, content_type, captured_at, event_id, .. } = &offered.offer;
    transaction.execute(
        "insert into media (tenant, edge, kind, media_id, camera, size, sha256, content_type, captured_at, event_id,
             object, offered_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        &values![
            offered.tenant.0,
            offered.edge.0,
            media_kind_number(*kind),
            media_id.as_str(),
            camera_id.as_str(),
            size,
            sha256.as_str(),
            type_number(*content_type),
            *captured_at,
            *event_id,
            &offered.object,
            now,
        ],
    )?;
    Ok(())
}

/// Reads a row of [`MEDIA`].
pub(super) fn read(row: &Row) -> Result<Media, StoreError> {
    Ok(Media {
        key: MediaKey(row.get(0)?),
        tenant: TenantKey(row.get(1)?),
        edge_id: row.parsed(2)?,
        kind: numbered(row, 3, [(1, MediaKind::Clip), (2, MediaKind::Snapshot)])?,
        media_id: row.parsed(4)?,
        camera_id: row.parsed(5)?,
        size: row.get(6)?,
        sha256: row.parsed(7)?,
        content_type: numbered(row, 8, [(1, MediaType::Mp4), (2, MediaType::Jpeg)])?,
        captured_at: row.time(9)?,
        event_id: row.get::<Option<[u8; 16]>>(10)?.map(EventId::from_bytes),
        object: row.get(11)?,
        stored_at: row.optional_time(12)?,
        lock: read_lock(row)?,
    })
}

fn read_lock(row: &Row) -> Result<Option<MediaLock>, StoreError> {
    let Some(at) = row.optional_time(13)? else { return Ok(None) };
    let [by, reason] = [14, 15].map(|column| row.get::<Option<String>>(column));
    Ok(Some(MediaLock { at, by: by?.unwrap_or_default(), reason: reason?.unwrap_or_default() }))
}

fn numbered<T: Copy, const N: usize>(row: &Row, index: usize, values: [(i64, T); N]) -> Result<T, StoreError> {
    let number: i64 = row.get(index)?;
    let found = values.into_iter().find(|(known, _)| *known == number).map(|(_, value)| value);
    found.ok_or_else(|| StoreError::Database(format!("column {index}: {number} is not known")))
}

/// How the database writes what a file is.
pub(super) fn media_kind_number(kind: MediaKind) -> i64 {
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
