//! Deletes what tenants' policies no longer keep, in small steps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aivms_cloud_core::retention::{Kept, Policy};
use aivms_contract::media::MediaKind;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::media::{MediaError, MediaFiles};
use crate::store::{SharedStore, StoreError, TenantKey};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(300);
/// Between two steps the database is everybody else's.
const STEP_PAUSE: Duration = Duration::from_millis(20);
/// Steps of one kind in one round, so that a tenant with much to delete does not keep others waiting.
const STEPS: usize = 400;
/// Files deleted between two looks at the policy.
const FILES_AT_ONCE: u32 = 50;
/// Time that files that can't be deleted may take of one tenant's step; refusals are quick, a dead bucket is not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Deletes until `stop`. Several processes may do so at once: what one has deleted the other does not find.
pub async fn run(store: SharedStore, files: MediaFiles, stop: CancellationToken) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        loop {
            rounds.tick().await;
            round(&store, &files).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// One round. What can't be deleted is logged and left for the next; it stops neither the rest of its tenant nor others.
async fn round(store: &SharedStore, files: &MediaFiles) {
    if let Err(error) = forget_requests(store).await {
        tracing::warn!(%error, "old requests can't be forgotten");
    }
    let policies = match store.retention_policies().await {
        Ok(policies) => policies,
        Err(error) => return tracing::warn!(%error, "policies of retention can't be read"),
    };
    for (tenant, policy) in policies {
        let deleted = apply(store, files, tenant, &policy).await;
        if deleted.is_empty() {
            continue;
        }
        if let Err(error) = store.tell_of_retention(tenant, deleted, clock::now()).await {
            tracing::warn!(tenant.key = tenant.0, %error, "what retention deleted can't be told to the audit log");
        }
    }
}

async fn forget_requests(store: &SharedStore) -> Result<(), StoreError> {
    while store.forget_requests(clock::now()).await? > 0 {
        sleep(STEP_PAUSE).await;
    }
    Ok(())
}

/// Deletes what one tenant no longer keeps, as far as it can be; returns how much of each kind.
async fn apply(
    store: &SharedStore,
    files: &MediaFiles,
    tenant: TenantKey,
    policy: &Policy,
) -> BTreeMap<&'static str, u64> {
    let mut deleted = BTreeMap::new();
    for kept in Kept::ALL {
        if policy.cutoff(kept, clock::now()).is_none() {
            continue;
        }
        let mut count = 0;
        if let Err(error) = delete_kind(store, files, tenant, kept, &mut count).await {
            let kind = kept.as_str();
            tracing::warn!(tenant.key = tenant.0, kind, %error, "what is no longer kept can't be deleted");
        }
        if count > 0 {
            deleted.insert(kept.as_str(), count);
        }
    }
    deleted
}

/// Deletes what a tenant no longer keeps of a kind; `count` says how much, also when something fails.
async fn delete_kind(
    store: &SharedStore,
    files: &MediaFiles,
    tenant: TenantKey,
    kept: Kept,
    count: &mut u64,
) -> Result<(), StoreError> {
    let files_kind = match kept {
        Kept::Clips => Some(MediaKind::Clip),
        Kept::Snapshots => Some(MediaKind::Snapshot),
        _ => None,
    };
    if let Some(kind) = files_kind {
        delete_files(store, files, tenant, kept, kind).await?;
    }
    for _ in 0..STEPS {
        let step = store.delete_expired_events(tenant, kept, clock::now()).await?;
        *count += step;
        if step == 0 {
            break;
        }
        sleep(STEP_PAUSE).await;
    }
    if kept == Kept::Alerts {
        delete_alerts(store, tenant, count).await?;
    }
    Ok(())
}

/// Raised alerts that are resolved, with all that belongs to them.
async fn delete_alerts(store: &SharedStore, tenant: TenantKey, count: &mut u64) -> Result<(), StoreError> {
    for _ in 0..STEPS {
        let step = store.delete_expired_alerts(tenant, clock::now()).await?;
        if step == 0 {
            break;
        }
        *count += step;
        sleep(STEP_PAUSE).await;
    }
    Ok(())
}

/// A file is marked as going, then it goes, then its row: after a crash in between the janitor finds the row. It finds
/// the row of a file that could not be deleted as well, and that one is not met here again.
async fn delete_files(
    store: &SharedStore,
    files: &MediaFiles,
    tenant: TenantKey,
    kept: Kept,
    kind: MediaKind,
) -> Result<(), StoreError> {
    let mut failures = Failures::default();
    for _ in 0..STEPS {
        // A hold that was set meanwhile wins.
        let Some(before) = store.retention_policy(tenant).await?.cutoff(kept, clock::now()) else { break };
        let expired = store.expired_media(tenant, kind, before, FILES_AT_ONCE).await?;
        if expired.is_empty() || failures.took > PATIENCE {
            break;
        }
        for media in &expired {
            let begun = Instant::now();
            match files.delete(media).await {
                Ok(_) => {}
                Err(MediaError::Store(error)) => return Err(error),
                Err(error) => failures.add(error, begun.elapsed()),
            }
            if failures.took > PATIENCE {
                break;
            }
        }
        sleep(STEP_PAUSE).await;
    }
    if let Some(error) = failures.last {
        let (kind, count) = (kept.as_str(), failures.count);
        tracing::warn!(tenant.key = tenant.0, kind, count, %error, "files can't be deleted; tried again later");
    }
    Ok(())
}

/// Files of a tenant that could not be deleted.
#[derive(Default)]
struct Failures {
    count: u64,
    took: Duration,
    last: Option<MediaError>,
}

impl Failures {
    fn add(&mut self, error: MediaError, took: Duration) {
        self.count += 1;
        self.took += took;
        self.last = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use aivms_contract::detection::Detection;
    use aivms_contract::envelope::Body;
    use aivms_contract::media::{MediaOffer, MediaType, Sha256Hex};
    use aivms_contract::time::UtcMillis;
    use bytes::Bytes;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::media::{MediaSettings, Sender};
    use crate::store::suite::{detection, edge, incoming, tenant};
    use crate::store::{AuditFilter, Edge, Media, Store, User};

    /// Stores a clip of long ago.
    async fn clip(store: &SharedStore, files: &MediaFiles, owner: &User, edge: &Edge, id: &str) -> Media {
        let bytes = Bytes::from_static(b"a clip");
        let offer = MediaOffer {
            kind: MediaKind::Clip,
            media_id: id.parse().unwrap(),
            camera_id: "door".parse().unwrap(),
            size_bytes: bytes.len() as u64,
            sha256: Sha256Hex::from_bytes(Sha256::digest(&bytes).into()),
            content_type: MediaType::Mp4,
            captured_at: long_ago(),
            event_id: None,
        };
        let (tenant_id, edge_id) = (owner.tenant_id.clone(), edge.edge_id.clone());
        let sender = Sender { tenant: owner.tenant, tenant_id, edge: edge.key, edge_id };
        files.offer(&sender, offer.clone()).await.unwrap();
        assert!(files.piece(&sender, MediaKind::Clip, &offer.media_id, 0, bytes).await.unwrap().stored);
        store.offered_media(edge.key, MediaKind::Clip, &offer.media_id).await.unwrap().unwrap()
    }

    fn long_ago() -> UtcMillis {
        "2020-01-01T00:00:00Z".parse().unwrap()
    }

    /// An object that can't be deleted, as under an object lock: a folder is none.
    fn lock(folder: &Path, clip: &Media) {
        let place = folder.join(&clip.object);
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir_all(place.join("locked")).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_can_not_be_deleted_stops_neither_its_tenants_others_nor_other_tenants() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open_sqlite(&dir.path().join("cloud.db")).unwrap());
        let settings = MediaSettings {
            folder: dir.path().join("clips"),
            bucket: None,
            staging: dir.path().join("uploads"),
            max_file_bytes: 1_000,
            quota_bytes: u64::MAX,
            min_free_bytes: 0,
            unfinished_for: Duration::from_secs(3600),
        };
        let (folder, files) = (settings.folder.clone(), MediaFiles::open(settings, Arc::clone(&store)).unwrap());
        let mut kept = Vec::new();
        for (slug, edge_id) in [("acme", "edge_a"), ("rival", "edge_b")] {
            let owner = tenant(&store, slug).await;
            let edge = edge(&store, &owner, edge_id).await;
            let old = Body::Detections(Detection { timestamp: long_ago(), ..detection(0) });
            store.record_events(vec![incoming(&owner, &edge, 1, old)]).await.unwrap();
            let clips =
                [clip(&store, &files, &owner, &edge, "a").await, clip(&store, &files, &owner, &edge, "b").await];
            let policy = Policy { maximum: Some(1), ..Policy::default() };
            store.set_retention_policy(owner.tenant, policy, clock::now()).await.unwrap();
            kept.push((owner, clips));
        }
        lock(&folder, &kept[0].1[0]);
        round(&store, &files).await;
        for (owner, clips) in &kept {
            let left = clips.iter().filter(|clip| folder.join(&clip.object).exists()).count();
            assert_eq!(left, usize::from(owner.key == kept[0].0.key), "only what is locked is left");
            let told = store.audit_entries(owner.tenant, AuditFilter::default(), None, 1).await.unwrap().items;
            assert_eq!(told[0].action, "retention.deleted");
        }
    }
}
