//! Locks of single clips and snapshots: retention leaves the file and what tells of it.

use aivms_cloud_core::audit::Action;
use aivms_contract::media::MediaKind;
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};

use super::media::{Media, MediaKey};
use super::media_rows::media_kind_number;
use super::sql::{Transaction, values};
use super::{Store, StoreError, TenantKey, audit, retention};

impl Store {
    /// Locks a stored file, or gives its lock another reason.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is not stored, or not any more.
    pub async fn lock_media(&self, media: &Media, reason: String, now: UtcMillis) -> Result<(), StoreError> {
        let media = media.clone();
        self.write(move |transaction| {
            let doer = transaction.doer().actor.id;
            let locked = transaction.execute(
                "update media set locked_at = coalesce(locked_at, ?3), locked_by = ?4, lock_reason = ?5
                 where id = ?1 and tenant = ?2 and stored_at is not null",
                &values![media.key.0, media.tenant.0, now, doer, &reason],
            )?;
            if locked == 0 {
                return Err(StoreError::NotFound);
            }
            let action = match media.kind {
                MediaKind::Clip => Action::ClipLocked,
                MediaKind::Snapshot => Action::SnapshotLocked,
            };
            note(transaction, &media, action, json!({ "reason": reason }), now)
        })
        .await
    }

    /// Takes the lock of a file away. Taking it away again changes nothing.
    ///
    /// # Errors
    /// The database's own.
    pub async fn unlock_media(&self, media: &Media, now: UtcMillis) -> Result<(), StoreError> {
        let media = media.clone();
        self.write(move |transaction| {
            let unlocked = transaction.execute(
                "update media set locked_at = null, locked_by = null, lock_reason = null
                 where id = ?1 and tenant = ?2 and locked_at is not null",
                &values![media.key.0, media.tenant.0],
            )?;
            if unlocked == 0 {
                return Ok(());
            }
            let action = match media.kind {
                MediaKind::Clip => Action::ClipUnlocked,
                MediaKind::Snapshot => Action::SnapshotUnlocked,
            };
            note(transaction, &media, action, Json::Null, now)
        })
        .await
    }

    /// Says that a stored file is going to be deleted: from then on it counts as unfinished. False when it is locked, its
    /// tenant is on legal hold, or it is not stored.
    ///
    /// # Errors
    /// The database's own.
    pub async fn begin_media_deletion(&self, tenant: TenantKey, key: MediaKey) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            if retention::is_on_hold(transaction, tenant)? {
                return Ok(false);
            }
            let sql = "update media set stored_at = null
                where id = ?1 and tenant = ?2 and locked_at is null and stored_at is not null";
            Ok(transaction.execute(sql, &values![key.0, tenant.0])? > 0)
        })
        .await
    }
}

/// Locked files of a kind from before `before`.
pub(super) fn locked_before(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kind: MediaKind,
    before: UtcMillis,
) -> Result<u64, StoreError> {
    let sql = "select count(*) from media where tenant = ?1 and kind = ?2 and captured_at < ?3
        and locked_at is not null";
    let values = values![tenant.0, media_kind_number(kind), before];
    Ok(transaction.first(sql, &values, |row| row.get(0))?.unwrap_or_default())
}

fn note(
    transaction: &mut Transaction<'_>,
    media: &Media,
    action: Action,
    mut detail: Json,
    now: UtcMillis,
) -> Result<(), StoreError> {
    if detail.is_null() {
        detail = json!({});
    }
    detail["edge_id"] = json!(media.edge_id.as_str());
    detail["camera_id"] = json!(media.camera_id.as_str());
    audit::note(transaction, media.tenant, action, Some(media.media_id.as_str()), detail, now)
}
