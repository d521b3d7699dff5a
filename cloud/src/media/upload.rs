//! A file on its way from an edge: offered, received in pieces, checked, put to its place.

use std::time::Duration;

use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaProgress, MediaType};
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::{Inner, MediaError, MediaFiles, Sender, objects_failed, staging_failed};
use crate::clock;
use crate::store::{Media, OfferedMedia, StoreError};

/// Longest wait for a file to be checked and put to its place, before the edge is told to ask again. Below the time
/// that any request may take.
const STORING_WAIT: Duration = Duration::from_secs(15);
impl MediaFiles {
    /// Takes an offer and says how much of the file is here.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn offer(&self, sender: &Sender, offer: MediaOffer) -> Result<MediaProgress, MediaError> {
        check(&offer, self.inner.settings.max_file_bytes)?;
        let offered = OfferedMedia {
            tenant: sender.tenant,
            edge: sender.edge,
            object: place(sender, &offer),
            quota_bytes: self.inner.settings.quota_bytes,
            offer,
        };
        let (kind, media_id) = (offered.offer.kind, offered.offer.media_id.clone());
        let media = self.inner.store.offer_media(offered, clock::now()).await?;
        self.work_on(sender, media, kind, &media_id, None).await
    }

    /// Takes a piece of a file and says how much of it is here.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn piece(
        &self,
        sender: &Sender,
        kind: MediaKind,
        media_id: &MediaId,
        offset: u64,
        piece: Bytes,
    ) -> Result<MediaProgress, MediaError> {
        let media = self.inner.store.offered_media(sender.edge, kind, media_id).await?.ok_or(StoreError::NotFound)?;
        self.work_on(sender, media, kind, media_id, Some((offset, piece))).await
    }

    async fn work_on(
        &self,
        sender: &Sender,
        media: Media,
        kind: MediaKind,
        media_id: &MediaId,
        piece: Option<(u64, Bytes)>,
    ) -> Result<MediaProgress, MediaError> {
        if media.stored_at.is_some() {
            return Ok(progress(media.size, true));
        }
        let Ok(turn) = timeout(STORING_WAIT, self.turn(media.key)).await else {
            let received = self.inner.staging.received(media.key).await.map_err(MediaError::Staging)?;
            return Ok(progress(received.min(media.size), false));
        };
        // Whoever had the turn before may have stored it or given it up.
        let media = self.inner.store.offered_media(sender.edge, kind, media_id).await?.ok_or(StoreError::NotFound)?;
        if media.stored_at.is_some() {
            return Ok(progress(media.size, true));
        }
        let received = match piece {
            Some((offset, piece)) => self.take(&media, offset, piece).await?,
            None => self.received_of(&media).await?,
        };
        if received < media.size { Ok(progress(received, false)) } else { self.finish(media, turn).await }
    }

    /// Appends what of a piece is new and says how much is here.
    async fn take(&self, media: &Media, offset: u64, piece: Bytes) -> Result<u64, MediaError> {
        let received = self.received_of(media).await?;
        let end = offset.saturating_add(piece.len() as u64);
        if end > media.size {
            return Err(MediaError::Beyond);
        }
        // A piece that came too early, or one that is here, is answered with where to go on.
        let Some(new) = received.checked_sub(offset).filter(|_| end > received) else { return Ok(received) };
        let new = piece.slice(usize::try_from(new).unwrap_or(piece.len())..);
        self.inner.received_bytes.inc_by(new.len() as u64);
        self.inner.staging.append(media.key, received, new).await.map_err(staging_failed)?;
        Ok(end)
    }

    /// Bytes that are here. More than there can be are damage, and forgotten.
    pub(super) async fn received_of(&self, media: &Media) -> Result<u64, MediaError> {
        let received = self.inner.staging.received(media.key).await.map_err(MediaError::Staging)?;
        if received <= media.size {
            return Ok(received);
        }
        self.inner.staging.remove(media.key).await.map_err(MediaError::Staging)?;
        Ok(0)
    }

    /// Stores a file that is whole. It goes on when the caller has gone away or waited long enough.
    async fn finish(&self, media: Media, turn: OwnedMutexGuard<()>) -> Result<MediaProgress, MediaError> {
        let (files, size) = (self.clone(), media.size);
        let work = tokio::spawn(async move {
            let stored = files.keep(&media).await;
            drop(turn);
            stored
        });
        match timeout(STORING_WAIT, work).await {
            Ok(Ok(stored)) => stored.map(|()| progress(size, true)),
            Ok(Err(_)) => Err(MediaError::Defect),
            Err(_) => Ok(progress(size, false)),
        }
    }

    /// Checks a whole file, puts it to its place, and says so in the database, in this order.
    pub(super) async fn keep(&self, media: &Media) -> Result<(), MediaError> {
        let Inner { store, staging, storing, .. } = &*self.inner;
        let _place = storing.acquire().await.map_err(|_| MediaError::Defect)?;
        if staging.hash(media.key).await.map_err(MediaError::Staging)? != media.sha256 {
            staging.remove(media.key).await.map_err(MediaError::Staging)?;
            return Err(MediaError::Damaged);
        }
        self.put(media).await?;
        store.media_stored(media.key, clock::now()).await?;
        if let Err(error) = staging.remove(media.key).await {
            tracing::warn!(%error, "an upload that is stored can't be removed from the folder of uploads");
        }
        tracing::debug!(edge.id = %media.edge_id, media.kind = %media.kind, media.id = %media.media_id, "stored");
        Ok(())
    }

    /// Puts a file to its place. A copy to a folder begins only when the disk has room for all of it.
    async fn put(&self, media: &Media) -> Result<(), MediaError> {
        let Inner { objects, staging, settings, folder_turn, .. } = &*self.inner;
        let mut turn = None;
        if settings.bucket.is_none() {
            turn = Some(folder_turn.lock().await);
            let folder = settings.folder.clone();
            staging.need_room(folder, media.size).await.map_err(staging_failed)?;
        }
        let put = objects.put(&media.object, &staging.path(media.key)).await;
        drop(turn);
        put.map_err(objects_failed)
    }
}

fn check(offer: &MediaOffer, max_bytes: u64) -> Result<(), MediaError> {
    match (offer.kind, offer.content_type) {
        (MediaKind::Clip, MediaType::Mp4) | (MediaKind::Snapshot, MediaType::Jpeg) => {}
        _ => return Err(MediaError::Offer("content_type: a clip is video/mp4, a snapshot image/jpeg")),
    }
    match offer.size_bytes {
        0 => Err(MediaError::Offer("size_bytes: must be at least 1")),
        size if size > max_bytes => Err(MediaError::TooLarge(max_bytes)),
        _ => Ok(()),
    }
}

/// `<tenant>/<edge>/<date>/<id>.<ext>`, all of characters that no folder or bucket reads in its own way.
fn place(sender: &Sender, offer: &MediaOffer) -> String {
    let date = offer.captured_at.to_string();
    let date = date.get(..10).unwrap_or("undated");
    let (id, extension) = (&offer.media_id, offer.content_type.extension());
    format!("{}/{}/{date}/{id}.{extension}", sender.tenant_id, sender.edge_id)
}

fn progress(offset: u64, stored: bool) -> MediaProgress {
    MediaProgress { offset, stored }
}
