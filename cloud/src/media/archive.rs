//! An archive of many files on its way to the folder or bucket: a tar that is written piece by piece, so that its size
//! costs no memory.

use std::fmt;

use aivms_contract::media::Sha256Hex;
use aivms_contract::time::UtcMillis;
use bytes::Bytes;
use object_store::WriteMultipart;
use sha2::{Digest, Sha256};
use tar::Header;

use super::objects::Objects;
use super::{MediaError, objects_failed};

/// Bytes of a block: each file begins at one.
const BLOCK: usize = 512;
/// Zeros that end an archive.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 2;

/// An archive that is being written. One that is dropped unfinished leaves no object behind.
pub struct Archive {
    objects: Objects,
    place: String,
    upload: WriteMultipart,
    hash: Sha256,
    bytes: u64,
    /// Bytes of the file at hand that are still to come.
    owed: u64,
    made_at: UtcMillis,
}

impl Archive {
    /// Begins an archive of about `expected` bytes.
    pub(super) async fn begin(
        objects: &Objects,
        place: &str,
        expected: u64,
        made_at: UtcMillis,
    ) -> Result<Self, MediaError> {
        let upload = objects.begin_upload(place, expected).await.map_err(objects_failed)?;
        let (objects, place) = (objects.clone(), place.to_owned());
        Ok(Self { objects, place, upload, hash: Sha256::new(), bytes: 0, owed: 0, made_at })
    }

    /// Bytes until now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a file that is at hand.
    ///
    /// # Errors
    /// The folder or bucket failed.
    pub async fn add(&mut self, path: &str, content: Bytes) -> Result<(), MediaError> {
        self.begin_file(path, content.len() as u64).await?;
        self.piece(content).await?;
        self.end_file().await
    }

    /// Begins a file of which exactly `size` bytes follow.
    ///
    /// # Errors
    /// The folder or bucket failed, or the path can't stand in an archive.
    pub async fn begin_file(&mut self, path: &str, size: u64) -> Result<(), MediaError> {
        let mut header = Header::new_ustar();
        header.set_path(path).map_err(MediaError::Staging)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.made_at.as_millis() / 1_000).unwrap_or_default());
        header.set_cksum();
        self.owed = size;
        self.write(Bytes::copy_from_slice(header.as_bytes())).await
    }

    /// Adds bytes to the file at hand.
    ///
    /// # Errors
    /// The folder or bucket failed, or the file would be longer than was said.
    pub async fn piece(&mut self, piece: Bytes) -> Result<(), MediaError> {
        self.owed = self.owed.checked_sub(piece.len() as u64).ok_or(MediaError::Beyond)?;
        self.write(piece).await
    }

    /// Ends the file at hand.
    ///
    /// # Errors
    /// The folder or bucket failed, or the file is shorter than was said.
    pub async fn end_file(&mut self) -> Result<(), MediaError> {
        if self.owed > 0 {
            return Err(MediaError::Beyond);
        }
        match usize::try_from(self.bytes % BLOCK as u64).unwrap_or_default() {
            0 => Ok(()),
            over => self.write(Bytes::from_static(&END[over..BLOCK])).await,
        }
    }

    /// Ends the archive; returns its bytes and their SHA-256. It is there from then on.
    ///
    /// # Errors
    /// The folder or bucket failed.
    pub async fn finish(mut self) -> Result<(u64, Sha256Hex), MediaError> {
        self.write(Bytes::from_static(&END)).await?;
        let Self { upload, hash, bytes, .. } = self;
        upload.finish().await.map_err(objects_failed)?;
        Ok((bytes, Sha256Hex::from_bytes(hash.finalize().into())))
    }

    /// Gives the archive up.
    pub async fn abort(self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(%error, "an archive that is given up can't be taken back");
        }
        if let Err(error) = self.objects.remove(&self.place).await {
            tracing::warn!(%error, "an archive that is given up can't be removed");
        }
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), MediaError> {
        self.upload.wait_for_capacity(PARTS_AT_ONCE).await.map_err(objects_failed)?;
        self.hash.update(&piece);
        self.bytes += piece.len() as u64;
        self.upload.put(piece);
        Ok(())
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("place", &self.place).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    async fn begun(folder: &std::path::Path) -> Archive {
        let objects = Objects::folder(folder).unwrap();
        Archive::begin(&objects, "acme/exports/e.tar", 1, UtcMillis::from_millis(5_000)).await.unwrap()
    }

    #[tokio::test]
    async fn every_file_of_an_archive_reads_back_whatever_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = begun(folder.path()).await;
        let long = format!("media/edge_{}/{}.mp4", "a".repeat(59), "c".repeat(64));
        for (path, length) in [("a", 0), ("b", 1), ("c", 511), ("d", 512), ("e", 513), (long.as_str(), 1_000_000)] {
            archive.add(path, vec![7; length].into()).await.unwrap();
        }
        let (bytes, sha256) = archive.finish().await.unwrap();
        let written = std::fs::read(folder.path().join("acme/exports/e.tar")).unwrap();
        assert_eq!((bytes, sha256), (written.len() as u64, Sha256Hex::from_bytes(Sha256::digest(&written).into())));
        let mut found = Vec::new();
        for entry in tar::Archive::new(&*written).entries().unwrap() {
            let mut entry = entry.unwrap();
            let (path, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
            entry.read_to_end(&mut content).unwrap();
            assert!(content.iter().all(|byte| *byte == 7));
            found.push((path, content.len()));
        }
        assert_eq!(found.len(), 6);
        assert_eq!(found[5], (long, 1_000_000));
        assert_eq!(found.iter().map(|(_, length)| *length).collect::<Vec<_>>(), [0, 1, 511, 512, 513, 1_000_000]);
    }

    #[tokio::test]
    async fn an_archive_that_is_given_up_or_never_finished_leaves_no_object() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = begun(folder.path()).await;
        archive.begin_file("a", 3).await.unwrap();
        archive.piece(Bytes::from_static(b"ab")).await.unwrap();
        assert!(archive.end_file().await.is_err(), "a byte is missing");
        archive.abort().await;
        let mut archive = begun(folder.path()).await;
        archive.begin_file("a", 1).await.unwrap();
        assert!(archive.piece(Bytes::from_static(b"ab")).await.is_err(), "a byte too many");
        drop(archive);
        assert!(!folder.path().join("acme/exports/e.tar").exists());
        Objects::folder(folder.path()).unwrap().remove_beginning_with("acme/exports", "e").await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("acme/exports")).unwrap().count(), 0);
    }
}
