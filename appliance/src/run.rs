//! Builds, wires and supervises the running appliance.
//!
//! Every long-lived task is started here, has a name, and ends when its stop token is cancelled or its input ends. A
//! task that ends by itself is a fault of the program: everything is stopped in order and the process ends with an
//! error, so that the service manager starts it anew.

mod footage;
mod keep;
mod media;
mod report;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::envelope::Body;
use aivms_contract::id::EdgeId;
use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cloud::{Cloud, CloudError};
use crate::config::{self, Config};
use crate::continuity::{self, Continuity, Ends};
use crate::control::{CameraSet, Control, Media};
use crate::doctor::engine_settings;
use crate::health::Vitals;
use crate::identity::Identity;
use crate::keeper::{self, Keeper};
use crate::outbox::{Outbox, OutboxSettings};
use crate::pipeline::CameraOutput;
use crate::pipeline::choice::{EngineLoadError, load_engine};
use crate::pipeline::engine::Engine;
use crate::retention::Retention;
use crate::retention::board::Board;
use crate::retention::locking::Locking;
use crate::retention::needs::{NeedSource, Surroundings};
use crate::retention::tagging::tagger;
use crate::snapshots;
use crate::state::State;
use crate::temperatures::ThermalZones;
use crate::tracks_file::{RecorderSettings, TracksRecorder, write_tracks};
use crate::uplink::{self, LinkHealth, LinkState, Say, Told, Uplink, UplinkSettings};
use crate::uploads::Uploader;
use crate::why::{self, WhyStore};

use footage::{FootageParts, RetentionAround};
use keep::kept_events;
use media::MediaParts;
use report::Reporter;
use tasks::{Tasks, alone};

pub use keep::KeptEvent;

/// Messages of cameras on their way to the disk. A few seconds of sixty busy cameras; when full, the disk is stuck
/// and cameras wait with their analysis, which the pipeline survives by dropping frames, not events.
const BODIES: usize = 2048;
/// Time for cameras to stop and for what they saw to reach the disk.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Time for the last events to reach the cloud.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Says which setting keeps the appliance from starting; trying again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum Misconfigured {
    /// The detector can't be loaded.
    #[error("detection: {0}")]
    Engine(EngineLoadError),
    /// The cloud can't be called as it is configured.
    #[error("cloud: {0}")]
    Cloud(CloudError),
    /// Nothing says which edge this is.
    #[error(
        "this edge has no id; set EDGE_ID and EDGE_SECRET (edge.id, edge.secret) as shown at registration, or run \
         `aivms-appliance enroll`"
    )]
    NoEdge,
    /// The configured edge is not the one that is enrolled.
    #[error(
        "edge.id (EDGE_ID) is {configured} and the certificate belongs to {enrolled}; correct the id, or set \
         EDGE_SECRET to enrol as {configured}"
    )]
    OtherEdge {
        /// As configured.
        configured: EdgeId,
        /// As in the certificate.
        enrolled: EdgeId,
    },
}

/// What all tasks share.
struct Parts {
    config: Arc<Config>,
    edge: EdgeId,
    state: State,
    outbox: Outbox,
    vitals: Arc<Vitals>,
    engine: Arc<dyn Engine>,
    footage: FootageParts,
    media: MediaParts,
    identity: watch::Sender<Option<Arc<Identity>>>,
    cloud: Option<(Arc<Cloud>, UplinkSettings)>,
}

/// Runs the appliance until SIGTERM or SIGINT.
///
/// # Errors
/// The settings, the model or the data folder can't be used, or a task ended by itself.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be awaited")?;
    let asked = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    run_until(config, asked).await
}

/// Runs the appliance until `asked` is done.
///
/// # Errors
/// See [`run`].
pub async fn run_until(config: Config, asked: impl Future<Output = ()>) -> anyhow::Result<()> {
    let parts = build(Arc::new(config)).await?;
    tracing::info!(edge.id = parts.edge.as_str(), version = crate::health::VERSION, "the appliance starts");
    let outbox = parts.outbox.clone();
    let (mut tasks, stop) = start(&parts);
    let fault = tokio::select! {
        () = asked => None,
        ended = tasks.next_end() => Some(ended),
    };
    tracing::info!("the appliance stops");
    stop.in_order(tasks, &outbox).await;
    parts.footage.close().await;
    outbox.close().await;
    match fault {
        Some(name) => bail!("the task {name} ended by itself; this is a fault of the program"),
        None => Ok(()),
    }
}

async fn build(config: Arc<Config>) -> anyhow::Result<Parts> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("the data folder {} can't be made", config.data_dir.display()))?;
    let identity = usable_identity(&config)?;
    let edge = identity.as_ref().map(|identity| &identity.enrollment().edge_id).or(config.edge_id.as_ref()).cloned();
    let edge = edge.ok_or(Misconfigured::NoEdge)?;
    let call = |settings: &config::Cloud| Cloud::new(settings).map(|cloud| (Arc::new(cloud), settings.into()));
    let cloud = config.cloud.as_ref().map(call).transpose().map_err(Misconfigured::Cloud)?;
    let settings = engine_settings(&config);
    let engine = blocking(move || load_engine(&settings)).await?.map_err(Misconfigured::Engine)?;
    if let Err((field, problem)) = config::check_classes(&config.cameras, engine.labels()) {
        tracing::error!("{}: {field}: {problem}; it will never be seen", config.cameras_file.display());
    }
    let vitals = Arc::new(Vitals::new(config.data_dir.clone()));
    let (state, outbox) = open_stores(&config, edge.clone(), &vitals).await?;
    let opening = (Arc::clone(&config), Arc::clone(&vitals));
    let media = blocking(move || MediaParts::open(&opening.0, &opening.1)).await??;
    let identity = watch::channel(identity.map(Arc::new)).0;
    let footage = FootageParts::open(&config, &edge, &vitals, identity.subscribe())?;
    Ok(Parts { config, edge, state, outbox, vitals, engine, footage, media, identity, cloud })
}

/// The identity on disk, unless another edge is configured and can be enrolled.
fn usable_identity(config: &Config) -> Result<Option<Identity>, Misconfigured> {
    let identity = Identity::load(&config.data_dir).unwrap_or_else(|error| {
        // Cameras are watched and events kept all the same, as long as it is known which edge this is.
        tracing::error!(%error, "the stored identity can't be used; enrol again with a new secret");
        None
    });
    let (Some(known), Some(configured)) = (&identity, &config.edge_id) else { return Ok(identity) };
    let enrolled = &known.enrollment().edge_id;
    match (enrolled == configured, config.edge_secret.is_some()) {
        (true, _) => Ok(identity),
        (false, true) => Ok(None),
        (false, false) => Err(Misconfigured::OtherEdge { configured: configured.clone(), enrolled: enrolled.clone() }),
    }
}

async fn open_stores(config: &Config, edge: EdgeId, vitals: &Vitals) -> anyhow::Result<(State, Outbox)> {
    let data_dir = config.data_dir.clone();
    let settings = OutboxSettings {
        dir: data_dir.join("outbox"),
        max_bytes: config.outbox.max_bytes,
        group_time: config.outbox.group_time,
    };
    let opened = blocking(move || {
        let (state, mut notices) = State::open(data_dir.join("state"))?;
        let (outbox, more) = Outbox::open(settings, edge, &state)?;
        notices.extend(more);
        anyhow::Ok((state, outbox, notices))
    });
    let (state, outbox, notices) = opened.await?.context("the data folder can't be used")?;
    notices.into_iter().for_each(|notice| vitals.note(notice));
    Ok((state, outbox))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a start-up step panicked")
}

fn start(parts: &Parts) -> (Tasks, Stop) {
    let mut tasks = Tasks::default();
    let stop = Stop { has_cloud: parts.cloud.is_some(), ..Stop::default() };
    let (bodies, seen) = mpsc::channel::<Body>(BODIES);
    let (say, said) = mpsc::channel(uplink::MESSAGES);
    let (tell, told) = mpsc::channel(uplink::MESSAGES);
    let link = watch::channel(LinkHealth::now(LinkState::Connecting, None)).0;
    let (why, noted) = why::channel();

    let kept_events = kept_events();
    let (tagger, tagging) = tagger(parts.footage.footage.clone(), Surroundings::of(&parts.config.clips.lengths));
    tasks.spawn("tagging", tagging);
    tasks.spawn("keep", keep::keep(seen, parts.outbox.clone(), kept_events.clone(), Some(tagger)));
    let (ends, ended) = continuity::ends();
    let (needed, clips) = watch::channel(None);
    let (retention, continuity, locking) = parts.footage_tasks(clips);
    let (board, ledger) = (continuity.board.clone(), continuity.board.clone());
    tasks.spawn("retention", retention.run(stop.rest.clone()));
    tasks.spawn("continuity", continuity.run(ended, stop.rest.clone()));
    tasks.spawn("why", why::keep(noted, WhyStore::new(&parts.config.data_dir, parts.config.why)));
    let recorder = parts.config.detection.record_tracks.map(|max_bytes| {
        let (recorder, notes) = TracksRecorder::new();
        let dir = parts.config.data_dir.join("tracks");
        tasks.spawn("tracks", write_tracks(notes, RecorderSettings { dir, max_bytes }));
        recorder
    });
    let (pictures, wanted) = snapshots::channel();
    let media = parts.media.start(&mut tasks, parts, (wanted, &kept_events), (board, needed), &stop.rest);
    let output = CameraOutput { bodies, why, pictures, seen: parts.footage.relay.seen().clone() };
    let control = Control { locking: Some(locking), ..parts.control(output, say.clone(), recorder, (media, ends)) };
    tasks.spawn("control", control.run(told, stop.cameras.clone()));
    tasks.spawn("temperatures", ThermalZones::system().watch(Arc::clone(&parts.vitals), stop.rest.clone()));
    tasks.spawn("report", parts.reporter(link.subscribe(), say).run(stop.rest.clone()));
    if let Some((cloud, settings)) = &parts.cloud {
        tasks.spawn("identity", parts.keeper(cloud, link.clone()).run(stop.rest.clone()));
        let identity = parts.identity.subscribe();
        if let Some(settings) = parts.config.cloud.clone() {
            let knows = (parts.media.gate.clone(), ledger);
            let relay = parts.footage.relay_task(settings, Arc::clone(cloud), identity, knows);
            tasks.spawn("relay", relay.run(stop.rest.clone()));
        }
        tasks.spawn("uplink", parts.uplink(cloud, settings, (said, tell), link).run(stop.rest.clone()));
        tasks.spawn("uploads", parts.uploader(cloud).run(stop.rest.clone()));
    } else {
        tracing::warn!("no cloud is configured (cloud.url, CLOUD_URL); events are kept");
        link.send_replace(LinkHealth::now(LinkState::Alone, None));
        tasks.spawn("alone", alone(said, tell, stop.rest.clone()));
    }
    (tasks, stop)
}

impl Parts {
    /// What deletes footage, what keeps the ledger of gaps, and what locks footage.
    fn footage_tasks(&self, clips: NeedSource) -> (Retention, Continuity, Locking) {
        let board = Board::default();
        let (retention, locking) = self.footage.retention(RetentionAround {
            state: self.state.clone(),
            outbox: self.outbox.clone(),
            cloud: self.cloud.as_ref().map(|(cloud, _)| Arc::clone(cloud)),
            floor_bytes: self.config.recording.min_free_bytes,
            board: board.clone(),
            surroundings: Surroundings::of(&self.config.clips.lengths),
            clips,
        });
        let continuity = Continuity {
            footage: self.footage.footage.clone(),
            policy: self.footage.policy.subscribe(),
            vitals: Arc::clone(&self.vitals),
            outbox: self.outbox.clone(),
            chain: self.footage.chain.clone(),
            board,
            data_dir: self.config.data_dir.clone(),
        };
        (retention, continuity, locking)
    }

    fn control(
        &self,
        output: CameraOutput,
        say: mpsc::Sender<Say>,
        recorder: Option<TracksRecorder>,
        (media, ends): (Media, Ends),
    ) -> Control {
        let cameras = CameraSet::new(self.engine.clone(), output, Arc::clone(&self.vitals));
        Control {
            cameras: cameras.with(self.config.detection.stationary, recorder).feeding(self.footage.consumers(ends)),
            recording: self.footage.policy.clone(),
            relay: self.footage.relay.clone(),
            config: Arc::clone(&self.config),
            state: self.state.clone(),
            vitals: Arc::clone(&self.vitals),
            outbox: self.outbox.clone(),
            media: Some(media),
            locking: None,
            say,
        }
    }

    fn uploader(&self, cloud: &Arc<Cloud>) -> Uploader {
        Uploader {
            outgoing: self.media.outgoing.clone(),
            cloud: Arc::clone(cloud),
            identity: self.identity.subscribe(),
            vitals: Arc::clone(&self.vitals),
            gate: self.media.gate.clone(),
        }
    }

    fn reporter(&self, link: watch::Receiver<LinkHealth>, say: mpsc::Sender<Say>) -> Reporter {
        Reporter {
            reporting: self.config.reporting.clone(),
            data_dir: self.config.data_dir.clone(),
            edge: self.edge.clone(),
            vitals: Arc::clone(&self.vitals),
            outbox: self.outbox.clone(),
            identity: self.identity.subscribe(),
            cloud: self.cloud.as_ref().map(|(cloud, _)| Arc::clone(cloud)),
            link,
            say,
        }
    }

    fn keeper(&self, cloud: &Arc<Cloud>, link: watch::Sender<LinkHealth>) -> Keeper {
        Keeper {
            cloud: Arc::clone(cloud),
            data_dir: self.config.data_dir.clone(),
            edge: self.edge.clone(),
            secret: self.config.edge_secret.clone(),
            identity: self.identity.clone(),
            link,
            vitals: Arc::clone(&self.vitals),
            check_every: keeper::CHECK_INTERVAL,
        }
    }

    fn uplink(
        &self,
        cloud: &Arc<Cloud>,
        settings: &UplinkSettings,
        (say, told): (mpsc::Receiver<Say>, mpsc::Sender<Told>),
        health: watch::Sender<LinkHealth>,
    ) -> Uplink {
        Uplink {
            outbox: self.outbox.clone(),
            identity: self.identity.subscribe(),
            cloud: Arc::clone(cloud),
            settings: *settings,
            say,
            told,
            health,
        }
    }
}

/// The tokens that end the tasks, in this order.
#[derive(Default)]
struct Stop {
    /// Stops what makes events; the task that keeps them ends when all have reached the disk.
    cameras: CancellationToken,
    /// Stops the others.
    rest: CancellationToken,
    has_cloud: bool,
}

impl Stop {
    async fn in_order(self, mut tasks: Tasks, outbox: &Outbox) {
        self.cameras.cancel();
        if timeout(STOP_LIMIT, tasks.joined(&["control", "keep"])).await.is_err() {
            tracing::error!("cameras or disk did not stop in time");
        }
        if self.has_cloud {
            let _ = timeout(FLUSH_LIMIT, acknowledged(outbox)).await;
        }
        self.rest.cancel();
        if timeout(STOP_LIMIT, tasks.all_joined()).await.is_err() {
            tracing::error!("some tasks did not stop in time");
        }
    }
}

/// Waits until the cloud has everything.
async fn acknowledged(outbox: &Outbox) {
    while outbox.acknowledged() < *outbox.kept().borrow() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
