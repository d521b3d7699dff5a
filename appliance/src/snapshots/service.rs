//! The task that takes pictures, one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::analysis::BestPicture;
use aivms_contract::command::CommandResult;
use aivms_contract::envelope::Body;
use aivms_contract::id::{CameraId, CommandId, EventId, TrackId};
use aivms_contract::snapshot::Snapshot;
use aivms_contract::time::UtcMillis;
use serde_json::{Map, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::sink::Pictures;
use super::taker::{TakeError, Taker, Wish};
use crate::clock;
use crate::config;
use crate::control::commands::{failed, succeeded};
use crate::outbox::Outbox;
use crate::run::KeptEvent;

/// Requests that may wait; when there are more, further ones are refused.
const ASKS: usize = 16;
/// Pictures that may wait for their footage; when there are more, the oldest goes.
const MAX_WAITING: usize = 512;
/// Tracks whose first event is remembered until their picture is due; the oldest go.
const MAX_EVENTS: usize = 4096;
/// How often it is looked whether footage has come.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to ask for snapshots. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots(mpsc::Sender<Ask>);

/// A request for a snapshot.
#[derive(Debug)]
pub struct Ask(Wish);

/// What the task works with.
pub struct SnapshotService {
    /// What takes the pictures.
    pub taker: Taker,
    /// Of what.
    pub settings: config::Snapshots,
    /// Where snapshots are told of.
    pub outbox: Outbox,
    /// Where commands are answered.
    pub answers: mpsc::Sender<CommandResult>,
}

/// A way for requests to [`SnapshotService::run`].
#[must_use]
pub fn requests() -> (Snapshots, mpsc::Receiver<Ask>) {
    let (asks, asked) = mpsc::channel(ASKS);
    (Snapshots(asks), asked)
}

impl Snapshots {
    /// Asks for a snapshot. It is answered later, when it is taken.
    ///
    /// # Errors
    /// Too many wait already, or the id is too long.
    pub fn request(&self, id: CommandId, camera: CameraId, at: Option<UtcMillis>, boxes: bool) -> Result<(), String> {
        let long = |_| "id: has more than 62 characters, of which a snapshot's id can't be made".to_owned();
        let full = |_| format!("{ASKS} snapshots wait already; ask again later");
        let snapshot = format!("s-{id}").parse().map_err(long)?;
        let wish = Wish { id: snapshot, camera, at, object: None, boxes, event: None, command: Some(id) };
        self.0.try_send(Ask(wish)).map_err(full)
    }
}

/// What is to be taken of tracks.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<BestPicture>,
    /// The first event of each track, and the tracks in the order in which they came.
    events: BTreeMap<TrackId, EventId>,
    order: VecDeque<TrackId>,
}

/// A picture being taken.
struct Running {
    command: Option<CommandId>,
    taking: JoinHandle<Result<Snapshot, TakeError>>,
}

type Work = Option<Running>;

impl SnapshotService {
    /// Takes pictures of tracks, and what is asked for, until `stop`. What waits then is not taken any more; a command
    /// is repeated by the cloud.
    pub async fn run(
        self,
        mut asks: mpsc::Receiver<Ask>,
        mut pictures: Pictures,
        mut events: broadcast::Receiver<Arc<KeptEvent>>,
        stop: CancellationToken,
    ) {
        let (mut queue, mut work): (_, Work) = (Queue::default(), None);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // Requests come first.
                Some(ask) = asks.recv(), if work.is_none() => work = Some(self.begin(ask.0)),
                event = events.recv() => match event {
                    Ok(event) => queue.note(&event),
                    Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "snapshots do not name their events"),
                    Err(RecvError::Closed) => return stop.cancelled().await,
                },
                Some(picture) = pictures.next() => self.queue(picture, &mut queue),
                done = ended(&mut work) => self.settle(done).await,
                _ = look.tick() => {
                    let dropped = pictures.take_dropped();
                    if dropped > 0 {
                        tracing::warn!(dropped, "pictures of tracks are not taken: too many at once");
                    }
                    if work.is_none() {
                        work = self.next(&mut queue).map(|wish| self.begin(wish));
                    }
                }
            }
        }
    }

    fn queue(&self, picture: BestPicture, queue: &mut Queue) {
        if self.settings.tracks || (self.settings.events && picture.has_event) {
            if queue.waiting.len() >= MAX_WAITING {
                queue.waiting.pop_front();
                tracing::warn!("a picture of a track is not taken: too many wait");
            }
            queue.waiting.push_back(picture);
        }
    }

    /// The first picture whose footage has come, or has been waited for long enough.
    fn next(&self, queue: &mut Queue) -> Option<Wish> {
        let now = clock::now();
        let is_due = |picture: &BestPicture| {
            let recorded = self.taker.footage.newest(&picture.camera_id);
            recorded.is_some_and(|through| through > picture.at) || now >= picture.at + PATIENCE
        };
        let at = queue.waiting.iter().position(is_due)?;
        let picture = queue.waiting.remove(at)?;
        let event = queue.events.remove(&picture.object.track_id);
        let name = event.map_or_else(|| picture.object.track_id.to_string(), |event| event.to_string());
        // A track's name that leaves no room for the two characters is no name of this program's.
        let id = format!("s-{name}").to_ascii_lowercase().parse().ok()?;
        let (camera, at, boxes) = (picture.camera_id, Some(picture.at), self.settings.boxes);
        Some(Wish { id, camera, at, object: Some((picture.object, picture.frame)), boxes, event, command: None })
    }

    fn begin(&self, wish: Wish) -> Running {
        let (taker, command) = (self.taker.clone(), wish.command.clone());
        Running { command, taking: tokio::task::spawn_blocking(move || take(&taker, &wish)) }
    }

    async fn settle(&self, (command, taken): (Option<CommandId>, Result<Snapshot, TakeError>)) {
        match &taken {
            Ok(snapshot) => {
                tracing::info!(snapshot.id = snapshot.snapshot_id.as_str(), "a snapshot is taken");
                if let Err(error) = self.outbox.append(Body::Snapshots(snapshot.clone())).await
                    && !error.waits()
                {
                    tracing::error!(%error, "the cloud is not told of a snapshot");
                }
            }
            Err(error) => tracing::warn!(%error, "a snapshot is not taken"),
        }
        if let Some(id) = command {
            let answer = match taken {
                Ok(snapshot) => succeeded(id, clock::now(), told(&snapshot)),
                Err(error) => failed(id, clock::now(), error.to_string()),
            };
            // Control is gone only when the program stops; the cloud asks again then.
            let _ = self.answers.send(answer).await;
        }
    }
}

impl Queue {
    /// Remembers the first event of a track.
    fn note(&mut self, KeptEvent { id, event }: &KeptEvent) {
        if self.events.contains_key(&event.track_id) {
            return;
        }
        if self.order.len() >= MAX_EVENTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
        }
        self.events.insert(event.track_id.clone(), *id);
        self.order.push_back(event.track_id.clone());
    }
}

/// Takes a picture and puts it into the queue; with other masks once more when they have changed meanwhile.
fn take(taker: &Taker, wish: &Wish) -> Result<Snapshot, TakeError> {
    loop {
        match taker.hand_over(taker.take(wish.clone(), clock::now())?) {
            Err(TakeError::MasksChanged) => {
                tracing::info!(snapshot.id = wish.id.as_str(), "privacy masks have changed");
            }
            done => return done,
        }
    }
}

/// Waits for the end of the work, for ever while there is none.
async fn ended(work: &mut Work) -> (Option<CommandId>, Result<Snapshot, TakeError>) {
    let Some(running) = work else { return std::future::pending().await };
    let taken = (&mut running.taking).await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()));
    let command = running.command.take();
    *work = None;
    (command, taken)
}

/// What a command's answer says of its snapshot.
fn told(snapshot: &Snapshot) -> Map<String, Value> {
    match serde_json::to_value(snapshot) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}
