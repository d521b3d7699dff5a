//! Files that are either the old or the new whole text after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// How long a start waits for a predecessor that is still ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Ending of a copy that is not complete.
pub(crate) const PARTIAL: &str = "part";

/// What a checked file held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked<T> {
    /// There is no such file.
    Absent,
    /// The text is cut, changed or of another form.
    Damaged,
    /// The value, with its checksum right.
    Sound(T),
}

#[derive(Serialize, serde::Deserialize)]
struct Sealed {
    crc32: u32,
    content: Box<RawValue>,
}

/// Writes `value` as JSON with a checksum, as [`replace`] does.
pub(crate) fn write_checked<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let content = RawValue::from_string(serde_json::to_string(value)?)?;
    let sealed = Sealed { crc32: crc32fast::hash(content.get().as_bytes()), content };
    replace(path, &serde_json::to_vec(&sealed)?)
}

/// Reads what [`write_checked`] wrote.
///
/// # Errors
/// The file is there and can't be read at all.
pub(crate) fn read_checked<T: DeserializeOwned>(path: &Path) -> io::Result<Checked<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Checked::Absent),
        Err(error) => return Err(error),
    };
    let sound = serde_json::from_slice::<Sealed>(&bytes)
        .ok()
        .filter(|sealed| crc32fast::hash(sealed.content.get().as_bytes()) == sealed.crc32)
        .and_then(|sealed| serde_json::from_str(sealed.content.get()).ok());
    Ok(sound.map_or(Checked::Damaged, Checked::Sound))
}

/// Puts `bytes` in place of the file: temporary file, fsync, rename, fsync of the directory.
///
/// Only the owner can read it, since settings hold camera passwords.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, "new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // A full disk must get back the room of what could not be finished.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_parent(path)
}

/// Copies a file, over the border of file systems too, so that it is whole and synced once it has its name.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let partial = beside(to, PARTIAL);
    let copied =
        fs::copy(from, &partial).and_then(|_| File::open(&partial)?.sync_all()).and_then(|()| fs::rename(&partial, to));
    if copied.is_err() {
        let _ = fs::remove_file(&partial);
    }
    copied?;
    sync_parent(to)
}

/// Deletes a file that may be gone already.
pub(crate) fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file with permission bits `mode` and waits until it is on the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A left-over of an earlier attempt might have other permissions.
    delete(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes creations, renames and deletions in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// As [`sync_dir`] for the directory that holds `path`.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Makes a directory only the owner can enter, with its parents, and makes each durable in its parent.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    sync_parent(dir)
}

/// `path` with `.suffix` added to its whole name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the lock file `path` for this process; waits a while for a predecessor to end.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when another process still holds it.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checked_file_reads_back_and_any_changed_bit_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy.json");
        assert_eq!(read_checked::<Vec<u64>>(&path).unwrap(), Checked::Absent);
        write_checked(&path, &vec![7_u64, 70_000]).unwrap();
        assert_eq!(read_checked(&path).unwrap(), Checked::Sound(vec![7_u64, 70_000]));
        let sound = fs::read(&path).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            let read = read_checked::<Vec<u64>>(&path).unwrap();
            assert!(read != Checked::Sound(vec![]), "bit {bit}");
            if let Checked::Sound(value) = read {
                assert_eq!(value, [7, 70_000], "bit {bit} changed the value unseen");
            }
        }
    }

    #[test]
    fn a_written_file_has_the_asked_permissions_whatever_was_left_there() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write_synced(&path, b"left over", 0o644).unwrap();
        write_synced(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lock_held_elsewhere_is_refused_and_free_again_after_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || lock(&path).map(|_| ())
        });
        drop(held);
        waiting.join().unwrap().expect("the lock is free once its holder is gone");
    }
}
