//! Files and folders that only their owner may see, copied with what proves the copy.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Copied {
    /// Its path in the backup.
    pub(super) path: String,
    /// Its size.
    pub(super) bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Copied {
    /// Reads what is at `file` and says what it is, under the name `path`.
    pub(super) fn of(file: &Path, path: &str) -> Result<Self> {
        let mut source = File::open(file).with_context(|| file.display().to_string())?;
        let (bytes, sha256) = pump(&mut source, &mut io::sink()).with_context(|| file.display().to_string())?;
        Ok(Self { path: path.to_owned(), bytes, sha256 })
    }
}

/// Copies a file to a new one with mode 0600, down to the disk.
pub(super) fn copy(from: &Path, to: &Path, path: &str) -> Result<Copied> {
    let mut source = File::open(from).with_context(|| from.display().to_string())?;
    let target = || to.display().to_string();
    let mut made = new_file(to).with_context(target)?;
    let (bytes, sha256) = pump(&mut source, &mut made).with_context(target)?;
    made.sync_all().with_context(target)?;
    Ok(Copied { path: path.to_owned(), bytes, sha256 })
}

/// Writes a new file with mode 0600, down to the disk.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = new_file(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| path.display().to_string())
}

/// Makes a folder with mode 0700 where there is none.
pub(super) fn private_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| path.display().to_string())
}

/// Makes sure that the names in a folder, and its own, are on the disk.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for folder in [path, above] {
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

/// Whether nothing is at `path`, or a folder without anything in it.
pub(super) fn is_vacant(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn pump(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 * 1024]);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
}
