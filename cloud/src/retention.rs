//! Deletes what tenants' policies no longer keep, in small steps.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_cloud_core::retention::{Kept, Policy};
use aivms_contract::media::MediaKind;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::media::{MediaError, MediaFiles};
use crate::store::{SharedStore, TenantKey};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(300);
/// Between two steps the database is everybody else's.
const STEP_PAUSE: Duration = Duration::from_millis(20);
/// Steps of one kind in one round, so that a tenant with much to delete does not keep others waiting.
const STEPS: usize = 400;
/// Files deleted between two looks at the policy.
const FILES_AT_ONCE: u32 = 50;

/// Deletes until `stop`. Several processes may do so at once: what one has deleted the other does not find.
pub async fn run(store: SharedStore, files: MediaFiles, stop: CancellationToken) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        loop {
            rounds.tick().await;
            if let Err(error) = round(&store, &files).await {
                tracing::warn!(%error, "what is no longer kept can't be deleted");
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

async fn round(store: &SharedStore, files: &MediaFiles) -> Result<(), MediaError> {
    while store.forget_requests(clock::now()).await? > 0 {
        sleep(STEP_PAUSE).await;
    }
    for (tenant, policy) in store.retention_policies().await? {
        let deleted = apply(store, files, tenant, &policy).await?;
        if !deleted.is_empty() {
            store.tell_of_retention(tenant, deleted, clock::now()).await?;
        }
    }
    Ok(())
}

/// Deletes what one tenant no longer keeps; returns how much of each kind.
async fn apply(
    store: &SharedStore,
    files: &MediaFiles,
    tenant: TenantKey,
    policy: &Policy,
) -> Result<BTreeMap<&'static str, u64>, MediaError> {
    let mut deleted = BTreeMap::new();
    for kept in Kept::ALL {
        if policy.cutoff(kept, clock::now()).is_none() {
            continue;
        }
        let files_kind = match kept {
            Kept::Clips => Some(MediaKind::Clip),
            Kept::Snapshots => Some(MediaKind::Snapshot),
            _ => None,
        };
        if let Some(kind) = files_kind {
            delete_files(store, files, tenant, kept, kind).await?;
        }
        let mut count = 0;
        for _ in 0..STEPS {
            let step = store.delete_expired_events(tenant, kept, clock::now()).await?;
            count += step;
            if step == 0 {
                break;
            }
            sleep(STEP_PAUSE).await;
        }
        if kept == Kept::Alerts {
            count += delete_alerts(store, tenant).await?;
        }
        if count > 0 {
            deleted.insert(kept.as_str(), count);
        }
    }
    Ok(deleted)
}

/// Raised alerts that are resolved, with all that belongs to them.
async fn delete_alerts(store: &SharedStore, tenant: TenantKey) -> Result<u64, MediaError> {
    let mut count = 0;
    for _ in 0..STEPS {
        let step = store.delete_expired_alerts(tenant, clock::now()).await?;
        if step == 0 {
            break;
        }
        count += step;
        sleep(STEP_PAUSE).await;
    }
    Ok(count)
}

/// A file is marked as going, then it goes, then its row: after a crash in between the janitor finds the row.
async fn delete_files(
    store: &SharedStore,
    files: &MediaFiles,
    tenant: TenantKey,
    kept: Kept,
    kind: MediaKind,
) -> Result<(), MediaError> {
    for _ in 0..STEPS {
        // A hold that was set meanwhile wins.
        let Some(before) = store.retention_policy(tenant).await?.cutoff(kept, clock::now()) else { return Ok(()) };
        let expired = store.expired_media(tenant, kind, before, FILES_AT_ONCE).await?;
        if expired.is_empty() {
            return Ok(());
        }
        for media in &expired {
            files.delete(media).await?;
        }
        sleep(STEP_PAUSE).await;
    }
    Ok(())
}
