//! Files of which only a part has arrived.
//!
//! One file for each, named by its row, in a folder of the cloud's own. Pieces are not forced to the disk: what a
//! power cut takes of them is found by the length or by the SHA-256 at the end, and sent again. The finished file is
//! forced to the disk where it stays, before the edge is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aivms_contract::media::Sha256Hex;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::store::MediaKey;

const EXTENSION: &str = "part";

/// The folder. Its operations run on threads that may block.
#[derive(Debug, Clone)]
pub(super) struct Staging {
    dir: PathBuf,
    /// Room left to everything else on the disk.
    min_free: u64,
}

impl Staging {
    /// Opens the folder, made if need be. Blocks.
    pub(super) fn open(dir: PathBuf, min_free: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, min_free })
    }

    pub(super) fn path(&self, key: MediaKey) -> PathBuf {
        self.dir.join(format!("{}.{EXTENSION}", key.0))
    }

    /// Bytes that have arrived.
    pub(super) async fn received(&self, key: MediaKey) -> io::Result<u64> {
        let path = self.path(key);
        blocking(move || length(&path)).await
    }

    /// Writes a piece behind the `at` bytes there.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] also when the disk has little room left; what was there is then unchanged.
    pub(super) async fn append(&self, key: MediaKey, at: u64, piece: Bytes) -> io::Result<()> {
        let (path, dir, min_free) = (self.path(key), self.dir.clone(), self.min_free);
        blocking(move || {
            check_room(&dir, min_free, piece.len() as u64)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.write_all_at(&piece, at).inspect_err(|_| {
                // Half a piece would count as received.
                let _ = file.set_len(at);
            })
        })
        .await
    }

    /// Checks that the disk of `dir` has room for so many bytes and for everything else.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when it has not.
    pub(super) async fn need_room(&self, dir: PathBuf, bytes: u64) -> io::Result<()> {
        let min_free = self.min_free;
        blocking(move || check_room(&dir, min_free, bytes)).await
    }

    /// The SHA-256 of what has arrived.
    pub(super) async fn hash(&self, key: MediaKey) -> io::Result<Sha256Hex> {
        let path = self.path(key);
        blocking(move || {
            let (mut file, mut hash) = (File::open(&path)?, Sha256::new());
            let mut part = vec![0; 256 * 1024];
            loop {
                match file.read(&mut part)? {
                    0 => return Ok(Sha256Hex::from_bytes(hash.finalize().into())),
                    bytes => hash.update(&part[..bytes]),
                }
            }
        })
        .await
    }

    /// Removes what has arrived of a file.
    pub(super) async fn remove(&self, key: MediaKey) -> io::Result<()> {
        let path = self.path(key);
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    /// The rows of all files of which something has arrived.
    pub(super) async fn keys(&self) -> io::Result<Vec<MediaKey>> {
        let dir = self.dir.clone();
        blocking(move || {
            let mut keys = Vec::new();
            for entry in fs::read_dir(&dir)? {
                let path = entry?.path();
                let is_part = path.extension().is_some_and(|extension| extension == EXTENSION);
                let row = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
                keys.extend(row.filter(|_| is_part).map(MediaKey));
            }
            Ok(keys)
        })
        .await
    }
}

fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        found => Ok(found?.len()),
    }
}

fn check_room(dir: &Path, min_free: u64, bytes: u64) -> io::Result<()> {
    if free_bytes(dir)? < min_free.saturating_add(bytes) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
