//! The task that cuts clips, one after the other.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::clip::{ClipBook, ClipCause, ClipJob};
use aivms_appliance_core::retention::Span;
use aivms_contract::clip::Clip;
use aivms_contract::command::CommandResult;
use aivms_contract::envelope::Body;
use aivms_contract::id::{CameraId, CommandId};
use aivms_contract::time::UtcMillis;
use serde_json::{Map, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::cutter::{CutError, Cutter, Draft};
use super::jobs::{Jobs, JobsFile};
use crate::clock;
use crate::config;
use crate::control::commands::{failed, succeeded};
use crate::outbox::{Outbox, OutboxError};
use crate::retention::needs::Needed;
use crate::run::KeptEvent;

/// Requests on their way to the task, which takes them at once; when full, further ones are refused.
const ASKS: usize = 16;
/// How often it is looked whether a clip's footage is complete.
const LOOK: Duration = Duration::from_millis(250);
/// Requested clips remembered after they were answered: what a crash before the answer is on the disk asks for again.
const MAX_DONE: usize = 16;
/// Pause before a clip is told again to an outbox that refused it.
const PAUSE: Duration = Duration::from_secs(1);

/// The way to ask for clips. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clips(mpsc::Sender<Ask>);

/// A request for a clip.
#[derive(Debug)]
pub struct Ask {
    id: CommandId,
    camera: CameraId,
    start: UtcMillis,
    duration_ms: u64,
}

/// What the task works with.
pub struct ClipService {
    /// What makes the files.
    pub cutter: Cutter,
    /// For which events, and how long.
    pub settings: config::Clips,
    /// Where clips are told of.
    pub outbox: Outbox,
    /// Where commands are answered.
    pub answers: mpsc::Sender<CommandResult>,
    /// Where retention sees which footage is still to be cut.
    pub needed: watch::Sender<Needed>,
    /// Where the list of jobs is kept.
    pub data_dir: std::path::PathBuf,
}

/// A way for requests to [`ClipService::run`].
#[must_use]
pub fn channel() -> (Clips, mpsc::Receiver<Ask>) {
    let (asks, asked) = mpsc::channel(ASKS);
    (Clips(asks), asked)
}

impl Clips {
    /// Asks for a clip, without waiting. It is answered later, when it is cut or refused; asking again under the same id
    /// changes nothing.
    ///
    /// # Errors
    /// Too many requests wait already.
    pub fn request(&self, id: CommandId, camera: CameraId, start: UtcMillis, duration_ms: u64) -> Result<(), String> {
        self.0.try_send(Ask { id, camera, start, duration_ms }).map_err(|error| match error {
            TrySendError::Full(_) => "too many clips are waiting to be taken on; ask again later".to_owned(),
            TrySendError::Closed(_) => "the appliance is stopping".to_owned(),
        })
    }
}

/// The list, and whether the disk has it.
struct List {
    book: ClipBook,
    made: Option<Clip>,
    done: Vec<Clip>,
    needed: watch::Sender<Needed>,
    /// The one that is in the queue to the cloud and not told of yet. No other is begun meanwhile.
    untold: Option<Untold>,
    file: JobsFile,
    is_saved: bool,
}

/// A clip that the outbox did not take yet. Its job is still in the list, so that a restart tells of it.
struct Untold {
    job: ClipJob,
    clip: Clip,
    try_at: Instant,
}

/// What is being cut.
type Work = Option<(ClipJob, JoinHandle<Result<Draft, CutError>>)>;

impl ClipService {
    /// Cuts clips for events and requests until `stop`. What is left then is cut after the next start.
    pub async fn run(
        self,
        mut asks: mpsc::Receiver<Ask>,
        mut events: broadcast::Receiver<Arc<KeptEvent>>,
        stop: CancellationToken,
    ) {
        let mut list = self.read_list().await;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work: Work = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ask) = asks.recv() => self.take_ask(ask, &mut list).await,
                event = events.recv() => match event {
                    Ok(event) => self.take_event(&event, &mut list),
                    Err(RecvError::Lagged(lost)) => tracing::error!(lost, "no clips are cut for events: too many at once"),
                    // The cameras have stopped.
                    Err(RecvError::Closed) => { list.save().await; stop.cancelled().await; break }
                },
                done = ended(&mut work) => self.settle(done, &mut list).await,
                _ = look.tick() => {
                    list.save().await;
                    self.tell(&mut list).await;
                    if work.is_none() && list.untold.is_none() {
                        work = self.begin(&mut list);
                    }
                }
            }
        }
        list.save().await;
    }

    async fn read_list(&self) -> List {
        let file = JobsFile::new(&self.data_dir);
        let reading = file.clone();
        let Jobs { waiting, made, done } =
            tokio::task::spawn_blocking(move || reading.read()).await.unwrap_or_default();
        if !waiting.is_empty() {
            tracing::info!(clips = waiting.len(), "clips that were left to be cut are cut now");
        }
        let (book, needed) = (ClipBook::new(self.settings.lengths, waiting), self.needed.clone());
        let list = List { book, made, done, needed, untold: None, file, is_saved: true };
        list.say_what_is_needed();
        list
    }

    async fn take_ask(&self, ask: Ask, list: &mut List) {
        let Ask { id, camera, start, duration_ms } = ask;
        if let Some(clip) = list.done.iter().find(|clip| clip.command_id.as_ref() == Some(&id)) {
            let answer = succeeded(id, clock::now(), told(clip));
            return self.answer(answer).await;
        }
        match list.book.on_request(&id, &camera, start, duration_ms, clock::now()) {
            Ok(()) => {
                list.changed();
                list.save().await;
            }
            Err(refusal) => self.answer(failed(id, clock::now(), refusal.to_string())).await,
        }
    }

    async fn answer(&self, answer: CommandResult) {
        // Control takes them at once, and is gone only when the program stops; the cloud asks again then.
        let _ = self.answers.send(answer).await;
    }

    fn take_event(&self, KeptEvent { id, event }: &KeptEvent, list: &mut List) {
        if !self.settings.events.contains(&event.event_type) {
            return;
        }
        if let Some(given_up) = list.book.on_event(*id, &event.camera_id, event.timestamp) {
            tracing::error!(clip.id = given_up.id.as_str(), "a clip is not cut: too many wait");
        }
        list.changed();
    }

    fn begin(&self, list: &mut List) -> Work {
        let job = list.book.begin_next(clock::now(), |camera| self.cutter.footage.newest(camera))?;
        let (cutter, cut) = (self.cutter.clone(), job.clone());
        Some((job, tokio::task::spawn_blocking(move || cutter.cut(&cut))))
    }

    async fn settle(&self, (job, cut): (ClipJob, Result<Draft, CutError>), list: &mut List) {
        let clip = match cut {
            Ok(draft) => self.hand_over(draft, list).await,
            Err(error) => Err(error),
        };
        if let Err(CutError::MasksChanged) = clip {
            // The job still waits, and is begun again at the next look.
            return tracing::info!(clip.id = job.id.as_str(), "a clip is cut again: privacy masks have changed");
        }
        match clip {
            Ok(clip) => {
                tracing::info!(
                    clip.id = clip.clip_id.as_str(),
                    camera.id = clip.camera_id.as_str(),
                    clip.duration_ms = clip.duration_ms,
                    clip.missing_ms = clip.missing_ms,
                    "a clip is cut"
                );
                list.untold = Some(Untold { job, clip, try_at: Instant::now() });
                self.tell(list).await;
            }
            Err(error) => {
                tracing::error!(clip.id = job.id.as_str(), %error, "a clip is not cut");
                self.end(job, Err(error.to_string()), list).await;
            }
        }
    }

    /// Takes a job that is done out of the list, and answers its command.
    async fn end(&self, job: ClipJob, clip: Result<Clip, String>, list: &mut List) {
        list.made = None;
        list.done.extend(clip.iter().filter(|clip| clip.command_id.is_some()).cloned());
        if list.done.len() > MAX_DONE {
            list.done.remove(0);
        }
        list.book.end(&job.id);
        list.changed();
        list.save().await;
        if let ClipCause::Command { id } = job.cause {
            self.answer(match clip {
                Ok(clip) => succeeded(id, clock::now(), told(&clip)),
                Err(reason) => failed(id, clock::now(), reason),
            })
            .await;
        }
    }

    /// Puts the file into the queue. What it is is written down before: if it was put and not told, it is told as it is
    /// after the next start.
    async fn hand_over(&self, draft: Draft, list: &mut List) -> Result<Clip, CutError> {
        let before = list.made.take().filter(|made| made.clip_id == draft.clip.clip_id);
        list.made = Some(before.clone().unwrap_or_else(|| draft.clip.clone()));
        list.is_saved = false;
        list.save().await;
        let cutter = self.cutter.clone();
        let put = tokio::task::spawn_blocking(move || cutter.hand_over(draft)).await;
        let other = || CutError::Disk(std::io::Error::other("another file waits for the cloud under its id"));
        match put.map_err(|error| CutError::Disk(std::io::Error::other(error)))?? {
            Some(clip) => Ok(clip),
            None => before.ok_or_else(other),
        }
    }

    /// Puts the message about a clip into the outbox; when the disk refuses it, again after a pause.
    async fn tell(&self, list: &mut List) {
        let Some(mut untold) = list.untold.take_if(|untold| untold.try_at <= Instant::now()) else { return };
        match self.outbox.append(Body::Clips(untold.clip.clone())).await {
            Err(OutboxError::Refused { .. }) => {
                untold.try_at = Instant::now() + PAUSE;
                list.untold = Some(untold);
                return;
            }
            Err(error) if !error.waits() => {
                tracing::error!(%error, clip.id = untold.clip.clip_id.as_str(), "the cloud is not told of a clip");
            }
            _ => {}
        }
        self.end(untold.job, Ok(untold.clip), list).await;
    }
}

impl List {
    /// Takes note that other clips are to be cut now.
    fn changed(&mut self) {
        self.is_saved = false;
        self.say_what_is_needed();
    }

    fn say_what_is_needed(&self) {
        let span = |job: &ClipJob| (job.camera_id.clone(), Span { start: job.start, end: job.end });
        self.needed.send_replace(Some(self.book.jobs().iter().map(span).collect()));
    }

    /// Brings the list to the disk. When that refuses, it is tried again with the next look.
    async fn save(&mut self) {
        if self.is_saved {
            return;
        }
        let waiting = self.book.jobs().to_vec();
        let (file, jobs) = (self.file.clone(), Jobs { waiting, made: self.made.clone(), done: self.done.clone() });
        match tokio::task::spawn_blocking(move || file.write(&jobs)).await {
            Ok(Ok(())) => self.is_saved = true,
            Ok(Err(error)) => tracing::debug!(%error, "the list of clips is not on the disk"),
            Err(error) => tracing::error!(%error, "writing the list of clips panicked"),
        }
    }
}

/// Waits for the end of the work, for ever while there is none.
async fn ended(work: &mut Work) -> (ClipJob, Result<Draft, CutError>) {
    let Some((job, running)) = work else { return std::future::pending().await };
    let cut = running.await.unwrap_or_else(|error| Err(CutError::Disk(std::io::Error::other(error))));
    let job = job.clone();
    *work = None;
    (job, cut)
}

/// What a command's answer says of its clip.
fn told(clip: &Clip) -> Map<String, Value> {
    match serde_json::to_value(clip) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}
