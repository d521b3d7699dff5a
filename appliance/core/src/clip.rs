//! Which clips are to be cut and when: events that follow each other closely share one, and what somebody asked for
//! comes first.
//!
//! [`ClipBook`] is the list of jobs. [`cut`] decides what of the recorded footage a job's clip is made of.

pub mod cut;

use std::time::Duration;

use aivms_contract::id::{CameraId, ClipId, CommandId, EventId};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

/// Longest clip that can be asked for.
pub const LONGEST_REQUEST: Duration = Duration::from_secs(30 * 60);
/// Furthest that the end of a clip asked for may lie ahead: the command is answered when it has been recorded.
pub const FURTHEST_AHEAD: Duration = Duration::from_secs(30 * 60);
/// Jobs that may wait. When there are more, the oldest of those for events goes, and requests are refused.
pub const MAX_JOBS: usize = 256;
/// Time after the end of a clip in which its footage has to arrive; what has not is missing in it. Fragments are on the
/// disk within a second or two, so this is only waited out when a camera gives no video.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is cut for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipSettings {
    /// Time shown before the event.
    pub pre_roll: Duration,
    /// Time shown after it.
    pub post_roll: Duration,
    /// Clips of one camera that overlap, or lie no further apart than this, become one.
    pub fold_within: Duration,
    /// Length at which a clip that grows by further events ends and another one begins.
    pub longest: Duration,
}

impl Default for ClipSettings {
    fn default() -> Self {
        Self {
            pre_roll: Duration::from_secs(5),
            post_roll: Duration::from_secs(10),
            fold_within: Duration::from_secs(3),
            longest: Duration::from_secs(120),
        }
    }
}

/// One clip that is to be cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipJob {
    /// The clip; follows from what it is cut for, so that doing the work twice makes one clip.
    pub id: ClipId,
    /// The camera.
    pub camera_id: CameraId,
    /// First moment wanted.
    pub start: UtcMillis,
    /// End of what is wanted.
    pub end: UtcMillis,
    /// What it is cut for.
    pub cause: ClipCause,
}

/// What a clip is cut for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipCause {
    /// An event, the first one when several share the clip.
    Event {
        /// The event.
        id: EventId,
        /// When it was.
        at: UtcMillis,
    },
    /// A command.
    Command {
        /// The command.
        id: CommandId,
    },
}

/// Says why a clip that was asked for is not cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClipRefusal {
    /// Nothing is asked for.
    #[error("duration_ms: must be at least 1")]
    NoDuration,
    /// More is asked for than one clip may hold.
    #[error("duration_ms: is {asked}, at most {} fit into one clip; ask for several", LONGEST_REQUEST.as_millis())]
    TooLong {
        /// The length asked for.
        asked: u64,
    },
    /// The end lies too far ahead to wait for it.
    #[error("start: the clip would end at {end}, which is more than {} s ahead", FURTHEST_AHEAD.as_secs())]
    TooFarAhead {
        /// Its end.
        end: UtcMillis,
    },
    /// Too many wait already.
    #[error("{MAX_JOBS} clips wait already; ask again later")]
    Full,
    /// The command's id leaves no room for the clip's.
    #[error("id: has more than 62 characters, of which a clip's id can't be made")]
    LongId,
}

/// The clips that are to be cut.
#[derive(Debug, Clone, Default)]
pub struct ClipBook {
    settings: ClipSettings,
    /// In the order in which they came.
    jobs: Vec<ClipJob>,
    /// The one that is being cut: nothing more folds into it.
    begun: Option<ClipId>,
}

impl ClipBook {
    /// Goes on with the jobs that were left.
    #[must_use]
    pub fn new(settings: ClipSettings, mut jobs: Vec<ClipJob>) -> Self {
        jobs.truncate(MAX_JOBS);
        Self { settings, jobs, begun: None }
    }

    /// The jobs that wait.
    #[must_use]
    pub fn jobs(&self) -> &[ClipJob] {
        &self.jobs
    }

    /// Takes an event; returns the job that was given up for it when there are too many.
    pub fn on_event(&mut self, id: EventId, camera: &CameraId, at: UtcMillis) -> Option<ClipJob> {
        let (start, end) = (at - self.settings.pre_roll, at + self.settings.post_roll);
        if self.fold(camera, start, end) {
            return None;
        }
        let clip = format!("c-{id}").to_ascii_lowercase().parse();
        // A ULID and two characters always fit.
        let Ok(clip) = clip else { return None };
        let given_up = (self.jobs.len() >= MAX_JOBS).then(|| self.give_up_oldest()).flatten();
        if self.jobs.len() < MAX_JOBS {
            let cause = ClipCause::Event { id, at };
            self.jobs.push(ClipJob { id: clip, camera_id: camera.clone(), start, end, cause });
        }
        given_up
    }

    /// Takes a request made at `now`; one that waits already changes nothing.
    ///
    /// # Errors
    /// Names the argument that can't be met.
    pub fn on_request(
        &mut self,
        id: &CommandId,
        camera: &CameraId,
        start: UtcMillis,
        duration_ms: u64,
        now: UtcMillis,
    ) -> Result<(), ClipRefusal> {
        let clip: ClipId = format!("c-{id}").parse().map_err(|_| ClipRefusal::LongId)?;
        let duration = Duration::from_millis(duration_ms);
        let end = start + duration;
        match () {
            () if duration_ms == 0 => return Err(ClipRefusal::NoDuration),
            () if duration > LONGEST_REQUEST => return Err(ClipRefusal::TooLong { asked: duration_ms }),
            () if end > now + FURTHEST_AHEAD => return Err(ClipRefusal::TooFarAhead { end }),
            () if self.jobs.iter().any(|job| job.id == clip) => return Ok(()),
            () if self.jobs.len() >= MAX_JOBS => return Err(ClipRefusal::Full),
            () => {}
        }
        let cause = ClipCause::Command { id: id.clone() };
        self.jobs.push(ClipJob { id: clip, camera_id: camera.clone(), start, end, cause });
        Ok(())
    }

    /// Begins the job that is next: of those whose footage is complete at `now`, one that was asked for, else the one
    /// that ends first. `recorded` says up to when a camera's footage is on the disk.
    pub fn begin_next(&mut self, now: UtcMillis, recorded: impl Fn(&CameraId) -> Option<UtcMillis>) -> Option<ClipJob> {
        let is_due = |job: &&ClipJob| {
            now >= job.end + PATIENCE || recorded(&job.camera_id).is_some_and(|through| through >= job.end)
        };
        let order = |job: &&ClipJob| (matches!(job.cause, ClipCause::Event { .. }), job.end);
        let next = self.jobs.iter().filter(is_due).min_by_key(order).cloned();
        self.begun = next.as_ref().map(|job| job.id.clone());
        next
    }

    /// Forgets a job: it is done, or given up.
    pub fn end(&mut self, id: &ClipId) {
        self.jobs.retain(|job| job.id != *id);
        if self.begun.as_ref() == Some(id) {
            self.begun = None;
        }
    }

    /// Lets an event's clip grow over `start` to `end`, when one of the camera is near and does not become too long.
    fn fold(&mut self, camera: &CameraId, start: UtcMillis, end: UtcMillis) -> bool {
        let ClipSettings { fold_within, longest, .. } = self.settings;
        let begun = self.begun.as_ref();
        let near = |job: &&mut ClipJob| {
            matches!(job.cause, ClipCause::Event { .. })
                && job.camera_id == *camera
                && begun != Some(&job.id)
                && start <= job.end + fold_within
                && job.start <= end + fold_within
                && job.end.max(end).since(job.start.min(start)) <= longest
        };
        let Some(job) = self.jobs.iter_mut().rev().find(near) else { return false };
        (job.start, job.end) = (job.start.min(start), job.end.max(end));
        true
    }

    fn give_up_oldest(&mut self) -> Option<ClipJob> {
        let begun = self.begun.as_ref();
        let is_spare = |job: &ClipJob| matches!(job.cause, ClipCause::Event { .. }) && begun != Some(&job.id);
        let oldest = self.jobs.iter().position(is_spare)?;
        Some(self.jobs.remove(oldest))
    }
}

#[cfg(test)]
mod tests;
