//! Settings: TOML file, cameras.json, environment; later ones win, unknown keys are errors.
//!
//! [`Config::load`] reads all three once at start and checks every value, so that nothing behind it checks again.
//! What the cloud wants instead arrives later as a desired document and is kept apart from this.

mod check;
mod environment;
mod error;
mod file;
mod secret;
mod uploads;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aivms_appliance_core::clip::ClipSettings;
use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::tracks::RestSettings;
use aivms_contract::desired::{self, Cameras, CamerasFile, Confidence, Fps};
use aivms_contract::id::EdgeId;
use aivms_contract::zone_event::ZoneEventType;
use url::Url;

pub use check::{check_cameras, check_classes};
pub use environment::Environment;
pub use error::ConfigError;
pub use secret::Secret;
pub use uploads::Uploads;

use crate::pipeline::choice::EngineKind;
use crate::pipeline::deepstream::Precision;
use file::{File, RecordingSection};

/// Where the settings are when `--config` does not say otherwise.
pub const DEFAULT_PATH: &str = "/etc/aivms/appliance.toml";

/// Everything fixed at start, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the appliance keeps its identity, outbox and state.
    pub data_dir: PathBuf,
    /// The cameras of `cameras.json`; none when there is no such file.
    pub cameras: Cameras,
    /// Where the cameras were read from.
    pub cameras_file: PathBuf,
    /// How the cloud is reached; without it the edge works alone and keeps its events.
    pub cloud: Option<Cloud>,
    /// Edge id as registered, when configured.
    pub edge_id: Option<EdgeId>,
    /// One-time secret as shown at registration, when configured.
    pub edge_secret: Option<Secret>,
    /// Detector and its thresholds.
    pub detection: Detection,
    /// Footage: where, how and for how long.
    pub recording: Recording,
    /// Bounds of the outbox.
    pub outbox: Outbox,
    /// Of which events clips are cut.
    pub clips: Clips,
    /// Of what pictures are taken.
    pub snapshots: Snapshots,
    /// Bounds and pace of uploads.
    pub uploads: Uploads,
    /// Rhythm of what the edge says by itself.
    pub reporting: Reporting,
    /// The time zone in which schedules are meant, unless a document of the cloud names another.
    pub time_zone: SiteZone,
    /// Bounds of what is kept of reasons.
    pub why: Why,
}

/// How the cloud is reached.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// Base address of the cloud's API.
    pub url: Url,
    /// Certificates that sign the cloud's HTTPS server, in PEM; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Time without MQTT after which events go over HTTPS.
    pub backup_after: Duration,
    /// Time without an acknowledgement after which entries in flight are sent again.
    pub ack_timeout: Duration,
}

/// Detector and its thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// What analyses.
    pub engine: EngineKind,
    /// What DeepStream is run with.
    pub deepstream: DeepStream,
    /// The model file.
    pub model: PathBuf,
    /// The model's description file; found beside the model when absent.
    pub description: Option<PathBuf>,
    /// The ONNX Runtime library; searched by the system's loader when absent.
    pub library: Option<PathBuf>,
    /// Threads of one inference; 0 lets the runtime choose.
    pub threads: usize,
    /// Whether the model runs only for pictures in which something changes.
    pub motion_gate: bool,
    /// Least confidence of a detection.
    pub confidence: Confidence,
    /// Frames analysed per second and camera.
    pub fps: Fps,
    /// Classes looked for on cameras that name none.
    pub classes: Vec<String>,
    /// When objects are at rest.
    pub stationary: RestSettings,
    /// Most bytes of recordings of what cameras see; `None` for no recording.
    pub record_tracks: Option<u64>,
}

/// What DeepStream is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeepStream {
    /// Where it is installed.
    pub dir: PathBuf,
    /// Numbers that the network computes with.
    pub precision: Precision,
    /// The calibration table for int8.
    pub int8_calibration: Option<PathBuf>,
    /// Most frames inferred at once.
    pub batch: u32,
    /// Batches tracked without inference after each that is inferred.
    pub interval: u32,
}

/// Footage: where, how and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Where it is recorded to.
    pub dir: PathBuf,
    /// Where older footage is moved to, on a second disk.
    pub slow_dir: Option<PathBuf>,
    /// Length at which a file ends with the next key picture.
    pub segment: Duration,
    /// Most video that a power cut costs.
    pub sync: Duration,
    /// Bytes that stay free on each disk.
    pub min_free_bytes: u64,
    /// What is kept, for cameras that do not say otherwise and where no document does; all but `max_gib` is there.
    pub policy: desired::Recording,
}

/// Bounds of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Most bytes of spool files.
    pub max_bytes: u64,
    /// Longest time an event waits for others before both are written to disk.
    pub group_time: Duration,
}

/// Rhythm of what the edge says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reporting {
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Time between health reports when nothing changes.
    pub health: Duration,
}

/// Of which events clips are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clips {
    /// The kinds of zone events.
    pub events: Vec<ZoneEventType>,
    /// How long clips are.
    pub lengths: ClipSettings,
}

/// Of what pictures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshots {
    /// Of each object with a zone event.
    pub events: bool,
    /// Of each followed object.
    pub tracks: bool,
    /// Whether the object's box is drawn into the picture.
    pub boxes: bool,
}

/// Bounds of what is kept of the reasons of events, made or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    /// Age at which they are deleted; zero keeps none.
    pub keep: Duration,
    /// Most bytes of their files.
    pub max_bytes: u64,
}

impl Config {
    /// Reads the file at `path` (or, without one, [`DEFAULT_PATH`] if it exists), the cameras file it names, and
    /// `environment`, which wins over both.
    ///
    /// # Errors
    /// Names the file and key, or the variable, and what is wrong with it. A file that was named must exist.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let (path, named) = path.map_or((Path::new(DEFAULT_PATH), false), |path| (path, true));
        let mut file =
            read_optional(path, named)?.map(|text| file::parse(path, &text)).transpose()?.unwrap_or_default();
        environment.overlay(&mut file)?;
        let base = path.parent().unwrap_or(Path::new("."));
        let cameras_file = base.join(file.cameras.as_deref().unwrap_or(Path::new("cameras.json")));
        let cameras = read_cameras(&cameras_file, file.cameras.is_some())?;
        Ok(resolve(base, file, cameras_file, cameras))
    }
}

/// Reads a file of `cameras.json`'s form.
///
/// # Errors
/// Names the file and the path of the wrong field, such as `cameras[0].zones[1].polygon`.
pub fn read_cameras_file(path: &Path) -> Result<Cameras, ConfigError> {
    read_cameras(path, true)
}

fn read_cameras(path: &Path, must_exist: bool) -> Result<Cameras, ConfigError> {
    let text = read_optional(path, must_exist)?;
    text.map_or_else(|| Ok(Cameras::default()), |text| parse_cameras(path, &text))
}

fn parse_cameras(path: &Path, text: &str) -> Result<Cameras, ConfigError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let file: CamerasFile =
        serde_path_to_error::deserialize(&mut json).map_err(|error| ConfigError::json_field(path, &error))?;
    json.end().map_err(|error| ConfigError::json_syntax(path, &error))?;
    check_cameras(&file.cameras).map_err(|(key, problem)| ConfigError::Field {
        path: path.to_owned(),
        key,
        problem,
    })?;
    Ok(file.cameras)
}

fn resolve(base: &Path, file: File, cameras_file: PathBuf, cameras: Cameras) -> Config {
    let data_dir = base.join(file.data_dir);
    let models_dir = file.detection.models_dir.map_or_else(|| data_dir.join("models"), |dir| base.join(dir));
    let rooted = |path: Option<PathBuf>| path.map(|path| base.join(path));
    Config {
        cloud: file.cloud.url.map(|url| Cloud {
            url: url.into(),
            ca_file: rooted(file.cloud.ca_file),
            backup_after: Duration::from_secs(file.cloud.backup_after_s.into()),
            ack_timeout: Duration::from_secs(file.cloud.ack_timeout_s.get().into()),
        }),
        edge_id: file.edge.id,
        edge_secret: file.edge.secret,
        detection: Detection {
            engine: file.detection.engine,
            deepstream: DeepStream {
                dir: base.join(file.detection.deepstream_dir),
                precision: file.detection.precision,
                int8_calibration: rooted(file.detection.int8_calibration),
                batch: file.detection.batch.0,
                interval: file.detection.interval.0,
            },
            model: file.detection.model.locate(base, &models_dir),
            description: rooted(file.detection.description),
            library: rooted(file.detection.library),
            threads: file.detection.threads,
            motion_gate: file.detection.motion_gate,
            confidence: file.detection.confidence,
            fps: file.detection.fps,
            classes: file.detection.classes,
            stationary: RestSettings {
                after: Duration::from_secs(file.detection.stationary_after_s.0.into()),
                remember: Duration::from_secs(u64::from(file.detection.stationary_remember_min) * 60),
                report_every: Duration::from_secs(u64::from(file.detection.stationary_report_min.get()) * 60),
            },
            record_tracks: file
                .detection
                .record_tracks
                .then(|| file.detection.record_tracks_mib.0.saturating_mul(1024 * 1024)),
        },
        recording: recording(file.recording, base, &data_dir),
        outbox: Outbox {
            max_bytes: file.outbox.max_mib.get().saturating_mul(1024 * 1024),
            group_time: Duration::from_millis(file.outbox.group_ms.get().into()),
        },
        clips: Clips {
            events: file.clips.events,
            lengths: ClipSettings {
                pre_roll: Duration::from_secs(file.clips.pre_roll_s.0.into()),
                post_roll: Duration::from_secs(file.clips.post_roll_s.0.into()),
                ..ClipSettings::default()
            },
        },
        snapshots: Snapshots {
            events: file.snapshots.events,
            tracks: file.snapshots.tracks,
            boxes: file.snapshots.boxes,
        },
        uploads: file.uploads.into(),
        reporting: Reporting {
            heartbeat: Duration::from_secs(file.reporting.heartbeat_s.get().into()),
            health: Duration::from_secs(file.reporting.health_s.get().into()),
        },
        time_zone: file.site.time_zone.0,
        why: Why {
            keep: Duration::from_secs(3600 * u64::from(file.why.keep_hours)),
            max_bytes: u64::from(file.why.max_mib.get()) * 1024 * 1024,
        },
        data_dir,
        cameras,
        cameras_file,
    }
}

fn recording(section: RecordingSection, base: &Path, data_dir: &Path) -> Recording {
    let motion_days = section.motion_days.unwrap_or(section.continuous_days);
    Recording {
        dir: section.dir.map_or_else(|| data_dir.join("recordings"), |dir| base.join(dir)),
        slow_dir: section.slow_dir.map(|dir| base.join(dir)),
        segment: Duration::from_secs(section.segment_s.0.into()),
        sync: Duration::from_secs(section.sync_s.0.into()),
        min_free_bytes: bytes(section.min_free_gib),
        policy: desired::Recording {
            enabled: Some(section.enabled),
            audio: Some(section.audio),
            continuous_days: Some(section.continuous_days),
            motion_days: Some(motion_days),
            object_days: Some(section.object_days.unwrap_or(motion_days)),
            event_days: Some(section.event_days),
            max_gib: section.max_gib,
        },
    }
}

/// Whole bytes of a number of GiB.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be above 0 and at most a million"
)]
pub fn bytes(gib: desired::Gib) -> u64 {
    (gib.get() * f64::from(1 << 30)) as u64
}

fn read_optional(path: &Path, must_exist: bool) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
