//! The right to a database file: one process at a time, and nobody else's eyes.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::super::StoreError;

/// How long a predecessor may take to end; service managers start the next process while the last one closes.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// A lock on the file beside the database, held until dropped, also by a crash.
///
/// A second process would not damage the database, but mark connected edges as gone and hear no news of events. The
/// database file itself must not be locked so: closing it would drop SQLite's own locks.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
}

impl Claim {
    /// Takes the lock, and makes the database file with mode 0600 when there is none: it holds password hashes.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let path = lock_path(database);
        let lock = private_file(&path)?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK || Instant::now() > deadline {
                let reason = if error == Errno::WOULDBLOCK {
                    "another aivms-cloud uses this database".into()
                } else {
                    error.to_string()
                };
                return Err(StoreError::Database(format!("{}: {reason}", path.display())));
            }
            std::thread::sleep(PAUSE);
        }
        private_file(database)?;
        Ok(Self { _lock: lock })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.to_owned().into_os_string();
    name.push(".lock");
    name.into()
}

fn private_file(path: &Path) -> Result<File, StoreError> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    opened.map_err(|error| {
        let text = format!("{}: {error}", path.display());
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull => {
                StoreError::Unwritable(text)
            }
            _ => StoreError::Database(text),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_claim_keeps_a_second_process_out_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloud.db");
        let first = Claim::take(&path).unwrap();
        // Locks belong to the open file, so a second one in this process stands for another process.
        let other = private_file(&lock_path(&path)).unwrap();
        assert_eq!(flock(&other, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
        let waiting = std::thread::spawn(move || Claim::take(&path).map(|_| path));
        drop(first);
        let path = waiting.join().unwrap().unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_can_not_be_made_is_named() {
        let error = Claim::take(Path::new("/nowhere/cloud.db")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/cloud.db"), "{error}");
    }
}
