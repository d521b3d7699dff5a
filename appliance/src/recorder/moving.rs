//! Deleting segments and moving them to another disk, each step such that a crash after it can be mended.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::footage::{FootageError, Shared, io_error};
use super::segment::{DiskTier, SegmentKey};
use crate::state::durable;

/// Ending of a copy that is not complete.
pub(super) const PARTIAL: &str = "part";

pub(super) fn remove(shared: &Shared, keys: &[SegmentKey]) -> Result<u64, FootageError> {
    let mut freed = 0;
    for key in keys {
        let Some(entry) = shared.catalogue.entry(key) else { continue };
        let path = shared.folders.file(key, entry.tier);
        delete(&path).map_err(io_error(&path))?;
        shared.catalogue.remove(key);
        shared.index.remove(key);
        freed += entry.bytes;
        // A day's folder goes with its last file.
        if let Some(day) = path.parent() {
            let _ = fs::remove_dir(day);
        }
    }
    Ok(freed)
}

pub(super) fn relocate(shared: &Shared, key: &SegmentKey, tier: DiskTier) -> Result<(), FootageError> {
    let entry = shared.catalogue.entry(key).ok_or_else(|| FootageError::Unknown { key: key.clone() })?;
    if entry.tier == tier {
        return Ok(());
    }
    shared.folders.of(tier).ok_or(FootageError::NoDisk(tier.as_str()))?;
    let (from, to) = (shared.folders.file(key, entry.tier), shared.folders.file(key, tier));
    copy(&from, &to).map_err(io_error(&to))?;
    let Some(moved) = shared.catalogue.moved(key, tier) else { return delete(&to).map_err(io_error(&to)) };
    // When the row does not reach the disk, the next start finds both files and deletes the one the row does not name.
    shared.index.change(key, moved);
    shared.index.settle();
    delete(&from).map_err(io_error(&from))
}

/// Copies a file so that it is whole and synced once it has its name.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(dir) = to.parent() {
        durable::make_dir(dir)?;
    }
    let partial = durable::beside(to, PARTIAL);
    let copied =
        fs::copy(from, &partial).and_then(|_| File::open(&partial)?.sync_all()).and_then(|()| fs::rename(&partial, to));
    if copied.is_err() {
        let _ = fs::remove_file(&partial);
    }
    copied?;
    durable::sync_parent(to)
}

/// Deletes a file that may be gone already.
pub(super) fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
