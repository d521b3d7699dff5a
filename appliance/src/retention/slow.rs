//! The slow disk: whether it is there, is the one that footage was moved to, and takes writes.
//!
//! A disk that is not mounted leaves an empty folder on the disk of the system, which must not be filled in its place.
//! So the slow disk bears a mark from its first use on, and the folder of recordings remembers that it does.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::words::make_folder;
use crate::recorder::Folders;
use crate::state::durable::write_synced;

/// The file on the slow disk that says that it is the one.
const MARK: &str = ".aivms-footage";
/// The file beside the recordings that holds the path of the slow disk that bears the mark.
const MARKED: &str = ".slow-disk";
/// A file that shows whether anything can be written.
const TRIAL: &str = ".trial";

/// Looks whether footage on the slow disk can be deleted and moved to it. A full disk can: it is freed by deleting.
/// Blocks, and makes the mark at first use.
///
/// # Errors
/// In words: it can't, and what to do.
pub(super) fn look(folders: &Folders) -> Result<(), String> {
    let Some(slow) = &folders.slow else { return Ok(()) };
    let unusable = |error: io::Error| {
        format!(
            "the slow disk of the recordings, {}, can't be written ({error}): check that it is mounted and writable; \
             nothing is moved to it or deleted on it until then",
            slow.display()
        )
    };
    let (mark, marked) = (slow.join(MARK), folders.fast.join(MARKED));
    let bears_mark = mark.try_exists().map_err(unusable)?;
    let was_marked = std::fs::read(&marked).is_ok_and(|path| path == slow.as_os_str().as_encoded_bytes());
    if was_marked && !bears_mark {
        return Err(format!(
            "the slow disk of the recordings is not at {}: mount it; if another disk is to take its place, delete {}",
            slow.display(),
            marked.display()
        ));
    }
    make_folder(slow);
    let is_full = |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    match try_disk(slow).and_then(|()| if bears_mark { Ok(()) } else { write_synced(&mark, b"", 0o600) }) {
        Err(error) if is_full(&error) => return Ok(()),
        tried => tried.map_err(unusable)?,
    }
    if !was_marked && let Err(error) = write_synced(&marked, slow.as_os_str().as_encoded_bytes(), 0o600) {
        tracing::warn!(%error, path = %marked.display(), "it is not remembered that the slow disk bears its mark");
    }
    Ok(())
}

/// Writes, syncs and deletes a file.
fn try_disk(folder: &Path) -> io::Result<()> {
    let trial = folder.join(TRIAL);
    let written = write_synced(&trial, b"trial", 0o600);
    let removed = std::fs::remove_file(&trial);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_where_the_slow_disk_was_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders { fast: dir.path().join("fast"), slow: Some(dir.path().join("slow")) };
        let (fast, slow) = (folders.fast.clone(), dir.path().join("slow"));
        std::fs::create_dir(&fast).unwrap();
        look(&folders).unwrap();
        look(&folders).unwrap();
        assert!(slow.join(MARK).exists() && !slow.join(TRIAL).exists());
        // Not mounted any more, then mounted again.
        let away = dir.path().join("away");
        std::fs::rename(&slow, &away).unwrap();
        assert!(look(&folders).unwrap_err().contains("mount"));
        assert!(!slow.exists(), "nothing is made in its place");
        std::fs::create_dir(&slow).unwrap();
        assert!(look(&folders).unwrap_err().contains("mount"));
        assert_eq!(std::fs::read_dir(&slow).unwrap().count(), 0);
        std::fs::remove_dir(&slow).unwrap();
        std::fs::rename(&away, &slow).unwrap();
        look(&folders).unwrap();
        // Another folder is another disk.
        look(&Folders { slow: Some(dir.path().join("new")), ..folders }).unwrap();
    }

    #[test]
    fn a_slow_disk_that_takes_nothing_is_said_to_be_unusable() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("slow")).unwrap();
        // Where nothing can be written in its place, whoever runs this.
        std::fs::create_dir(dir.path().join("slow").join(TRIAL)).unwrap();
        let folders = Folders { fast: dir.path().to_owned(), slow: Some(dir.path().join("slow")) };
        assert!(look(&folders).unwrap_err().contains("can't be written"));
        std::fs::remove_dir(dir.path().join("slow").join(TRIAL)).unwrap();
        look(&folders).unwrap();
    }
}
