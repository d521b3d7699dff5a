//! Clips and snapshots on their way to the cloud: a queue on the disk, and who empties it.
//!
//! [`Outgoing`] holds the queue, [`folder`] keeps it on the disk, [`Uploader`] sends. The order and the pace are
//! decided in [`aivms_appliance_core::uploads`]; what travels is described in [`aivms_contract::media`]. A file is
//! deleted here after the cloud has said that it has it, with its size and SHA-256, and never before.

mod folder;
mod leave;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::uploads::pace::Budget;
use aivms_appliance_core::uploads::{FileKey, Place, Plan, Worth, make_room};
use aivms_contract::health::{Notice, UploadsHealth};
use aivms_contract::id::{CameraId, EventId};
use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaType, Sha256Hex};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub use self::send::Uploader;

use crate::clock;
use crate::config;
use crate::masks::Hidden;
use folder::Folder;

/// Most notices that wait for a health report; beyond it the oldest goes. All of them are logged too.
const MAX_NOTICES: usize = 20;

/// A file for the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingJob {
    /// What it is.
    pub kind: MediaKind,
    /// The clip or snapshot; unique together with `kind`.
    pub id: MediaId,
    /// The camera that filmed it.
    pub camera: CameraId,
    /// Why it is kept for the cloud.
    pub worth: Worth,
    /// What the file has.
    pub sha256: Sha256Hex,
    /// Bytes of the file.
    pub bytes: u64,
    /// Wall time of its first picture.
    pub captured_at: UtcMillis,
    /// The event it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// Which masks are burned into it.
    #[serde(default, skip_serializing_if = "Hidden::is_nothing")]
    pub hidden: Hidden,
}

/// The queue of files for the cloud. Cheap to clone.
#[derive(Clone)]
pub struct Outgoing {
    inner: Arc<Inner>,
}

/// Says why a file was not taken into the queue. The file is then still where it was.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The file or the queue's folder can't be read or written.
    #[error("{}: can't be {doing}", path.display())]
    Disk {
        /// What was being done to it.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not the one that the job describes.
    #[error("{}: has {actual} bytes and not {expected}", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        actual: u64,
        /// Bytes of the job.
        expected: u64,
    },
    /// Another file waits under this id.
    #[error("{kind} {id}: another file waits under this id")]
    Taken {
        /// Its kind.
        kind: MediaKind,
        /// Its id.
        id: MediaId,
    },
    /// The queue is full of what is worth as much or more.
    #[error("{kind} {id}: no room among the files that wait for the cloud; see uploads.max_mib")]
    Full {
        /// Its kind.
        kind: MediaKind,
        /// Its id.
        id: MediaId,
    },
}

struct Inner {
    folder: Folder,
    settings: config::Uploads,
    started: Instant,
    putting: Mutex<()>,
    queue: Mutex<Queue>,
    /// Told when a file was put.
    put: Notify,
}

struct Queue {
    jobs: BTreeMap<FileKey, OutgoingJob>,
    /// Those that are not in the plan, because nobody knows what is to be hidden of their cameras.
    held: BTreeSet<FileKey>,
    plan: Plan,
    budget: Budget,
    next_key: u64,
    cause: Option<String>,
    notices: Vec<Notice>,
}

impl OutgoingJob {
    fn place(&self) -> Place {
        Place::of(self.worth, self.kind)
    }

    fn offer(&self) -> MediaOffer {
        MediaOffer {
            kind: self.kind,
            media_id: self.id.clone(),
            camera_id: self.camera.clone(),
            size_bytes: self.bytes,
            sha256: self.sha256.clone(),
            content_type: match self.kind {
                MediaKind::Clip => MediaType::Mp4,
                MediaKind::Snapshot => MediaType::Jpeg,
            },
            captured_at: self.captured_at,
            event_id: self.event_id,
        }
    }
}

impl Outgoing {
    /// Opens the queue in `dir`, made if need be, with the files that waited there. Blocks.
    ///
    /// # Errors
    /// The folder can't be made or read.
    pub fn open(dir: PathBuf, settings: &config::Uploads) -> Result<Self, OutgoingError> {
        let (folder, found, notices) = Folder::open(dir)?;
        let mut queue = Queue {
            jobs: BTreeMap::new(),
            held: BTreeSet::new(),
            plan: Plan::default(),
            budget: Budget::new(settings.bytes_per_s, &settings.schedule, &SiteZone::default()),
            next_key: found.last_key_value().map_or(1, |(key, _)| key.0 + 1),
            cause: None,
            notices,
        };
        for (key, job) in found {
            queue.insert(key, job);
        }
        let inner = Inner {
            folder,
            settings: settings.clone(),
            started: Instant::now(),
            putting: Mutex::default(),
            queue: Mutex::new(queue),
            put: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A path on the disk of the queue where a file can be made that is to be [`Outgoing::put`]; what is left there
    /// is removed at the next start.
    #[must_use]
    pub fn draft_path(&self, name: &str) -> PathBuf {
        self.inner.folder.draft_path(name)
    }

    /// Takes `file` into the queue, by moving it. Blocks until file and job are safe on the disk.
    ///
    /// The same file may be put again under the same id: nothing is sent twice then, and the new one is deleted. When
    /// the queue is full, what is worth least and oldest is given up for it, with a notice; alerts last.
    ///
    /// # Errors
    /// See [`OutgoingError`].
    pub fn put(&self, job: OutgoingJob, file: &Path) -> Result<(), OutgoingError> {
        let actual = std::fs::metadata(file).map_err(folder::disk("read", file))?.len();
        if actual != job.bytes || actual == 0 {
            return Err(OutgoingError::Size { path: file.to_owned(), actual, expected: job.bytes });
        }
        // One at a time, so that room found for one is not taken by another; the queue itself stays free meanwhile.
        let _turn = self.inner.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, given_up) = match self.queue().admit(&job, self.inner.settings.max_bytes)? {
            Admission::Known => {
                return std::fs::remove_file(file).map_err(folder::disk("removed", file));
            }
            Admission::New { key, given_up } => (key, given_up),
        };
        for other in given_up {
            self.give_up(other, "uploads.max_mib is reached and others are worth more");
        }
        self.inner.folder.keep(key, &job, file)?;
        self.queue().insert(key, job);
        self.inner.put.notify_one();
        Ok(())
    }

    /// What waits, for health and status; absent when nothing does.
    #[must_use]
    pub fn health(&self) -> Option<UploadsHealth> {
        let mut queue = self.queue();
        let budget = queue.budget.at(clock::now());
        let mut waiting = queue.plan.waiting(budget);
        for job in queue.held.iter().filter_map(|key| queue.jobs.get(key)) {
            (waiting.files, waiting.bytes, waiting.eta) = (waiting.files + 1, waiting.bytes + job.bytes, None);
        }
        (waiting.files > 0).then(|| UploadsHealth {
            files: waiting.files,
            bytes: waiting.bytes,
            eta_s: waiting.eta.filter(|_| queue.cause.is_none()).map(|eta| eta.as_secs().max(1)),
            cause: queue.cause.clone().or_else(|| queue.why_held()),
        })
    }

    /// Takes out what a person should know.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.queue().notices)
    }

    /// Reads the schedule of the budget on the clock of `zone`.
    pub fn set_zone(&self, zone: &SiteZone) {
        let settings = &self.inner.settings;
        self.queue().budget = Budget::new(settings.bytes_per_s, &settings.schedule, zone);
    }

    /// Takes a file out and tells of it.
    fn give_up(&self, key: FileKey, why: &str) {
        let Some(job) = self.queue().remove(key) else { return };
        self.inner.folder.discard(&job);
        self.queue().note(Notice {
            code: "upload_given_up".to_owned(),
            message: format!("{} {} of {} is not uploaded: {why}", job.kind, job.id, job.captured_at),
            camera_id: Some(job.camera),
        });
    }

    fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a job that is put.
enum Admission {
    /// It waits already.
    Known,
    /// It is new.
    New { key: FileKey, given_up: Vec<FileKey> },
}

impl Queue {
    fn admit(&mut self, job: &OutgoingJob, max_bytes: u64) -> Result<Admission, OutgoingError> {
        let (kind, id) = (job.kind, job.id.clone());
        if let Some(known) = self.jobs.values().find(|known| (known.kind, &known.id) == (kind, &id)) {
            let is_same = (&known.sha256, known.bytes) == (&job.sha256, job.bytes);
            return if is_same { Ok(Admission::Known) } else { Err(OutgoingError::Taken { kind, id }) };
        }
        let held = self.jobs.iter().map(|(key, job)| (*key, job.place(), job.bytes));
        let given_up = make_room(held, job.place(), job.bytes, max_bytes);
        let given_up = given_up.ok_or(OutgoingError::Full { kind, id })?;
        let key = FileKey(self.next_key);
        self.next_key += 1;
        Ok(Admission::New { key, given_up })
    }

    fn insert(&mut self, key: FileKey, job: OutgoingJob) {
        self.plan.put(key, job.place(), job.bytes);
        self.jobs.insert(key, job);
    }

    fn remove(&mut self, key: FileKey) -> Option<OutgoingJob> {
        self.plan.remove(key);
        self.held.remove(&key);
        self.jobs.remove(&key)
    }

    fn note(&mut self, notice: Notice) {
        if self.notices.len() == MAX_NOTICES {
            self.notices.remove(0);
        }
        self.notices.push(notice);
    }
}

#[cfg(test)]
mod tests;
