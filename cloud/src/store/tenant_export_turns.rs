//! Writing of exports: one process at a time, until the archive is whole or it was tried too often; and what is left to
//! delete.

use std::time::Duration;

use aivms_cloud_core::audit::{Action, Actor};
use aivms_cloud_core::letters::{self, Letter};
use aivms_contract::id::TenantId;
use aivms_contract::media::Sha256Hex;
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};

use super::audit::{self, NewAudit};
use super::mail::{NewMail, enqueue};
use super::sql::{Row, Transaction, values};
use super::tenant_exports::{ExportProgress, SELECT, TenantExport, TenantExportKey, read};
use super::{Store, StoreError, TenantKey};

/// How long a process has an export for itself after it last said that it works on it.
const LEASE: Duration = Duration::from_secs(60);
/// Tries before an export has failed.
const MAX_ATTEMPTS: i64 = 5;
/// How long an export waits after a try that failed.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long it is listed after its archive is gone.
const LISTED_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

/// An export that this process alone writes.
#[derive(Debug, Clone)]
pub struct LeasedExport {
    /// The export.
    pub export: TenantExport,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// The name of this try.
    pub(crate) lease: String,
}

impl Store {
    /// Takes an export that nobody works on, if there is one; its progress begins anew. One whose process died too
    /// often is given up.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_export(&self, now: UtcMillis) -> Result<Option<LeasedExport>, StoreError> {
        self.write(move |transaction| {
            give_up_hopeless(transaction, now)?;
            let found = transaction.first(
                "select x.id, t.tenant_id, x.export_id from tenant_exports x join tenants t on t.id = x.tenant
                 where x.state in ('waiting', 'running') and (x.leased_until is null or x.leased_until <= ?1)
                     and t.closed_at is null
                 order by x.id limit 1",
                &values![now],
                |row| Ok((row.get::<i64>(0)?, row.parsed::<TenantId>(1)?, row.get::<String>(2)?)),
            )?;
            let Some((key, tenant_id, export_id)) = found else { return Ok(None) };
            let lease = format!("{:032x}", fastrand::u128(..));
            transaction.execute(
                "update tenant_exports set state = 'running', attempts = attempts + 1, lease = ?2, leased_until = ?3,
                     started_at = ?4, lines = 0, bytes = 0, files = 0, files_of = 0, object = ?5
                 where id = ?1",
                &values![key, &lease, now + LEASE, now, place(&tenant_id, &export_id, &lease)],
            )?;
            let export = transaction.first(&format!("{SELECT} where id = ?1"), &values![key], read)?;
            Ok(export.map(|export| LeasedExport { export, tenant_id, lease }))
        })
        .await
    }

    /// Says how far an export is, and goes on having it for itself; false when it is this try's no more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn keep_export(
        &self,
        leased: &LeasedExport,
        progress: ExportProgress,
        now: UtcMillis,
    ) -> Result<bool, StoreError> {
        let (key, lease) = (leased.export.key, leased.lease.clone());
        self.write(move |transaction| {
            let ExportProgress { step, lines, bytes, files, files_of } = &progress;
            let kept = transaction.execute(
                "update tenant_exports set leased_until = ?3, step = ?4, lines = ?5, bytes = ?6, files = ?7,
                     files_of = ?8
                 where id = ?1 and lease = ?2",
                &values![
                    key.0,
                    &lease,
                    now + LEASE,
                    step.clone(),
                    number(*lines),
                    number(*bytes),
                    number(*files),
                    number(*files_of)
                ],
            )?;
            Ok(kept > 0)
        })
        .await
    }

    /// Says that the archive is whole; false when it is this try's no more. `letter` goes to who asked for it.
    ///
    /// # Errors
    /// The database's own.
    pub async fn export_finished(
        &self,
        leased: &LeasedExport,
        progress: ExportProgress,
        sha256: Sha256Hex,
        (base, days): (Option<String>, u32),
        now: UtcMillis,
    ) -> Result<bool, StoreError> {
        let leased = leased.clone();
        self.write(move |transaction| {
            let (export, days_long) = (&leased.export, Duration::from_secs(u64::from(days) * 24 * 3_600));
            let done = transaction.execute(
                "update tenant_exports set state = 'finished', finished_at = ?3, expires_at = ?4, sha256 = ?5,
                     step = null, lines = ?6, bytes = ?7, files = ?8, files_of = ?9, lease = null, leased_until = null
                 where id = ?1 and lease = ?2",
                &values![
                    export.key.0,
                    &leased.lease,
                    now,
                    now + days_long,
                    sha256.as_str(),
                    number(progress.lines),
                    number(progress.bytes),
                    number(progress.files),
                    number(progress.files_of)
                ],
            )?;
            if done == 0 {
                return Ok(false);
            }
            let sql = "select name from tenants where id = ?1";
            let name: String =
                transaction.first(sql, &values![export.tenant.0], |row| row.get(0))?.ok_or(StoreError::NotFound)?;
            let letter = letters::export_finished(&name, base.as_deref(), export.export_id.as_str(), days);
            tell(transaction, &export.asked_by, letter, now)?;
            let detail = json!({ "bytes": progress.bytes, "lines": progress.lines, "files": progress.files,
                "sha256": sha256.as_str() });
            note_of_system(transaction, export, Action::TenantExportFinished, detail, now)?;
            Ok(true)
        })
        .await
    }

    /// Says that a try failed: another one follows, or the export is given up.
    ///
    /// # Errors
    /// The database's own.
    pub async fn export_tried(&self, leased: &LeasedExport, error: String, now: UtcMillis) -> Result<(), StoreError> {
        let leased = leased.clone();
        self.write(move |transaction| {
            transaction.execute(
                "update tenant_exports set state = 'waiting', lease = null, leased_until = ?3, step = null, error = ?4
                 where id = ?1 and lease = ?2",
                &values![leased.export.key.0, &leased.lease, now + RETRY_AFTER, &error],
            )?;
            give_up_hopeless(transaction, now + RETRY_AFTER)
        })
        .await
    }

    /// Gives an export back unfinished, because this process stops: another one may begin it at once.
    ///
    /// # Errors
    /// The database's own.
    pub async fn give_export_back(&self, leased: &LeasedExport) -> Result<(), StoreError> {
        let (key, lease) = (leased.export.key, leased.lease.clone());
        self.write(move |transaction| {
            let sql = "update tenant_exports set state = 'waiting', attempts = attempts - 1, lease = null,
                leased_until = null, step = null where id = ?1 and lease = ?2";
            transaction.execute(sql, &values![key.0, &lease]).map(drop)
        })
        .await
    }

    /// Exports whose archives are to be deleted: expired ones, and what tries left that are over.
    ///
    /// # Errors
    /// The database's own.
    pub async fn exports_to_delete(&self, now: UtcMillis) -> Result<Vec<TenantExport>, StoreError> {
        let sql = format!(
            "{SELECT} where object is not null
                 and (state in ('expired', 'failed') or (state = 'finished' and expires_at <= ?1)) order by id limit 100"
        );
        self.lookup(move |transaction| transaction.all(&sql, &values![now], read)).await
    }

    /// Says that the archive of an export is gone, and forgets exports whose archives went long ago.
    ///
    /// # Errors
    /// The database's own.
    pub async fn export_deleted(&self, key: TenantExportKey, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let sql = "update tenant_exports set object = null,
                state = case state when 'finished' then 'expired' else state end where id = ?1";
            transaction.execute(sql, &values![key.0])?;
            let sql = "delete from tenant_exports where object is null and state in ('expired', 'failed')
                and coalesce(expires_at, finished_at, asked_at) < ?1";
            transaction.execute(sql, &values![now - LISTED_FOR]).map(drop)
        })
        .await
    }

    /// Files of the tenant, and their bytes.
    ///
    /// # Errors
    /// The database's own.
    pub async fn media_amount(&self, tenant: TenantKey) -> Result<(u64, u64), StoreError> {
        let sql = "select count(*), cast(coalesce(sum(size), 0) as bigint) from media
            where tenant = ?1 and stored_at is not null";
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        let found = self.list(tenant, move |transaction| transaction.first(sql, &values![tenant.0], read)).await?;
        Ok(found.unwrap_or_default())
    }
}

/// `<tenant>/exports/<export>-<try>.tar`: beside the folders of its edges, whose names begin otherwise. Each try has a
/// place of its own, so that a process that was taken for dead writes over nobody's archive.
fn place(tenant_id: &TenantId, export_id: &str, lease: &str) -> String {
    format!("{tenant_id}/exports/{export_id}-{}.tar", lease.get(..8).unwrap_or_default())
}

/// Gives exports up that were tried too often.
fn give_up_hopeless(transaction: &mut Transaction<'_>, now: UtcMillis) -> Result<(), StoreError> {
    let sql = format!(
        "{SELECT} where state in ('waiting', 'running') and attempts >= ?1
             and (leased_until is null or leased_until <= ?2)"
    );
    for export in transaction.all(&sql, &values![MAX_ATTEMPTS, now], read)? {
        let error = export.error.clone().unwrap_or_else(|| "the cloud ended while it was written".to_owned());
        transaction.execute(
            "update tenant_exports set state = 'failed', lease = null, leased_until = null, step = null,
                 finished_at = ?2, error = ?3 where id = ?1",
            &values![export.key.0, now, &error],
        )?;
        note_of_system(transaction, &export, Action::TenantExportFailed, json!({ "error": error }), now)?;
    }
    Ok(())
}

fn tell(
    transaction: &mut Transaction<'_>,
    address: &str,
    (subject, text): Letter,
    now: UtcMillis,
) -> Result<(), StoreError> {
    // Whoever was removed meanwhile is told nothing.
    if !transaction.exists("select 1 from users where email = ?1 and disabled_at is null", &values![address])? {
        return Ok(());
    }
    let to = address.to_owned();
    enqueue(transaction, &NewMail { to, subject, text, html: None, useful_until: None }, now)
}

fn note_of_system(
    transaction: &mut Transaction<'_>,
    export: &TenantExport,
    action: Action,
    detail: Json,
    at: UtcMillis,
) -> Result<(), StoreError> {
    let actor = Actor::system();
    let subject = Some(export.export_id.to_string());
    audit::append(transaction, &NewAudit { tenant: export.tenant, actor, address: None, action, subject, detail, at })
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
