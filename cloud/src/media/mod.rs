//! Files of clips and snapshots: taken from edges in pieces, checked, kept, and read for people.
//!
//! A file is a row of the database from the moment it is offered. What has arrived of it lies in [`staging`]; once it
//! is whole and its SHA-256 is right it is put to its place in [`objects`], and only then the row says that it is
//! stored and the edge may delete its own. A crash between any two steps leaves a state from which the next offer, or
//! [`Janitor`], goes on: putting the same bytes to the same place again changes nothing.

mod archive;
mod janitor;
mod link;
mod objects;
mod staging;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aivms_contract::id::{EdgeId, TenantId};
use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaProgress};
use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::timeout;
use url::Url;

pub use self::archive::Archive;
pub use self::janitor::Janitor;
pub use self::link::{ExportLinks, LinkSigner, Linked, LinkedExport};

use self::objects::Objects;
use self::staging::Staging;
use crate::clock;
use crate::metrics::Registry;
use crate::store::{EdgeKey, Media, MediaKey, OfferedMedia, SharedStore, StoreError, TenantKey};

/// Longest wait for a file to be checked and put to its place, before the edge is told to ask again. Below the time
/// that any request may take.
const STORING_WAIT: Duration = Duration::from_secs(15);
/// Files that are checked and put to their places at once; further ones wait, and their edges ask again.
const STORED_AT_ONCE: usize = 4;

/// Where files stay and how many.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// Folder for files that stay, unless there is a bucket.
    pub folder: PathBuf,
    /// The bucket, with credentials in the environment.
    pub bucket: Option<Url>,
    /// Folder for files that are not whole.
    pub staging: PathBuf,
    /// Most bytes of one file.
    pub max_file_bytes: u64,
    /// Most bytes of a tenant's files.
    pub quota_bytes: u64,
    /// Bytes of the disk that are left to everything else.
    pub min_free_bytes: u64,
    /// Time after which a file that is no longer offered is given up.
    pub unfinished_for: Duration,
}

/// Takes, keeps and reads files. Cheap to clone.
#[derive(Clone)]
pub struct MediaFiles {
    inner: Arc<Inner>,
}

/// Who sends a file.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its row.
    pub edge: EdgeKey,
    /// Its id.
    pub edge_id: EdgeId,
}

/// Says why a file was not taken or can't be read.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The database said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is larger than any that is taken.
    #[error("a file may have at most {0} bytes")]
    TooLarge(u64),
    /// The kind and the form do not belong together, or the file is empty.
    #[error("{0}")]
    Offer(&'static str),
    /// A piece ends behind the end of the file.
    #[error("the piece ends behind the end of the file")]
    Beyond,
    /// What arrived is not what was offered; it is forgotten.
    #[error("what arrived does not have the SHA-256 that was offered; it is forgotten, send it again")]
    Damaged,
    /// The disk has no room.
    #[error("the cloud has no room for files at the moment")]
    NoRoom,
    /// The folder of files that are not whole failed.
    #[error("the folder of uploads: {0}")]
    Staging(#[source] io::Error),
    /// The folder or bucket failed.
    #[error("the place of clips: {0}")]
    Objects(#[source] object_store::Error),
    /// A task ended by a defect.
    #[error("storing a file panicked")]
    Defect,
}

struct Inner {
    store: SharedStore,
    objects: Objects,
    staging: Staging,
    settings: MediaSettings,
    /// Who works on a file now: one at a time.
    turns: Mutex<HashMap<MediaKey, Weak<tokio::sync::Mutex<()>>>>,
    /// Files that may still be stored beside those that are.
    storing: Semaphore,
    /// Whoever has it writes to the disk of the folder: the room that was found is still there.
    folder_turn: tokio::sync::Mutex<()>,
    received_bytes: Counter,
    served_bytes: Counter,
}

impl MediaFiles {
    /// Opens the folders, or the bucket. Blocks.
    ///
    /// # Errors
    /// Names the setting that can't be used.
    pub fn open(settings: MediaSettings, store: SharedStore) -> anyhow::Result<Self> {
        let objects = match &settings.bucket {
            Some(url) => Objects::bucket(url, std::env::vars()).context("media.url")?,
            None => Objects::folder(&settings.folder)
                .with_context(|| format!("clip_upload_dir {}", settings.folder.display()))?,
        };
        let staging = Staging::open(settings.staging.clone(), settings.min_free_bytes)
            .with_context(|| format!("data_dir: {}", settings.staging.display()))?;
        let (storing, folder_turn) = (Semaphore::new(STORED_AT_ONCE), tokio::sync::Mutex::default());
        let (turns, received_bytes, served_bytes) = Default::default();
        let inner =
            Inner { store, objects, staging, settings, turns, storing, folder_turn, received_bytes, served_bytes };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Names the figures of this process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Bytes of clips and snapshots that edges sent";
        registry.register("aivms_media_received_bytes", help, self.inner.received_bytes.clone());
        let help = "Bytes of clips and snapshots that were read for people";
        registry.register("aivms_media_served_bytes", help, self.inner.served_bytes.clone());
    }

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

    /// Bytes of a file that are here.
    pub async fn received(&self, media: &Media) -> u64 {
        if media.stored_at.is_some() {
            return media.size;
        }
        // For a person who looks; whoever sends is told of errors.
        self.inner.staging.received(media.key).await.unwrap_or_default().min(media.size)
    }

    /// Deletes a stored file that nobody has locked meanwhile, then its row; false when somebody has. After a crash
    /// between the two it counts as unfinished, and [`Janitor`] goes on.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn delete(&self, media: &Media) -> Result<bool, MediaError> {
        let _turn = self.turn(media.key).await;
        if !self.inner.store.begin_media_deletion(media.tenant, media.key).await? {
            return Ok(false);
        }
        self.remove(media).await.map(|()| true)
    }

    async fn remove(&self, media: &Media) -> Result<(), MediaError> {
        self.inner.objects.remove(&media.object).await.map_err(MediaError::Objects)?;
        self.inner.store.forget_stored_media(media.key).await?;
        Ok(())
    }

    /// Deletes a file whatever its state, locked or not, and its row: the tenant goes.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn erase(&self, media: &Media) -> Result<(), MediaError> {
        let _turn = self.turn(media.key).await;
        self.inner.staging.remove(media.key).await.map_err(MediaError::Staging)?;
        self.remove(media).await
    }

    /// Removes everything that lies in the folder of a tenant; returns how many objects that were.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn erase_folder(&self, tenant: &TenantId) -> Result<u64, MediaError> {
        self.inner.objects.remove_below(tenant.as_str()).await.map_err(MediaError::Objects)
    }

    /// Begins an archive of about `expected` bytes at `place`.
    ///
    /// # Errors
    /// See [`MediaError`]; [`MediaError::NoRoom`] when the disk of a folder has no room for it.
    pub async fn begin_archive(&self, place: &str, expected: u64) -> Result<Archive, MediaError> {
        let Inner { objects, staging, settings, .. } = &*self.inner;
        if settings.bucket.is_none() {
            staging.need_room(settings.folder.clone(), expected).await.map_err(staging_failed)?;
        }
        Archive::begin(objects, place, expected, clock::now()).await
    }

    /// Removes an export's archive, and what tries to write it left, by the place of one of them.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn remove_archives(&self, place: &str, export_id: &str) -> Result<(), MediaError> {
        let folder = place.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.inner.objects.remove_beginning_with(folder, export_id).await.map_err(MediaError::Objects)
    }

    /// Removes what lies at a place.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn remove_at(&self, place: &str) -> Result<(), MediaError> {
        self.inner.objects.remove(place).await.map_err(MediaError::Objects)
    }

    /// Reads a part of what lies at a place.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn read_at(
        &self,
        place: &str,
        part: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, MediaError> {
        let bytes = self.inner.objects.read(place, part).await.map_err(MediaError::Objects)?;
        let served = self.inner.served_bytes.clone();
        let counted = bytes.inspect_ok(move |piece| {
            served.inc_by(piece.len() as u64);
        });
        Ok(counted.boxed())
    }

    /// Most bytes of a tenant's files; `None` without a limit.
    #[must_use]
    pub fn quota_bytes(&self) -> Option<u64> {
        Some(self.inner.settings.quota_bytes).filter(|bytes| *bytes < u64::MAX)
    }

    /// Reads a part of a stored file.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn read(
        &self,
        media: &Media,
        part: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, MediaError> {
        self.read_at(&media.object, part).await
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
    async fn received_of(&self, media: &Media) -> Result<u64, MediaError> {
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
    async fn keep(&self, media: &Media) -> Result<(), MediaError> {
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

    async fn turn(&self, key: MediaKey) -> OwnedMutexGuard<()> {
        let lock = {
            let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let known = turns.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                turns.retain(|_, turn| turn.strong_count() > 0);
                let made = Arc::default();
                turns.insert(key, Arc::downgrade(&made));
                made
            })
        };
        lock.lock_owned().await
    }
}

fn check(offer: &MediaOffer, max_bytes: u64) -> Result<(), MediaError> {
    use aivms_contract::media::MediaType;
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

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn staging_failed(error: io::Error) -> MediaError {
    if is_full(&error) { MediaError::NoRoom } else { MediaError::Staging(error) }
}

fn objects_failed(error: object_store::Error) -> MediaError {
    if objects::is_full(&error) { MediaError::NoRoom } else { MediaError::Objects(error) }
}

/// A file's name for a person: camera and time, and its id, so that two are never the same.
#[must_use]
pub fn download_name(media: &Media) -> String {
    let time = media.captured_at.to_string().replace(':', "-");
    format!("{}_{time}_{}.{}", media.camera_id, media.media_id, media.content_type.extension())
}

#[cfg(test)]
mod tests;
