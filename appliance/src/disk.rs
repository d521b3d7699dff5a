//! Small files that are either the old or the new version after a power cut, never half of one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces the file at `path` by one with `bytes` and permission bits `mode`, durably.
///
/// # Errors
/// What the system said; the old file is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let fresh = path.with_file_name(format!(".{name}.new"));
    write_synced(&fresh, bytes, mode)?;
    std::fs::rename(&fresh, path)?;
    sync_folder(path)
}

/// Writes a file with permission bits `mode` and waits until it is on the disk.
///
/// # Errors
/// What the system said.
pub fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A left-over of an earlier attempt might have other permissions.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the folder entry of `path` is on the disk.
///
/// # Errors
/// What the system said.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_has_the_new_content_and_the_asked_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write_atomic(&path, b"old", 0o644).unwrap();
        // What a crash between writing and renaming leaves.
        std::fs::write(dir.path().join(".key.pem.new"), b"half").unwrap();
        write_atomic(&path, b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
