//! What is done for whole tenants in the background: exports are written, and tenants that were asked to go are deleted.
//!
//! Every process looks for work; a lease in the database gives each piece of it to one of them, and to another one when
//! that dies.

mod deletion;
mod export;

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock;
use crate::media::{MediaError, MediaFiles};
use crate::store::SharedStore;

/// Time between two looks for work.
const LOOK: Duration = Duration::from_secs(2);

/// What the operator of the cloud has set.
#[derive(Debug, Clone)]
pub struct TenantSettings {
    /// Days for which an export can be downloaded.
    pub export_days: u32,
    /// Where people reach the cloud, for mails.
    pub public_url: Option<Url>,
}

/// Works until `stop`.
pub async fn run(store: SharedStore, files: MediaFiles, settings: TenantSettings, stop: CancellationToken) {
    let deletions = stop.run_until_cancelled(delete_tenants(&store, &files));
    tokio::join!(deletions, write_exports(&store, &files, &settings, &stop));
}

async fn delete_tenants(store: &SharedStore, files: &MediaFiles) {
    loop {
        match deletion::work(store, files).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a tenant can't be deleted yet; trying again"),
        }
        pause().await;
    }
}

/// Ends by itself at a stop, so that what was begun is given back.
async fn write_exports(store: &SharedStore, files: &MediaFiles, settings: &TenantSettings, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match export::work(store, files, settings, stop).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "exports can't be looked for; trying again"),
        }
        if let Err(error) = delete_archives(store, files).await {
            tracing::warn!(%error, "an expired export can't be deleted; trying again");
        }
        stop.run_until_cancelled(pause()).await;
    }
}

/// The archive goes before the row says so: after a crash between the two it is removed again.
async fn delete_archives(store: &SharedStore, files: &MediaFiles) -> Result<(), MediaError> {
    for export in store.exports_to_delete(clock::now()).await? {
        if let Some(place) = &export.object {
            files.remove_archives(place, export.export_id.as_str()).await?;
        }
        store.export_deleted(export.key, clock::now()).await?;
    }
    Ok(())
}

/// Spread, so that several processes do not look at the same moments.
async fn pause() {
    sleep(LOOK.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
}
