//! Where files stay: a folder of this machine, or a bucket.

use std::error::Error as _;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Error, GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt, WriteMultipart, parse_url_opts,
};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use url::Url;

/// Bytes of one part of a file on its way to a bucket; smaller files go in one.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// Parts that an upload of known size is made of: buckets take 10,000, and the size is a guess.
const PARTS_OF_AN_UPLOAD: u64 = 5_000;
/// Most bytes of a part, whatever the size.
const LARGEST_PART_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes read at once from a file.
const READ_BYTES: usize = 64 * 1024;
/// Variables that say how to reach a bucket. Others may have names that look like settings of one.
const VARIABLES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// A folder or bucket.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Where it is, for what a folder holds that is no object: unfinished files.
    folder: Option<PathBuf>,
}

impl Objects {
    /// Uses a folder, made if need be. What is put there is on the disk when that returns.
    pub(super) fn folder(dir: &FilePath) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let folder = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true);
        Ok(Self { store: Arc::new(folder), folder: Some(dir.to_owned()) })
    }

    /// Uses the bucket and path of `url`; credentials come from `variables`.
    pub(super) fn bucket(url: &Url, variables: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let known = variables.filter(|(name, _)| VARIABLES.iter().any(|prefix| name.starts_with(prefix)));
        let (store, path) = parse_url_opts(url, known)?;
        let store: Arc<dyn ObjectStore> = Arc::from(store);
        let store = if path.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, path)) };
        Ok(Self { store, folder: None })
    }

    /// Puts the file at `from` in place of what is at `object`. Either all of it is there afterwards or nothing.
    pub(super) async fn put(&self, object: &str, from: &FilePath) -> Result<(), Error> {
        let mut file = File::open(from).await.map_err(read_failed)?;
        let place = Path::from(object);
        let mut part = read_part(&mut file).await?;
        if part.len() < PART_BYTES {
            return self.store.put(&place, Bytes::from(part).into()).await.map(|_| ());
        }
        let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(&place).await?, PART_BYTES);
        while !part.is_empty() {
            let read = match upload.wait_for_capacity(PARTS_AT_ONCE).await {
                Ok(()) => {
                    upload.put(part.into());
                    read_part(&mut file).await
                }
                Err(error) => Err(error),
            };
            match read {
                Ok(next) => part = next,
                Err(error) => {
                    // The first error says what is wrong.
                    let _ = upload.abort().await;
                    return Err(error);
                }
            }
        }
        upload.finish().await.map(|_| ())
    }

    /// Begins to put an object of about `expected` bytes. Nothing is there before it is finished.
    pub(super) async fn begin_upload(&self, object: &str, expected: u64) -> Result<WriteMultipart, Error> {
        let part = (expected / PARTS_OF_AN_UPLOAD).clamp(PART_BYTES as u64, LARGEST_PART_BYTES);
        let part = usize::try_from(part).unwrap_or(PART_BYTES);
        let upload = self.store.put_multipart(&Path::from(object)).await?;
        Ok(WriteMultipart::new_with_chunk_size(upload, part))
    }

    /// Removes everything below `folder`, which is a tenant's; returns how many objects.
    pub(super) async fn remove_below(&self, folder: &str) -> Result<u64, Error> {
        let removed = self.remove_listed(folder, |_| true).await?;
        if let Some(dir) = &self.folder {
            // Unfinished files and empty folders, which are no objects.
            match tokio::fs::remove_dir_all(dir.join(folder)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(read_failed(error)),
                _ => {}
            }
        }
        Ok(removed)
    }

    /// Removes what lies in `folder` and has a name that begins so.
    pub(super) async fn remove_beginning_with(&self, folder: &str, name: &str) -> Result<(), Error> {
        self.remove_listed(folder, |path| path.filename().is_some_and(|found| found.starts_with(name))).await?;
        let Some(dir) = &self.folder else { return Ok(()) };
        let mut files = match tokio::fs::read_dir(dir.join(folder)).await {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(read_failed(error)),
        };
        while let Some(file) = files.next_entry().await.map_err(read_failed)? {
            if file.file_name().to_string_lossy().starts_with(name) {
                tokio::fs::remove_file(file.path()).await.map_err(read_failed)?;
            }
        }
        Ok(())
    }

    async fn remove_listed(&self, folder: &str, is_one: impl Fn(&Path) -> bool) -> Result<u64, Error> {
        let (mut removed, mut found) = (0, self.store.list(Some(&Path::from(folder))));
        while let Some(object) = found.try_next().await? {
            if is_one(&object.location) {
                match self.store.delete(&object.location).await {
                    Err(Error::NotFound { .. }) => {}
                    other => other?,
                }
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Reads a part of an object.
    pub(super) async fn read(
        &self,
        object: &str,
        part: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Error> {
        let length = part.end - part.start;
        let options = GetOptions { range: Some(GetRange::Bounded(part.clone())), ..GetOptions::default() };
        let found = self.store.get_opts(&Path::from(object), options).await?;
        match found.payload {
            GetResultPayload::File(file, _) => {
                let mut file = File::from_std(file);
                file.seek(io::SeekFrom::Start(part.start)).await.map_err(read_failed)?;
                Ok(ReaderStream::with_capacity(file.take(length), READ_BYTES).boxed())
            }
            GetResultPayload::Stream(stream) => Ok(stream.map_err(io::Error::other).boxed()),
        }
    }

    /// Removes an object; one that is not there is no error.
    pub(super) async fn remove(&self, object: &str) -> Result<(), Error> {
        match self.store.delete(&Path::from(object)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }
}

/// Whether an error says that there is no room.
pub(super) fn is_full(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(super::is_full) {
            return true;
        }
        // An I/O error hides the error it wraps from `source`.
        let wrapped = io.and_then(io::Error::get_ref);
        cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped as &(dyn std::error::Error + 'static)));
    }
    false
}

/// The next [`PART_BYTES`] of a file, or what is left of it.
async fn read_part(file: &mut File) -> Result<Vec<u8>, Error> {
    let mut part = Vec::with_capacity(PART_BYTES);
    file.take(PART_BYTES as u64).read_to_end(&mut part).await.map_err(read_failed)?;
    Ok(part)
}

fn read_failed(error: io::Error) -> Error {
    Error::Generic { store: "uploads", source: Box::new(error) }
}
