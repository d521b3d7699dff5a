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
mod upload;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aivms_contract::id::{EdgeId, TenantId};
use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use url::Url;

pub use self::archive::Archive;
pub use self::janitor::Janitor;
pub use self::link::{ExportLinks, LinkSigner, Linked, LinkedExport};

use self::objects::Objects;
use self::staging::Staging;
use crate::clock;
use crate::metrics::Registry;
use crate::store::{EdgeKey, Media, MediaKey, SharedStore, StoreError, TenantKey};

/// Files that are checked and put to their places at once; further ones wait, and their edges ask again.
const STORED_AT_ONCE: usize = 4;
/// How long the place of files may take to begin with one: whoever waits is told, while the library of buckets would
/// go on trying for minutes.
const BEGINS_WITHIN: Duration = Duration::from_secs(15);

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
    /// The folder or bucket does not answer.
    #[error("the place of clips does not answer within {} s", BEGINS_WITHIN.as_secs())]
    NoAnswer,
    /// A task ended by a defect.
    #[error("storing a file panicked")]
    Defect,
}

impl MediaError {
    /// Whether the folder or bucket answers that nothing lies there.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Objects(object_store::Error::NotFound { .. }))
    }
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
        Self::with_objects(settings, objects, store)
    }

    fn with_objects(settings: MediaSettings, objects: Objects, store: SharedStore) -> anyhow::Result<Self> {
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
        let reading = tokio::time::timeout(BEGINS_WITHIN, self.inner.objects.read(place, part));
        let bytes = reading.await.map_err(|_| MediaError::NoAnswer)?.map_err(MediaError::Objects)?;
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
