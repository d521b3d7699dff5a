//! Deleting segments and moving them to another disk, each step such that a crash after it can be mended.

use std::fs;

use super::footage::{FootageError, Shared, io_error};
use super::segment::{DiskTier, SegmentKey};
use crate::state::durable;

pub(super) fn remove(shared: &Shared, keys: &[SegmentKey]) -> Result<u64, FootageError> {
    let mut freed = 0;
    for key in keys {
        let Some(entry) = shared.catalogue.entry(key) else { continue };
        let path = shared.folders.file(key, entry.tier);
        durable::delete(&path).map_err(io_error(&path))?;
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
    if let Some(dir) = to.parent() {
        durable::make_dir(dir).map_err(io_error(dir))?;
    }
    durable::copy(&from, &to).map_err(io_error(&to))?;
    let Some(moved) = shared.catalogue.moved(key, tier) else { return durable::delete(&to).map_err(io_error(&to)) };
    // When the row does not reach the disk, the next start finds both files and deletes the one the row does not name.
    shared.index.change(key, moved);
    shared.index.settle();
    durable::delete(&from).map_err(io_error(&from))
}
