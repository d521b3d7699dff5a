//! Locks of single clips and snapshots: neither retention nor anything else but the end of the tenant removes them.

use std::sync::Arc;

use aivms_contract::id::{ClipId, SnapshotId};
use aivms_contract::media::{MediaId, MediaKind};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::events::plain;
use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{Media, MediaLock, StoreError, UserRole};

pub(super) struct MediaLocksApi(pub Arc<Services>);

/// Why something is locked.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct LockRequest {
    /// For whoever finds it locked, such as the number of a case.
    #[oai(validator(min_length = 1, max_length = 200))]
    reason: String,
}

/// That retention leaves a clip or snapshot.
#[derive(Debug, Object)]
#[oai(rename = "MediaLock")]
pub(super) struct LockAnswer {
    /// Since when.
    locked_at: Text<Time>,
    /// Address of who locked it, or id of the key.
    locked_by: String,
    /// Why.
    reason: String,
}

#[derive(ApiResponse)]
enum Unlocked {
    /// Retention treats it as all others.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api", tag = "Tags::Media")]
impl MediaLocksApi {
    /// Lock a clip
    ///
    /// Its file must be here; retention leaves both it and what tells of it until the lock is taken away. Locking it
    /// again gives the lock another reason. Needs the role operator.
    #[oai(path = "/clips/:clip_id/lock", method = "put", operation_id = "lock_clip")]
    async fn lock_clip(
        &self,
        signed_in: SignedIn,
        /// The clip.
        clip_id: Path<Text<ClipId>>,
        body: Body<LockRequest>,
    ) -> Result<Json<LockAnswer>, Failure> {
        self.lock(signed_in, MediaKind::Clip, plain(clip_id.0).into(), body.0).await
    }

    /// Take the lock of a clip away
    ///
    /// Needs the role operator.
    #[oai(path = "/clips/:clip_id/lock", method = "delete", operation_id = "unlock_clip")]
    async fn unlock_clip(
        &self,
        signed_in: SignedIn,
        /// The clip.
        clip_id: Path<Text<ClipId>>,
    ) -> Result<Unlocked, Failure> {
        self.unlock(signed_in, MediaKind::Clip, plain(clip_id.0).into()).await
    }

    /// Lock a snapshot
    ///
    /// As a clip is locked. Needs the role operator.
    #[oai(path = "/snapshots/:snapshot_id/lock", method = "put", operation_id = "lock_snapshot")]
    async fn lock_snapshot(
        &self,
        signed_in: SignedIn,
        /// The snapshot.
        snapshot_id: Path<Text<SnapshotId>>,
        body: Body<LockRequest>,
    ) -> Result<Json<LockAnswer>, Failure> {
        self.lock(signed_in, MediaKind::Snapshot, plain(snapshot_id.0).into(), body.0).await
    }

    /// Take the lock of a snapshot away
    ///
    /// Needs the role operator.
    #[oai(path = "/snapshots/:snapshot_id/lock", method = "delete", operation_id = "unlock_snapshot")]
    async fn unlock_snapshot(
        &self,
        signed_in: SignedIn,
        /// The snapshot.
        snapshot_id: Path<Text<SnapshotId>>,
    ) -> Result<Unlocked, Failure> {
        self.unlock(signed_in, MediaKind::Snapshot, plain(snapshot_id.0).into()).await
    }
}

impl MediaLocksApi {
    async fn lock(
        &self,
        signed_in: SignedIn,
        kind: MediaKind,
        id: MediaId,
        LockRequest { reason }: LockRequest,
    ) -> Result<Json<LockAnswer>, Failure> {
        let reason = reason.trim().to_owned();
        if reason.is_empty() || reason.chars().count() > 200 || reason.chars().any(char::is_control) {
            return Err(Failure::unacceptable("reason", "must have 1 to 200 characters and none of control"));
        }
        let (store, media) = (self.0.store.by(&signed_in.doer()), self.seen(signed_in, kind, &id).await?);
        let away = || Failure::conflict(None, "its file is not here: it has not arrived yet, or is being deleted");
        let media = media.filter(|media| media.stored_at.is_some()).ok_or_else(away)?;
        store.lock_media(&media, reason, clock::now()).await.map_err(|error| match error {
            StoreError::NotFound => away(),
            other => other.into(),
        })?;
        let locked = self.0.store.media(media.tenant, media.key).await?.and_then(|media| media.lock);
        locked.map(|lock| Json(lock.into())).ok_or_else(|| StoreError::NotFound.into())
    }

    async fn unlock(&self, signed_in: SignedIn, kind: MediaKind, id: MediaId) -> Result<Unlocked, Failure> {
        let (store, media) = (self.0.store.by(&signed_in.doer()), self.seen(signed_in, kind, &id).await?);
        if let Some(media) = media {
            store.unlock_media(&media, clock::now()).await?;
        }
        Ok(Unlocked::Done)
    }

    /// The file of what an operator may see; `None` before it was offered.
    async fn seen(&self, signed_in: SignedIn, kind: MediaKind, id: &MediaId) -> Result<Option<Media>, Failure> {
        let cameras = signed_in.cameras().clone();
        let tenant = signed_in.with_role(UserRole::Operator)?.tenant;
        let found = self.0.store.media_event(tenant, kind, id).await?;
        let found = found.filter(|(event, _)| cameras.sees_maybe(&event.edge_id, event.envelope.body.camera()));
        let (_, media) =
            found.ok_or_else(|| Failure::not_found("there is no such clip or snapshot, or it is not yours"))?;
        Ok(media)
    }
}

impl From<MediaLock> for LockAnswer {
    fn from(MediaLock { at, by, reason }: MediaLock) -> Self {
        Self { locked_at: time(at), locked_by: by, reason }
    }
}

impl poem_openapi::types::Example for LockRequest {
    fn example() -> Self {
        Self { reason: "Case 4711".into() }
    }
}
