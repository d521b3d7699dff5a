//! Exports of everything of a tenant: asked for, shown, given up. Who writes them is in `tenant_export_turns`.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::people::TenantExportId;
use aivms_contract::media::Sha256Hex;
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};

use super::audit::{self, NewAudit};
use super::people::By;
use super::sql::{Row, Transaction, values};
use super::{Store, StoreError, TenantKey, ids};

/// Most exports of a tenant that are listed.
pub(crate) const MAX_LISTED: u32 = 100;
/// Most archives of a tenant at once, those on their way with them.
const MAX_ARCHIVES: i64 = 5;

/// An export's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantExportKey(pub(crate) i64);

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantExportState {
    /// Nobody has begun it, or it is going to be tried again.
    Waiting,
    /// It is being written.
    Running,
    /// It can be downloaded.
    Finished,
    /// It was given up.
    Failed,
    /// Its archive is gone.
    Expired,
}

/// An export as its tenant sees it.
#[derive(Debug, Clone)]
pub struct TenantExport {
    /// Its row.
    pub key: TenantExportKey,
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// Its id.
    pub export_id: TenantExportId,
    /// Whether files of clips and snapshots are in it.
    pub include_media: bool,
    /// How far it is.
    pub state: TenantExportState,
    /// When it was asked for.
    pub asked_at: UtcMillis,
    /// By whom, an address.
    pub asked_by: String,
    /// When the archive was whole, or it was given up.
    pub finished_at: Option<UtcMillis>,
    /// When the archive is deleted.
    pub expires_at: Option<UtcMillis>,
    /// How much is written.
    pub progress: ExportProgress,
    /// Its place in the folder or bucket, while something may be there.
    pub object: Option<String>,
    /// SHA-256 of the archive.
    pub sha256: Option<Sha256Hex>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How much of an export is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportProgress {
    /// What is being written.
    pub step: Option<String>,
    /// Lines.
    pub lines: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Files of clips and snapshots.
    pub files: u64,
    /// How many there are.
    pub files_of: u64,
}

/// Columns of an export, in the order [`read`] wants them.
pub(super) const SELECT: &str =
    "select id, tenant, export_id, include_media, state, asked_at, asked_by, finished_at, expires_at,
        step, lines, bytes, files, files_of, object, sha256, error
    from tenant_exports";

impl Store {
    /// Asks for an export. Fails with [`StoreError::TooMany`] while there are as many archives as there may be.
    ///
    /// # Errors
    /// See above, and the database's own.
    pub async fn ask_for_export(
        &self,
        by: By,
        include_media: bool,
        now: UtcMillis,
    ) -> Result<TenantExport, StoreError> {
        self.write(move |transaction| {
            let sql = "select count(*) from tenant_exports where tenant = ?1 and state in
                ('waiting', 'running', 'finished')";
            let there: Option<i64> = transaction.first(sql, &values![by.tenant.0], |row| row.get(0))?;
            if there.unwrap_or_default() >= MAX_ARCHIVES {
                return Err(StoreError::TooMany("exports"));
            }
            let id = ids::draw(TenantExportId::of, now)?;
            transaction.execute(
                "insert into tenant_exports (tenant, export_id, include_media, state, asked_at, asked_by)
                 values (?1, ?2, ?3, 'waiting', ?4, ?5)",
                &values![by.tenant.0, id.as_str(), include_media, now, &by.actor.id],
            )?;
            let detail = json!({ "include_media": include_media });
            note(transaction, &by, Action::TenantExportRequested, &id, detail, now)?;
            one(transaction, by.tenant, &id)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// The tenant's exports, newest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tenant_exports(&self, tenant: TenantKey) -> Result<Vec<TenantExport>, StoreError> {
        let sql = format!("{SELECT} where tenant = ?1 order by export_id desc limit ?2");
        self.list(tenant, move |transaction| transaction.all(&sql, &values![tenant.0, MAX_LISTED], read)).await
    }

    /// One export of the tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tenant_export(
        &self,
        tenant: TenantKey,
        id: TenantExportId,
    ) -> Result<Option<TenantExport>, StoreError> {
        self.lookup(move |transaction| one(transaction, tenant, &id)).await
    }

    /// An export of the tenant that can be downloaded, by its row.
    ///
    /// # Errors
    /// The database's own.
    pub async fn finished_export(
        &self,
        tenant: TenantKey,
        key: TenantExportKey,
        now: UtcMillis,
    ) -> Result<Option<TenantExport>, StoreError> {
        let sql = format!("{SELECT} where tenant = ?1 and id = ?2 and state = 'finished' and expires_at > ?3");
        self.lookup(move |transaction| transaction.first(&sql, &values![tenant.0, key.0, now], read)).await
    }

    /// Gives an export up, whatever its state: it can't be downloaded any more, and its archive is deleted soon.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_export(&self, by: By, id: TenantExportId, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let sql = "update tenant_exports set state = 'expired', expires_at = ?3, lease = null, leased_until = null,
                step = null where tenant = ?1 and export_id = ?2";
            if transaction.execute(sql, &values![by.tenant.0, id.as_str(), now])? == 0 {
                return Err(StoreError::NotFound);
            }
            note(transaction, &by, Action::TenantExportDeleted, &id, json!({}), now)
        })
        .await
    }
}

fn one(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    id: &TenantExportId,
) -> Result<Option<TenantExport>, StoreError> {
    let sql = format!("{SELECT} where tenant = ?1 and export_id = ?2");
    transaction.first(&sql, &values![tenant.0, id.as_str()], read)
}

fn note(
    transaction: &mut Transaction<'_>,
    by: &By,
    action: Action,
    id: &TenantExportId,
    detail: Json,
    at: UtcMillis,
) -> Result<(), StoreError> {
    let (actor, address, subject) = (by.actor.clone(), by.address.clone(), Some(id.to_string()));
    audit::append(transaction, &NewAudit { tenant: by.tenant, actor, address, action, subject, detail, at })
}

pub(super) fn read(row: &Row) -> Result<TenantExport, StoreError> {
    Ok(TenantExport {
        key: TenantExportKey(row.get(0)?),
        tenant: TenantKey(row.get(1)?),
        export_id: row.parsed(2)?,
        include_media: row.get(3)?,
        state: state(&row.get::<String>(4)?)?,
        asked_at: row.time(5)?,
        asked_by: row.get(6)?,
        finished_at: row.optional_time(7)?,
        expires_at: row.optional_time(8)?,
        progress: ExportProgress {
            step: row.get(9)?,
            lines: row.get(10)?,
            bytes: row.get(11)?,
            files: row.get(12)?,
            files_of: row.get(13)?,
        },
        object: row.get(14)?,
        sha256: row.optional_parsed(15)?,
        error: row.get(16)?,
    })
}

fn state(text: &str) -> Result<TenantExportState, StoreError> {
    Ok(match text {
        "waiting" => TenantExportState::Waiting,
        "running" => TenantExportState::Running,
        "finished" => TenantExportState::Finished,
        "failed" => TenantExportState::Failed,
        "expired" => TenantExportState::Expired,
        other => return Err(StoreError::Database(format!("{other:?} is no state of an export"))),
    })
}
