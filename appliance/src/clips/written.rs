//! A file that is hashed while it is written.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aivms_contract::media::Sha256Hex;
use aws_lc_rs::digest::{Context, SHA256};

/// Bytes written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A file being written. It is deleted unless it is finished.
pub(crate) struct HashedFile {
    path: PathBuf,
    out: BufWriter<File>,
    hash: Context,
    bytes: u64,
    is_finished: bool,
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its hash.
    pub(crate) sha256: Sha256Hex,
}

impl HashedFile {
    /// Begins a file only the owner can read; one of this name is replaced.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            crate::state::durable::make_dir(dir)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { path: path.to_owned(), out, hash: Context::new(&SHA256), bytes: 0, is_finished: false })
    }

    /// Lets something be appended to the file by its path.
    pub(crate) fn appended(mut self, append: impl FnOnce(&Path)) -> io::Result<Self> {
        self.out.flush()?;
        append(&self.path);
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.bytes))?;
        let mut more = vec![];
        file.read_to_end(&mut more)?;
        self.hash.update(&more);
        self.bytes += more.len() as u64;
        Ok(self)
    }

    /// Ends the file. Making it durable is for whoever takes it over.
    pub(crate) fn finish(mut self) -> io::Result<Written> {
        self.out.flush()?;
        self.is_finished = true;
        let digest = self.hash.clone().finish();
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        let sha256 = Sha256Hex::from_bytes(hash);
        Ok(Written { path: self.path.clone(), bytes: self.bytes, sha256 })
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for HashedFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // A full disk must get back the room of what could not be finished.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
