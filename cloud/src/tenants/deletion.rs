//! Deletes a tenant, step by step: everybody is shut out, files go, rows go, and a last look follows an hour later.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::clock;
use crate::media::{MediaError, MediaFiles};
use crate::store::{DueDeletion, SharedStore};

/// Files removed between two looks at the list of them.
const FILES_AT_ONCE: u32 = 50;
/// Between two steps the database is everybody else's.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// Time to remove what lies in a tenant's folder; what is left then goes in the next try. Below the lease of a deletion.
const FOLDER_LIMIT: Duration = Duration::from_secs(30);

/// Works on one deletion that is due, if there is one; false when there is none.
pub(super) async fn work(store: &SharedStore, files: &MediaFiles) -> Result<bool, MediaError> {
    let Some(due) = store.take_tenant_deletion(clock::now()).await? else { return Ok(false) };
    if !store.close_tenant(due.tenant, clock::now()).await? {
        return Ok(true);
    }
    if !due.is_last_look {
        tracing::info!(tenant.id = %due.tenant_id, "the deletion of a tenant begins");
    }
    let removed = erase_files(store, files, &due).await?;
    let rows = erase_rows(store, &due).await?;
    store.tenant_emptied(&due, clock::now()).await?;
    tracing::info!(tenant.id = %due.tenant_id, due.is_last_look, rows, files = removed, "a tenant is deleted");
    Ok(true)
}

/// Removes the files that rows tell of, then whatever else lies in the tenant's folder: exports, and what crashes left.
async fn erase_files(store: &SharedStore, files: &MediaFiles, due: &DueDeletion) -> Result<u64, MediaError> {
    let mut removed = 0;
    loop {
        let some = store.media_to_erase(due.tenant, FILES_AT_ONCE).await?;
        if some.is_empty() {
            store.keep_tenant_deletion(due.tenant, clock::now()).await?;
            // Shorter than the lease: whoever comes next may free the tenant's name, and somebody else may take it.
            let erased = timeout(FOLDER_LIMIT, files.erase_folder(&due.tenant_id)).await;
            return Ok(removed + erased.map_err(|_| MediaError::Objects(slow()))??);
        }
        for media in &some {
            files.erase(media).await?;
            removed += 1;
        }
        store.keep_tenant_deletion(due.tenant, clock::now()).await?;
    }
}

fn slow() -> object_store::Error {
    let source = format!("emptying a folder takes longer than {} s; going on later", FOLDER_LIMIT.as_secs()).into();
    object_store::Error::Generic { store: "media", source }
}

/// Empties every table of the tenant's rows, until a whole round finds none: something may have come meanwhile.
async fn erase_rows(store: &SharedStore, due: &DueDeletion) -> Result<u64, MediaError> {
    let tables = store.tables_to_empty().await?;
    let mut rows = 0;
    loop {
        let before = rows;
        for table in &tables {
            loop {
                let deleted = store.delete_tenants_rows(due.tenant, table).await?;
                if deleted == 0 {
                    break;
                }
                rows += deleted;
                store.keep_tenant_deletion(due.tenant, clock::now()).await?;
                sleep(STEP_PAUSE).await;
            }
        }
        if rows == before {
            return Ok(rows);
        }
    }
}
