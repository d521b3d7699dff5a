//! Sends what waits, piece by piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::uploads::{Failure, Fate, FileKey, Step};
use aivms_contract::media::MediaProgress;
use bytes::Bytes;
use reqwest::StatusCode;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Outgoing, OutgoingJob};
use crate::clock;
use crate::cloud::{Cloud, CloudError};
use crate::health::Vitals;
use crate::identity::Identity;
use crate::masks::Gate;

/// Longest wait before the budget, the time zone and the identity are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Empties the queue into the cloud.
pub struct Uploader {
    /// What waits.
    pub outgoing: Outgoing,
    /// Where to.
    pub cloud: Arc<Cloud>,
    /// Who says it.
    pub identity: watch::Receiver<Option<Arc<Identity>>>,
    /// Where the time zone of the site is known and notices go.
    pub vitals: Arc<Vitals>,
    /// What may leave.
    pub gate: Gate,
}

/// What was asked of the cloud.
enum Asked {
    Answer(MediaProgress),
    Failed(CloudError),
    /// The file itself can't be read.
    Unreadable(io::Error),
}

impl Uploader {
    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.send_all() => {}
        }
    }

    async fn send_all(&mut self) {
        let mut zone = self.vitals.time_zone();
        self.outgoing.set_zone(&zone);
        self.sort_out().await;
        loop {
            if self.vitals.time_zone() != zone {
                zone = self.vitals.time_zone();
                self.outgoing.set_zone(&zone);
            }
            self.outgoing.take_notices().into_iter().for_each(|notice| self.vitals.note(notice));
            let Some(identity) = self.identity.borrow_and_update().clone() else {
                if self.identity.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            match self.outgoing.next_step() {
                Step::Idle => self.rest(LOOK_AGAIN).await,
                Step::Wait(until) => self.rest(until.saturating_sub(self.outgoing.now())).await,
                Step::Offer(key) => self.take_turn(&identity, key, None).await,
                Step::Send { file, offset, bytes } => self.take_turn(&identity, file, Some((offset, bytes))).await,
            }
        }
    }

    /// Waits, at most for `pause`, or until a file is put.
    async fn rest(&mut self, pause: Duration) {
        let put = self.outgoing.clone();
        tokio::select! {
            // Either is a reason to look again.
            _ = timeout(pause.min(LOOK_AGAIN), put.inner.put.notified()) => {}
            () = self.gate.changed() => self.sort_out().await,
        }
    }

    /// Keeps back what may not leave any more.
    async fn sort_out(&self) {
        let (outgoing, gate) = (self.outgoing.clone(), self.gate.clone());
        self.outgoing.blocking(move || outgoing.sort_out(&gate)).await;
    }

    /// Whether the masks of the file's camera are still those it was made with.
    async fn may_leave(&self, key: FileKey) -> bool {
        let (outgoing, gate) = (self.outgoing.clone(), self.gate.clone());
        tokio::task::spawn_blocking(move || outgoing.may_leave(key, &gate)).await.unwrap_or(false)
    }

    /// One request, and what follows from its answer.
    async fn take_turn(&self, identity: &Identity, key: FileKey, piece: Option<(u64, usize)>) {
        if !self.may_leave(key).await {
            return;
        }
        let Some(job) = self.outgoing.job(key) else { return };
        let token = match identity.bearer_token(self.cloud.time()) {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(%error, "no token can be made for an upload");
                return sleep(LOOK_AGAIN).await;
            }
        };
        let begun = self.outgoing.now();
        let asked = match piece {
            None => self.cloud.offer_media(&token, &job.offer()).await.into(),
            Some((offset, bytes)) => self.send_piece(&token, &job, offset, bytes).await,
        };
        match asked {
            Asked::Answer(progress) => {
                let took = self.outgoing.now().saturating_sub(begun);
                let sent = piece.map(|(_, bytes)| (bytes, took));
                self.outgoing.answered(key, progress, sent).await;
            }
            Asked::Failed(error) => self.outgoing.failed(key, failure(&error), &error.to_string()).await,
            Asked::Unreadable(error) => {
                self.outgoing.failed(key, Failure::Refused, &format!("its file can't be read: {error}")).await;
            }
        }
    }

    async fn send_piece(&self, token: &str, job: &OutgoingJob, offset: u64, bytes: usize) -> Asked {
        let path = self.outgoing.inner.folder.media_path(job);
        let read = tokio::task::spawn_blocking(move || read_piece(&path, offset, bytes)).await;
        match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(piece) => self.cloud.send_media(token, job.kind, &job.id, offset, piece).await.into(),
            Err(error) => Asked::Unreadable(error),
        }
    }
}

impl Outgoing {
    pub(super) fn next_step(&self) -> Step {
        let now = self.now();
        let mut queue = self.queue();
        let budget = queue.budget.at(clock::now());
        queue.plan.next(now, budget)
    }

    fn job(&self, key: FileKey) -> Option<OutgoingJob> {
        self.queue().jobs.get(&key).cloned()
    }

    async fn answered(&self, key: FileKey, progress: MediaProgress, sent: Option<(usize, Duration)>) {
        let now = self.now();
        let fate = {
            let mut queue = self.queue();
            queue.cause = None;
            queue.plan.on_progress(key, progress, sent, now)
        };
        if fate == Fate::Delivered {
            let outgoing = self.clone();
            self.blocking(move || outgoing.delivered(key)).await;
        }
    }

    async fn failed(&self, key: FileKey, failure: Failure, cause: &str) {
        let now = self.now();
        let (fate, is_new) = {
            let mut queue = self.queue();
            let is_new = queue.cause.as_deref() != Some(cause);
            if matches!(failure, Failure::Away | Failure::Full | Failure::Failed) {
                queue.cause = Some(cause.to_owned());
            }
            (queue.plan.on_failure(key, failure, now, fastrand::f64()), is_new)
        };
        if fate == Fate::GivenUp {
            let (outgoing, cause) = (self.clone(), cause.to_owned());
            self.blocking(move || outgoing.give_up(key, &cause)).await;
        } else if is_new {
            tracing::warn!(cause, "an upload waits");
        }
    }

    pub(super) fn delivered(&self, key: FileKey) {
        let Some(job) = self.queue().remove(key) else { return };
        self.inner.folder.discard(&job);
        tracing::debug!(media.kind = job.kind.as_str(), media.id = job.id.as_str(), "uploaded");
    }

    async fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        if tokio::task::spawn_blocking(work).await.is_err() {
            tracing::error!("a step of an upload panicked");
        }
    }
}

impl From<Result<MediaProgress, CloudError>> for Asked {
    fn from(result: Result<MediaProgress, CloudError>) -> Self {
        match result {
            Ok(progress) => Self::Answer(progress),
            Err(error) => Self::Failed(error),
        }
    }
}

/// What an error means for the file and for the others.
fn failure(error: &CloudError) -> Failure {
    let CloudError::Refused { status, .. } = error else { return Failure::Away };
    match *status {
        StatusCode::NOT_FOUND => Failure::Forgotten,
        StatusCode::UNPROCESSABLE_ENTITY => Failure::Damaged,
        StatusCode::INSUFFICIENT_STORAGE => Failure::Full,
        StatusCode::INTERNAL_SERVER_ERROR => Failure::Failed,
        // A proxy before the cloud, or the token.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::REQUEST_TIMEOUT => Failure::Away,
        StatusCode::TOO_MANY_REQUESTS => Failure::Away,
        status if status.is_client_error() => Failure::Refused,
        _ => Failure::Away,
    }
}

fn read_piece(path: &PathBuf, offset: u64, bytes: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; bytes];
    File::open(path)?.read_exact_at(&mut piece, offset)?;
    Ok(piece.into())
}
