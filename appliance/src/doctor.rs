//! Checks cameras, disk, clock, cloud and certificate, and says what to do.
//!
//! Nothing is changed: a running appliance goes on undisturbed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aivms_contract::desired::Camera;
use aivms_contract::time::UtcMillis;
use futures_util::future::join_all;

use crate::clock;
use crate::cloud::Cloud;
use crate::config::{self, Config, Environment};
use crate::health::disk_space;
use crate::identity::{Identity, in_words};
use crate::masks::find_encoder;
use crate::pipeline::choice::{EngineKind, EngineSettings};
use crate::pipeline::deepstream::{self, DeepStreamError, DeepStreamSettings};
use crate::pipeline::{self, Detector, DetectorSettings};
use crate::retention::words;
use crate::status::{StatusFile, in_bytes};
use crate::uplink::LinkState;

/// Free space below which events are at risk within hours.
const LOW_SPACE_BYTES: u64 = 512 * 1024 * 1024;
/// Time a camera has to show a frame.
const CAMERA_TIMEOUT: Duration = Duration::from_secs(15);

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found and, if it is not well, what to do.
    pub finding: String,
}

/// How a checked thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but someone should look at it.
    Warn,
    /// It does not work.
    Fail,
}

impl Check {
    fn new(subject: impl Into<String>, verdict: Verdict, finding: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict, finding: finding.into() }
    }

    fn of<T, E: std::fmt::Display>(
        subject: impl Into<String>,
        result: Result<T, E>,
        found: impl Fn(T) -> String,
    ) -> Self {
        match result {
            Ok(value) => Self::new(subject, Verdict::Ok, found(value)),
            Err(error) => Self::new(subject, Verdict::Fail, error.to_string()),
        }
    }
}

/// Checks everything the settings at `path` name.
pub async fn examine(path: Option<&Path>, environment: &Environment) -> Vec<Check> {
    let shown = path.unwrap_or(Path::new(config::DEFAULT_PATH)).display().to_string();
    let config = match Config::load(path, environment) {
        Ok(config) => config,
        Err(error) => return vec![Check::new("configuration", Verdict::Fail, describe(&error))],
    };
    let mut checks = vec![Check::new("configuration", Verdict::Ok, shown)];
    checks.push(check_disk(&config.data_dir));
    let status = StatusFile::read(&config.data_dir).ok().flatten();
    checks.push(check_appliance(status.as_ref(), clock::now()));
    checks.extend(check_footage(&config, status.as_ref()));
    let identity = Identity::load(&config.data_dir);
    checks.push(check_certificate(&config, identity, clock::now()));
    checks.extend(check_cloud(&config).await);
    checks.extend(check_engine(&config).await);
    checks.extend(check_masks(&config).await);
    checks.extend(join_all(config.cameras.as_slice().iter().map(check_camera)).await);
    checks
}

/// The list for a person; the verdict is that of the worst check.
#[must_use]
pub fn render(checks: &[Check]) -> (String, Verdict) {
    let width = checks.iter().map(|check| check.subject.chars().count()).max().unwrap_or(0);
    let line = |check: &Check| {
        let verdict = match check.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        format!("{verdict}  {:<width$}  {}\n", check.subject, check.finding)
    };
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    (checks.iter().map(line).collect(), worst)
}

fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn check_disk(data_dir: &Path) -> Check {
    const SUBJECT: &str = "data folder";
    let probe = data_dir.join(".doctor-probe");
    let written = std::fs::create_dir_all(data_dir)
        .and_then(|()| std::fs::write(&probe, [0; 4096]))
        .and_then(|()| std::fs::remove_file(&probe))
        .and_then(|()| disk_space(data_dir));
    let shown = data_dir.display();
    match written {
        Err(error) => {
            Check::new(SUBJECT, Verdict::Fail, format!("{shown} can't be written ({error}); check its disk and owner"))
        }
        Ok(space) if space.free_bytes < LOW_SPACE_BYTES => {
            let free = in_bytes(space.free_bytes);
            Check::new(
                SUBJECT,
                Verdict::Fail,
                format!("only {free} are free on the disk of {shown}; delete something or use a larger disk"),
            )
        }
        Ok(space) => {
            let (free, total) = (in_bytes(space.free_bytes), in_bytes(space.total_bytes));
            Check::new(SUBJECT, Verdict::Ok, format!("{shown}, {free} free of {total}"))
        }
    }
}

/// Whether video of cameras with privacy masks can leave the edge.
async fn check_masks(config: &Config) -> Option<Check> {
    config.cameras.as_slice().iter().find(|camera| !camera.privacy_masks.is_empty())?;
    let found = tokio::task::spawn_blocking(|| {
        gstreamer::init().map_err(|error| error.to_string())?;
        find_encoder().map_err(|error| error.to_string())
    });
    let found = found.await.unwrap_or_else(|error| Err(error.to_string()));
    Some(Check::of("privacy masks", found, |encoder| format!("burned in by {encoder}")))
}

fn check_appliance(status: Option<&StatusFile>, now: UtcMillis) -> Check {
    const SUBJECT: &str = "appliance";
    let Some(status) = status.filter(|status| status.is_fresh(now)) else {
        return Check::new(
            SUBJECT,
            Verdict::Warn,
            "not running; start it with `systemctl start aivms-appliance` or `aivms-appliance run`",
        );
    };
    let cause = status.link.cause.clone().unwrap_or_default();
    match status.link.state {
        LinkState::Connected => Check::new(SUBJECT, Verdict::Ok, "running, MQTT connected"),
        LinkState::Alone => Check::new(SUBJECT, Verdict::Ok, "running without a cloud"),
        LinkState::Backup => Check::new(
            SUBJECT,
            Verdict::Warn,
            format!(
                "running, events go over HTTPS because MQTT does not connect: {cause}; open the MQTT port in the \
                 firewall"
            ),
        ),
        LinkState::Connecting | LinkState::Retrying | LinkState::NotEnrolled => Check::new(
            SUBJECT,
            Verdict::Warn,
            format!("running, events are kept because the cloud is not connected: {cause}"),
        ),
    }
}

fn check_certificate(
    config: &Config,
    identity: Result<Option<Identity>, crate::identity::IdentityError>,
    now: UtcMillis,
) -> Check {
    const SUBJECT: &str = "certificate";
    let identity = match identity {
        Err(error) => return Check::new(SUBJECT, Verdict::Fail, describe(&error)),
        Ok(None) if config.cloud.is_none() => {
            return Check::new(SUBJECT, Verdict::Ok, "none, as no cloud is configured");
        }
        Ok(None) => {
            let advice = "not enrolled; register the edge in the cloud, set EDGE_ID and EDGE_SECRET, and run \
                          `aivms-appliance enroll`";
            return Check::new(SUBJECT, Verdict::Fail, advice);
        }
        Ok(Some(identity)) => identity,
    };
    let edge = &identity.enrollment().edge_id;
    let validity = identity.validity();
    if let Some(problem) = validity.problem_at(now) {
        return Check::new(SUBJECT, Verdict::Fail, problem);
    }
    let left = in_words(validity.not_after.since(now));
    if config.edge_id.as_ref().is_some_and(|configured| configured != edge) {
        return Check::new(
            SUBJECT,
            Verdict::Fail,
            format!("belongs to {edge}, which is not the configured edge; correct edge.id (EDGE_ID) or enrol again"),
        );
    }
    if now > validity.renew_at() {
        return Check::new(
            SUBJECT,
            Verdict::Warn,
            format!("{edge}, ends in {left} and should have been renewed; check the connection to the cloud"),
        );
    }
    Check::new(SUBJECT, Verdict::Ok, format!("{edge}, ends in {left}"))
}

/// Whether footage can be written, and whether the disks hold what is wanted.
fn check_footage(config: &Config, status: Option<&StatusFile>) -> Vec<Check> {
    // The first start makes the data folder.
    let is_early = |folder: &Path| folder.starts_with(&config.data_dir) && !config.data_dir.exists();
    let folders = std::iter::once(&config.recording.dir).chain(&config.recording.slow_dir);
    let folders = folders.filter(|folder| !is_early(folder));
    let mut checks: Vec<_> = folders.map(|folder| Check::of("footage", words::try_folder(folder), |it| it)).collect();
    if let Some(status) = status {
        let warnings = words::warnings(&status.health.cameras, &status.footage);
        checks.extend(warnings.into_iter().map(|warning| Check::new("footage", Verdict::Warn, warning)));
    }
    checks
}

async fn check_cloud(config: &Config) -> Vec<Check> {
    let Some(settings) = &config.cloud else {
        return vec![Check::new("cloud", Verdict::Warn, "none configured; set cloud.url (CLOUD_URL)")];
    };
    let cloud = match Cloud::new(settings) {
        Ok(cloud) => cloud,
        Err(error) => return vec![Check::new("cloud", Verdict::Fail, error.to_string())],
    };
    let reached = cloud.knock().await;
    let is_reached = reached.is_ok();
    let mut checks = vec![Check::of("cloud", reached, |_| format!("{} answers", cloud.url()))];
    if is_reached {
        checks.push(match (cloud.clock_problem(), cloud.clock_ahead_ms()) {
            (Some(problem), _) => Check::new("clock", Verdict::Fail, problem),
            (None, Some(_)) => Check::new("clock", Verdict::Ok, "agrees with the cloud's"),
            (None, None) => Check::new("clock", Verdict::Warn, "the cloud does not say what time it is"),
        });
    }
    checks
}

/// Which engine is used, and whether its model can be.
async fn check_engine(config: &Config) -> Vec<Check> {
    const SUBJECT: &str = "engine";
    let EngineSettings { kind, deepstream, .. } = engine_settings(config);
    if kind == EngineKind::Cpu {
        return vec![Check::new(SUBJECT, Verdict::Ok, "the processor, as configured"), check_detector(config).await];
    }
    let examined = tokio::task::spawn_blocking(move || examine_deepstream(&deepstream)).await;
    match examined.unwrap_or_else(|_| Err(DeepStreamError::Machine("looking for DeepStream panicked".to_owned()))) {
        Ok((found, model)) => {
            vec![Check::new(SUBJECT, Verdict::Ok, found), Check::of("detector", model, |model| model)]
        }
        Err(reason) if kind == EngineKind::Auto => {
            let finding = format!("the processor, because DeepStream can't be used: {reason}");
            vec![Check::new(SUBJECT, Verdict::Ok, finding), check_detector(config).await]
        }
        Err(reason) => vec![Check::new(SUBJECT, Verdict::Fail, reason.to_string())],
    }
}

/// What there is of DeepStream, and what the model is run as.
fn examine_deepstream(
    settings: &DeepStreamSettings,
) -> Result<(String, Result<String, DeepStreamError>), DeepStreamError> {
    let library = deepstream::open(&settings.dir)?;
    let found = format!("DeepStream in {}, metadata of layout {:?}", settings.dir.display(), library.abi());
    Ok((found, deepstream::model::examine(settings)))
}

async fn check_detector(config: &Config) -> Check {
    let settings = detector_settings(config);
    let cameras = config.cameras.clone();
    let loaded = tokio::task::spawn_blocking(move || Detector::load(&settings)).await;
    let shown = config.detection.model.display();
    match loaded {
        Err(_) => Check::new("detector", Verdict::Fail, format!("{shown} makes the program panic; use another model")),
        Ok(Err(error)) => Check::new("detector", Verdict::Fail, describe(&error)),
        Ok(Ok(detector)) => match config::check_classes(&cameras, detector.labels()) {
            Ok(()) => Check::new("detector", Verdict::Ok, format!("{shown}, {} classes", detector.labels().len())),
            Err((field, problem)) => {
                Check::new("detector", Verdict::Warn, format!("{}: {field}: {problem}", config.cameras_file.display()))
            }
        },
    }
}

/// What the engine is loaded with.
#[must_use]
pub fn engine_settings(config: &Config) -> EngineSettings {
    let (detection, deepstream) = (&config.detection, &config.detection.deepstream);
    EngineSettings {
        kind: detection.engine,
        cpu: detector_settings(config),
        deepstream: DeepStreamSettings {
            model: detection.model.clone(),
            description: detection.description.clone(),
            dir: deepstream.dir.clone(),
            work_dir: config.data_dir.join("deepstream"),
            engines_dir: config.data_dir.join("engines"),
            precision: deepstream.precision,
            calibration: deepstream.int8_calibration.clone(),
            batch: deepstream.batch,
            interval: deepstream.interval,
        },
    }
}

/// What the processor's detector is loaded with.
fn detector_settings(config: &Config) -> DetectorSettings {
    let detection = &config.detection;
    DetectorSettings {
        library: detection.library.clone(),
        model: PathBuf::clone(&detection.model),
        description: detection.description.clone(),
        threads: detection.threads,
        motion_gate: detection.motion_gate,
    }
}

async fn check_camera(camera: &Camera) -> Check {
    let subject = format!("camera {}", camera.id);
    if !camera.enabled {
        return Check::new(subject, Verdict::Ok, "switched off");
    }
    match pipeline::probe_camera(camera, CAMERA_TIMEOUT).await {
        Ok((main, None)) => Check::new(subject, Verdict::Ok, main.to_string()),
        Ok((main, Some(sub))) => Check::new(subject, Verdict::Ok, format!("recorded: {main}; analysed: {sub}")),
        Err(error) => Check::new(subject, Verdict::Fail, describe(&error)),
    }
}

#[cfg(test)]
mod tests;
