//! Reads fragments of one segment.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aivms_footage::fragment::{Fragment, FragmentInfo, read_fragment};
use aivms_footage::scan::{front, scan};
use aivms_footage::track::Tracks;
use bytes::Bytes;

use super::footage::{FootageError, io_error};

/// Bytes read first to learn the tracks; sets of parameters are small.
const FRONT_GUESS: usize = 4096;
/// Most bytes read to learn the tracks.
const MOST_FRONT: usize = 1 << 20;

/// An open segment file. Reading blocks for the disk; the file stays readable when it is deleted or moved meanwhile.
#[derive(Debug)]
pub struct SegmentReader {
    file: File,
    path: PathBuf,
    tracks: Tracks,
    fragments: Arc<[FragmentInfo]>,
}

impl SegmentReader {
    pub(super) fn open(path: &Path, fragments: &Arc<[FragmentInfo]>) -> Result<Self, FootageError> {
        let file = File::open(path).map_err(io_error(path))?;
        let tracks = read_front(&file).map_err(io_error(path))?;
        let tracks = tracks.ok_or_else(|| FootageError::NoSegment { path: path.to_owned() })?;
        Ok(Self { file, path: path.to_owned(), tracks, fragments: Arc::clone(fragments) })
    }

    /// What is in the file.
    #[must_use]
    pub fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// The fragments that can be read.
    #[must_use]
    pub fn fragments(&self) -> &Arc<[FragmentInfo]> {
        &self.fragments
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads one fragment. Blocks.
    ///
    /// # Errors
    /// There is none of this number, or the file can't be read or is damaged there.
    pub fn fragment(&self, number: usize) -> Result<Fragment, FootageError> {
        let bytes = self.fragment_bytes(number)?;
        read_fragment(&bytes).map_err(|_| self.damaged(number))
    }

    /// Reads one fragment as it lies in the file, boxes included. Blocks.
    ///
    /// # Errors
    /// As [`SegmentReader::fragment`].
    pub fn fragment_bytes(&self, number: usize) -> Result<Bytes, FootageError> {
        let info = self.fragments.get(number).ok_or_else(|| self.damaged(number))?;
        let mut bytes = vec![0; info.bytes as usize];
        match self.file.read_exact_at(&mut bytes, info.offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged(number)),
            Err(error) => Err(io_error(&self.path)(error)),
            Ok(()) => Ok(bytes.into()),
        }
    }

    fn damaged(&self, fragment: usize) -> FootageError {
        FootageError::Damaged { path: self.path.clone(), fragment }
    }
}

/// The fragments of a file, from its own table.
pub(super) fn read_table(path: &Path) -> Result<Arc<[FragmentInfo]>, FootageError> {
    let file = File::open(path).map_err(io_error(path))?;
    let found = scan(file).map_err(io_error(path))?;
    found.map(|found| Arc::from(found.fragments)).ok_or_else(|| FootageError::NoSegment { path: path.to_owned() })
}

fn read_front(file: &File) -> io::Result<Option<Tracks>> {
    let mut bytes = Vec::new();
    for most in [FRONT_GUESS, MOST_FRONT] {
        bytes.resize(most, 0);
        let mut read = 0;
        while read < most {
            match file.read_at(&mut bytes[read..], read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        if let Some((tracks, ..)) = front(&bytes[..read]) {
            return Ok(Some(tracks));
        }
    }
    Ok(None)
}
