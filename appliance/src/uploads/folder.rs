//! The queue on the disk: each file with a job file beside it.
//!
//! `clip-ID.media` is the file, `clip-ID.job` says what it is, with a checksum. The file is made durable before its
//! job, and the job is deleted before its file: so a job without a file is damage, and a file without a job is what a
//! crash left of a put or a deletion, and goes at the next start.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aivms_appliance_core::uploads::FileKey;
use aivms_contract::health::Notice;
use serde::{Deserialize, Serialize};

use super::{OutgoingError, OutgoingJob};
use crate::state::durable::{self, Checked};

const JOB: &str = "job";
const MEDIA: &str = "media";
const DRAFT: &str = "draft";

/// The folder of the queue.
pub(super) struct Folder {
    dir: PathBuf,
}

/// What a job file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: u64,
    job: OutgoingJob,
}

type Found = BTreeMap<FileKey, OutgoingJob>;

impl Folder {
    /// Opens `dir`, removes what can't be sent, and returns what can.
    pub(super) fn open(dir: PathBuf) -> Result<(Self, Found, Vec<Notice>), OutgoingError> {
        durable::make_dir(&dir).map_err(disk("made", &dir))?;
        let folder = Self { dir };
        let (mut found, mut notices) = (Found::new(), Vec::new());
        let mut media = Vec::new();
        for entry in fs::read_dir(&folder.dir).map_err(disk("read", &folder.dir))? {
            let path = entry.map_err(disk("read", &folder.dir))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(JOB) => match folder.read(&path)? {
                    Ok(kept) => {
                        found.insert(FileKey(kept.key), kept.job);
                    }
                    Err(problem) => notices.push(folder.set_aside(&path, problem)),
                },
                Some(MEDIA) => media.push(path),
                _ => remove(&path),
            }
        }
        media.retain(|path| !found.values().any(|job| folder.path(job, MEDIA) == *path));
        media.iter().for_each(|path| remove(path));
        Ok((folder, found, notices))
    }

    pub(super) fn draft_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.{DRAFT}"))
    }

    /// The file of a job.
    pub(super) fn media_path(&self, job: &OutgoingJob) -> PathBuf {
        self.path(job, MEDIA)
    }

    /// Moves `file` into the folder and writes its job.
    pub(super) fn keep(&self, key: FileKey, job: &OutgoingJob, file: &Path) -> Result<(), OutgoingError> {
        let place = self.media_path(job);
        File::open(file).and_then(|opened| opened.sync_all()).map_err(disk("written", file))?;
        take_over(file, &place).map_err(disk("moved to the queue", file))?;
        let kept = Kept { key: key.0, job: job.clone() };
        let path = self.path(job, JOB);
        // Makes the folder durable, with both entries.
        durable::write_checked(&path, &kept).map_err(|source| {
            // Back to where it was, as the caller is told.
            let _ = fs::rename(&place, file);
            OutgoingError::Disk { doing: "written", path, source }
        })
    }

    /// Deletes a file and its job. What can't be deleted is found at the next start.
    pub(super) fn discard(&self, job: &OutgoingJob) {
        remove(&self.path(job, JOB));
        if let Err(error) = durable::sync_dir(&self.dir) {
            tracing::debug!(%error, "the deletion of an upload is not durable yet");
        }
        remove(&self.path(job, MEDIA));
    }

    /// A job whose file is there in full length, or what is wrong with it.
    fn read(&self, path: &Path) -> Result<Result<Kept, &'static str>, OutgoingError> {
        let Checked::Sound(kept) = durable::read_checked::<Kept>(path).map_err(disk("read", path))? else {
            return Ok(Err("its job file is damaged"));
        };
        if path != self.path(&kept.job, JOB) {
            return Ok(Err("its job file has another name"));
        }
        match fs::metadata(self.media_path(&kept.job)) {
            Ok(found) if found.len() == kept.job.bytes => Ok(Ok(kept)),
            Ok(_) => Ok(Err("its file has another length than when it was put")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err("its file is gone")),
            Err(source) => Err(OutgoingError::Disk { doing: "read", path: self.media_path(&kept.job), source }),
        }
    }

    fn set_aside(&self, path: &Path, problem: &str) -> Notice {
        remove(path);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Notice {
            code: "upload_damaged".to_owned(),
            message: format!("{name} in {} is not uploaded: {problem}", self.dir.display()),
            camera_id: None,
        }
    }

    fn path(&self, job: &OutgoingJob, extension: &str) -> PathBuf {
        self.dir.join(format!("{}-{}.{extension}", job.kind, job.id))
    }
}

/// The error of an operation on `path`.
pub(super) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutgoingError {
    let path = path.to_owned();
    move |source| OutgoingError::Disk { doing, path, source }
}

/// Moves `file` to `place`, over the border of file systems too.
fn take_over(file: &Path, place: &Path) -> io::Result<()> {
    match fs::rename(file, place) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            durable::copy(file, place)?;
            fs::remove_file(file)
        }
        other => other,
    }
}

fn remove(path: &Path) {
    if let Err(error) = durable::delete(path) {
        tracing::warn!(%error, "{} can't be removed", path.display());
    }
}
