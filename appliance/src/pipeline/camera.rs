//! One camera as the rest of the edge sees it: a task that runs until it is stopped, whatever the camera does.

mod connection;
mod event;
mod health;
mod link;
mod outbound;
mod recorded;
mod stream;
mod task;

use std::sync::Arc;

use aivms_appliance_core::analysis::AnalysisSettings;
use aivms_appliance_core::detection::ClassId;
use aivms_appliance_core::rules::CameraRules;
use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::tracks::{RestSettings, Session};
use aivms_contract::desired::{Camera, Fps, TimeZoneName};
use aivms_contract::envelope::Body;
use aivms_contract::health::CameraHealth;
use aivms_contract::id::CameraId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::event::Orders;
use self::health::HealthBoard;
use self::task::CameraTask;
use super::consumer::Consumers;
use super::engine::{Engine, Watch};
use super::source::address::{Address, CameraAddressError};
use crate::relay::SeenBoxes;
use crate::snapshots::PictureSink;
use crate::tracks_file::{CameraTap, RunInfo, TracksRecorder};
use crate::why::WhySink;

/// What one camera's task is to do.
#[derive(Debug, Clone)]
pub struct CameraSpec {
    /// The camera, with its rules; its own classes and rate win over the edge's below.
    pub camera: Camera,
    /// Marks this run of the program in track ids.
    pub session: Session,
    /// Frames analysed per second of media time.
    pub detection_fps: f64,
    /// Least confidence of a detection, 0 to 1.
    pub confidence: f64,
    /// Labels looked for; empty for all of the model's.
    pub classes: Vec<String>,
    /// The site's time zone, in which schedules are meant.
    pub time_zone: SiteZone,
    /// When objects are at rest.
    pub stationary: RestSettings,
    /// Where what is seen is recorded, if it is.
    pub recorder: Option<TracksRecorder>,
    /// Those who take its video beside the analysis.
    pub consumers: Consumers,
    /// Whether they get its sound too.
    pub audio: bool,
}

/// Where what a camera has to say goes.
#[derive(Debug, Clone)]
pub struct CameraOutput {
    /// Its messages.
    pub bodies: mpsc::Sender<Body>,
    /// Why there was an event, or none.
    pub why: WhySink,
    /// Which pictures of its tracks are worth taking.
    pub pictures: PictureSink,
    /// What it sees, for boxes over its video.
    pub seen: SeenBoxes,
}

/// Messages only.
impl From<mpsc::Sender<Body>> for CameraOutput {
    fn from(bodies: mpsc::Sender<Body>) -> Self {
        Self { bodies, why: WhySink::default(), pictures: PictureSink::default(), seen: SeenBoxes::default() }
    }
}

/// A running camera; dropping it stops the camera without waiting.
pub struct CameraHandle {
    camera: CameraId,
    health: watch::Receiver<CameraHealth>,
    counters: watch::Receiver<CameraCounters>,
    rules: watch::Sender<CameraRules>,
    restart: Arc<Notify>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// What one camera's task has done since it was spawned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CameraCounters {
    /// Frames analysed.
    pub frames_analysed: u64,
    /// Frames that were to be analysed and were not, because the model or the outbox was behind.
    pub frames_skipped: u64,
    /// Access units that were not decoded because the decoder was behind.
    pub units_dropped: u64,
    /// Track reports dropped because the outbox was behind; zone events are never dropped while the camera runs.
    pub detections_dropped: u64,
    /// Zone events that wait for the outbox now.
    pub events_waiting: u64,
    /// Zone events lost because the outbox still took none when the camera was stopped.
    pub events_lost: u64,
    /// Connections begun.
    pub connections: u64,
    /// Pipelines that did not end in time and were left behind; more than a few call for a restart of the program.
    pub left_behind: u64,
}

/// Says which field of a camera keeps it from running; the text names the camera.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Its address.
    #[error(transparent)]
    Address(#[from] CameraAddressError),
    /// A class that the model does not have.
    #[error("camera {camera}: classes: the model knows no {class:?}; it knows {known}")]
    Class {
        /// The camera.
        camera: CameraId,
        /// The unknown class.
        class: String,
        /// Some of those it knows.
        known: String,
    },
}

/// Checks what can be checked of a camera without connecting to it, against the labels of the model.
///
/// # Errors
/// Names the camera and the field that is wrong.
pub fn check_camera(camera: &Camera, labels: &[String]) -> Result<(), SpecError> {
    Address::of(camera)?;
    Address::of_sub(camera)?;
    let class = camera.classes.iter().find(|class| !labels.contains(class));
    class.map_or(Ok(()), |class| Err(SpecError::unknown_class(&camera.id, class, labels)))
}

/// Starts a camera's task on the current runtime. What it has to say goes into `output`.
///
/// When its `bodies` are full, track reports are dropped and counted (the next report of the track says the same again),
/// zone events wait in order. With 1024 events waiting the task stops judging frames until the
/// first has gone; frames then skipped are counted too. It says so in the log, and goes on to watch over the source.
///
/// A camera that is switched off, or whose configuration is wrong, connects to nothing and says why in its health.
/// Classes that the model does not know are left out, with a warning, as long as it knows one of them.
#[must_use]
pub fn spawn_camera(spec: CameraSpec, engine: Arc<dyn Engine>, output: impl Into<CameraOutput>) -> CameraHandle {
    let (board, health) = HealthBoard::new(spec.camera.id.clone());
    let (counts, counters) = watch::channel(CameraCounters::default());
    let (rules, new_rules) = watch::channel(spec.rules());
    let (restart, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let camera = spec.camera.id.clone();
    let orders = Orders { stop: stop.clone(), restart: Arc::clone(&restart), rules: new_rules };
    let task = tokio::spawn(CameraTask::new(spec, engine, output.into(), board, counts).run(orders));
    CameraHandle { camera, health, counters, rules, restart, stop: stop.drop_guard(), task }
}

impl CameraHandle {
    /// The camera.
    #[must_use]
    pub fn camera(&self) -> &CameraId {
        &self.camera
    }

    /// State of the camera, changed whenever it changes.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<CameraHealth> {
        self.health.clone()
    }

    /// What the task has done so far, at most a second old.
    #[must_use]
    pub fn counters(&self) -> CameraCounters {
        *self.counters.borrow()
    }

    /// Judges by other rules from the next frame on; tracks and what unchanged rules have begun go on.
    pub fn replace_rules(&self, rules: CameraRules) {
        self.rules.send_replace(rules);
    }

    /// Drops the connection and the decoder and builds them anew, at once.
    pub fn restart(&self) {
        self.restart.notify_one();
    }

    /// Stops the camera: tracks end, and their last messages are in `bodies` when this returns, if it took them
    /// within two seconds.
    pub async fn stop(self) {
        let Self { stop, task, camera, .. } = self;
        drop(stop);
        if let Err(error) = task.await {
            tracing::error!(camera.id = %camera, %error, "the camera's task ended in a panic");
        }
    }
}

impl CameraSpec {
    fn watch(&self, labels: &[String]) -> Result<Watch, SpecError> {
        let camera = &self.camera;
        let classes = if camera.classes.is_empty() { &self.classes } else { &camera.classes };
        #[expect(clippy::cast_possible_truncation, reason = "a confidence of 0 to 1")]
        let confidence = self.confidence as f32;
        Ok(Watch { fps: self.fps(), confidence, classes: find_classes(&camera.id, classes, labels)? })
    }

    fn rules(&self) -> CameraRules {
        CameraRules::of(&self.camera, &self.time_zone)
    }

    fn analysis_settings(&self) -> AnalysisSettings {
        let mut settings = AnalysisSettings::for_rate(self.fps());
        settings.tracks.rest = self.stationary;
        settings
    }

    /// The way to the recording of this run, which names the classes by `labels`.
    fn tap(&self, labels: &[String]) -> Option<CameraTap> {
        let info = || RunInfo {
            camera: self.camera.clone(),
            time_zone: TimeZoneName::try_from(self.time_zone.name().to_owned()).ok(),
            session: self.session.clone(),
            fps: self.fps(),
            stationary: self.stationary,
            labels: labels.to_vec(),
        };
        self.recorder.as_ref().map(|recorder| recorder.tap(info()))
    }

    fn fps(&self) -> f64 {
        self.camera.detection_fps.map_or(self.detection_fps, Fps::get)
    }
}

/// The class numbers of those `names` that the model knows; it is an error when it knows none of them.
fn find_classes(camera: &CameraId, names: &[String], labels: &[String]) -> Result<Vec<ClassId>, SpecError> {
    let find = |name: &String| labels.iter().position(|label| label == name).and_then(|at| ClassId::try_from(at).ok());
    let (known, unknown): (Vec<_>, Vec<_>) = names.iter().partition(|name| find(name).is_some());
    match (unknown.first(), known.is_empty()) {
        (Some(class), true) => return Err(SpecError::unknown_class(camera, class, labels)),
        (Some(_), false) => tracing::warn!(camera.id = %camera, ?unknown, "classes: the model does not know these"),
        (None, _) => {}
    }
    Ok(known.into_iter().filter_map(find).collect())
}

impl SpecError {
    fn unknown_class(camera: &CameraId, class: &str, labels: &[String]) -> Self {
        /// Labels shown to a person who misspelt one.
        const SHOWN: usize = 12;
        let mut known = labels.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        if labels.len() > SHOWN {
            known.push_str(" and more");
        }
        Self::Class { camera: camera.clone(), class: class.to_owned(), known }
    }
}
