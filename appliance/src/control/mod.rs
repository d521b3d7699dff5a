//! Carries out what the cloud says: desired documents and commands.
//!
//! A desired document is applied whole or refused whole. It is on the disk before it runs, so that a restart runs it
//! again; each attempt is reported, and the latest report is repeated on every connection.

mod cameras;
pub mod commands;
pub mod desired;
mod media;
pub mod plan;

use std::path::PathBuf;
use std::sync::Arc;

use aivms_contract::command::{Action, Command, CommandResult};
use aivms_contract::desired::{Desired, Reported, ReportedState};
use aivms_contract::id::CommandId;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use cameras::CameraSet;
pub use media::Media;

use crate::clock;
use crate::config::{self, Config};
use crate::health::Vitals;
use crate::outbox::Outbox;
use crate::recorder::RecordingPolicy;
use crate::relay::Relay;
use crate::retention::locking::Locking;
use crate::retention::locks::Lock;
use crate::state::{Key, State, StateError};
use crate::uplink::{Say, Told};
use commands::{Answers, Judgement, failed, succeeded};

/// The one task that changes what runs.
pub struct Control {
    /// Settings of the local files.
    pub config: Arc<Config>,
    /// Where documents and answers are kept.
    pub state: State,
    /// What runs.
    pub cameras: CameraSet,
    /// Shows video to the cloud.
    pub relay: Relay,
    /// What is told of it.
    pub vitals: Arc<Vitals>,
    /// Whose fill is part of a health report.
    pub outbox: Outbox,
    /// What is recorded, for those who record and delete.
    pub recording: watch::Sender<Arc<RecordingPolicy>>,
    /// Who makes clips and snapshots, where footage is recorded.
    pub media: Option<Media>,
    /// What carries out orders about locks; absent where nothing is recorded.
    pub locking: Option<Locking>,
    /// The way to the cloud.
    pub say: mpsc::Sender<Say>,
}

/// What is remembered over restarts.
struct Memory {
    desired: Option<Desired>,
    /// There is a desired document and it can't be read: nobody knows what is to be hidden of which camera.
    is_lost: bool,
    reported: Option<Reported>,
    answers: Answers,
}

impl Control {
    /// Starts what should run, then does as told until `stop`; the cameras are stopped on the way out.
    pub async fn run(mut self, mut told: mpsc::Receiver<Told>, stop: CancellationToken) {
        let desired = self.state.get(Key::Desired);
        let mut memory = Memory {
            is_lost: desired.is_err(),
            desired: understood(desired),
            reported: self.remembered(Key::Reported),
            answers: self.remembered(Key::CommandAnswers).unwrap_or_default(),
        };
        self.apply(&memory).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(told) = told.recv() => self.take(told, &mut memory).await,
                answer = Media::answer(&mut self.media) => self.answer(answer, &mut memory).await,
                else => { stop.cancelled().await; break }
            }
        }
        self.cameras.stop().await;
    }

    async fn take(&mut self, told: Told, memory: &mut Memory) {
        match told {
            Told::Connected => {
                let entries = self.outbox.health().entries;
                self.say(Say::Status(self.vitals.heartbeat(clock::now(), entries)));
                if let Some(reported) = &memory.reported {
                    self.say(Say::Reported(reported.clone()));
                }
            }
            Told::Desired(document) => self.take_document(&document, memory).await,
            Told::Command(command) => self.take_command(command, memory).await,
        }
    }

    async fn take_document(&mut self, document: &[u8], memory: &mut Memory) {
        let running = memory.desired.as_ref().map_or(0, |desired| desired.version);
        let (version, state) = match self.read_document(document) {
            Ok(desired) if desired.version < running => {
                tracing::info!(version = desired.version, running, "an outdated desired document is ignored");
                return;
            }
            Ok(desired) => {
                let version = desired.version;
                // Before it runs, so that a crash between the two runs it at the next start.
                self.remember(Key::Desired, desired.clone()).await;
                (memory.desired, memory.is_lost) = (Some(desired), false);
                self.apply(memory).await;
                (version, ReportedState::Applied)
            }
            Err(Some(desired::Refusal { version, field, reason })) => {
                tracing::error!(version, field, reason, "the desired document is refused");
                (version, ReportedState::Refused { field, reason })
            }
            Err(None) => {
                tracing::error!("a desired document without a version is ignored");
                return;
            }
        };
        let reported = Reported { version, at: clock::now(), state };
        self.remember(Key::Reported, reported.clone()).await;
        self.say(Say::Reported(reported.clone()));
        memory.reported = Some(reported);
    }

    fn read_document(&self, document: &[u8]) -> Result<Desired, Option<desired::Refusal>> {
        let desired = desired::read(document)?;
        let version = desired.version;
        config::check_classes(&desired.cameras, self.cameras.labels())
            .map_err(|(field, reason)| Some(desired::Refusal { version, field, reason }))?;
        Ok(desired)
    }

    /// Makes what is desired run. When that is lost, the local cameras are recorded, and nothing leaves the edge: their
    /// privacy masks may be older than those that are desired.
    async fn apply(&mut self, memory: &Memory) {
        let desired = memory.desired.as_ref();
        self.vitals.set_time_zone(desired::time_zone(&self.config, desired));
        if let Some(media) = &self.media {
            // Before a camera runs whose masks nobody knows yet.
            let cameras = desired.map_or(&self.config.cameras, |desired| &desired.cameras).as_slice();
            media.gate.set(cameras.iter().filter(|_| !memory.is_lost));
        }
        self.recording.send_replace(Arc::new(desired::recording(&self.config, desired)));
        let wanted = desired::wanted(&self.config, desired);
        self.relay.set_cameras(if memory.is_lost { &[] } else { &wanted });
        self.cameras.apply(&wanted).await;
        self.vitals.set_applied_version(desired.map_or(0, |desired| desired.version));
    }

    async fn take_command(&mut self, command: Command, memory: &mut Memory) {
        let now = clock::now();
        let answer = match memory.answers.judge(&command, now) {
            Judgement::Repeat(answer) => return self.say(Say::Result(answer)),
            Judgement::Answer(answer) => answer,
            Judgement::Do(action) => match self.carry_out(command.id.clone(), action, memory).await {
                Some(answer) => answer,
                None => return tracing::debug!(command.id = command.id.as_str(), "a command is answered later"),
            },
        };
        self.answer(answer, memory).await;
    }

    /// Says how a command has ended, and remembers it.
    async fn answer(&mut self, answer: CommandResult, memory: &mut Memory) {
        tracing::info!(command.id = answer.id.as_str(), command.outcome = ?answer.outcome, "a command is answered");
        memory.answers.remember(answer.clone());
        self.remember(Key::CommandAnswers, memory.answers.clone()).await;
        self.say(Say::Result(answer));
    }

    /// Every action may be done twice without harm: a crash before its answer is on the disk makes the cloud repeat it.
    /// `None` when it takes its time and answers later.
    async fn carry_out(&mut self, id: CommandId, action: Action, memory: &Memory) -> Option<CommandResult> {
        let done = match action {
            Action::RestartDetection { camera_id } => self.cameras.restart(camera_id.as_ref()).map(|()| Map::new()),
            Action::UpdateZones => self.update_zones(memory).await,
            Action::GetStatus => {
                let report = self.vitals.report(clock::now(), self.outbox.health(), Vec::new());
                Ok(fields(&report))
            }
            Action::RequestClip { camera_id, start, duration_ms } => {
                match Media::clip(self.media.as_ref(), id.clone(), camera_id, start, duration_ms) {
                    Ok(()) => return None,
                    Err(reason) => Err(reason),
                }
            }
            Action::RequestSnapshot { camera_id, at, boxes } => {
                match Media::snapshot(self.media.as_ref(), id.clone(), camera_id, at, boxes) {
                    Ok(()) => return None,
                    Err(reason) => Err(reason),
                }
            }
            Action::LockFootage { lock_id, camera_id, start, end, reason } => match &self.locking {
                Some(locking) => locking.lock(lock_id, Lock { camera_id, start, end, reason }).await,
                None => Err("nothing is recorded".to_owned()),
            },
            Action::UnlockFootage { lock_id } => match &self.locking {
                Some(locking) => locking.unlock(lock_id).await,
                None => Err("nothing is recorded".to_owned()),
            },
            Action::OpenRelay => {
                self.relay.call();
                Ok(Map::new())
            }
        };
        Some(match done {
            Ok(data) => succeeded(id, clock::now(), data),
            Err(reason) => failed(id, clock::now(), reason),
        })
    }

    /// Applies what is configured once more. Without a desired document the cameras file is read again, so that
    /// someone who edits it needs no restart.
    async fn update_zones(&mut self, memory: &Memory) -> Result<Map<String, Value>, String> {
        if memory.desired.is_none() {
            self.config = Arc::new(reread(Arc::clone(&self.config)).await?);
        }
        self.apply(memory).await;
        let version = memory.desired.as_ref().map_or(0, |desired| desired.version);
        Ok(Map::from_iter([("applied_version".to_owned(), version.into())]))
    }

    fn say(&self, say: Say) {
        if self.say.try_send(say).is_err() {
            tracing::error!("a message to the cloud was dropped because too many wait; the cloud asks again");
        }
    }

    fn remembered<T: serde::de::DeserializeOwned>(&self, key: Key) -> Option<T> {
        understood(self.state.get(key))
    }

    /// Writes a value down. When the disk refuses, it holds until the next restart and is written when the disk allows.
    async fn remember<T: Serialize + Send + 'static>(&self, key: Key, value: T) {
        let state = self.state.clone();
        let written = tokio::task::spawn_blocking(move || state.put(key, &value)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "state is not on the disk");
        }
    }
}

fn understood<T>(remembered: Result<Option<T>, StateError>) -> Option<T> {
    remembered.unwrap_or_else(|error| {
        tracing::error!(%error, "what was remembered is not understood and is made anew");
        None
    })
}

async fn reread(config: Arc<Config>) -> Result<Config, String> {
    let path: PathBuf = config.cameras_file.clone();
    let read = tokio::task::spawn_blocking(move || config::read_cameras_file(&path));
    let cameras = read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(Config { cameras, ..Config::clone(&config) })
}

fn fields(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
