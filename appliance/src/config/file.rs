//! The TOML file: every key with its default.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use aivms_contract::desired::{Confidence, Days, Fps, Gib};
use aivms_contract::id::EdgeId;
use aivms_contract::zone_event::ZoneEventType;
use serde::Deserialize;

use super::uploads::UploadsSection;
use super::value::{
    Batch, CloudUrl, GroupMs, Interval, ModelName, RecordMib, RollSeconds, SegmentSeconds, SiteTimeZone,
    StationarySeconds, SyncSeconds,
};
use super::{ConfigError, Secret};
use crate::pipeline::choice::EngineKind;
use crate::pipeline::deepstream::{self, Precision};

/// The whole file. Relative paths are relative to the file's own folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// Identity, outbox and state; default `/var/lib/aivms`.
    pub(super) data_dir: PathBuf,
    /// The cameras file; default `cameras.json` beside this file, which then need not exist.
    pub(super) cameras: Option<PathBuf>,
    pub(super) cloud: CloudSection,
    pub(super) edge: EdgeSection,
    pub(super) site: SiteSection,
    pub(super) detection: DetectionSection,
    pub(super) recording: RecordingSection,
    pub(super) clips: ClipsSection,
    pub(super) snapshots: SnapshotsSection,
    pub(super) outbox: OutboxSection,
    pub(super) uploads: UploadsSection,
    pub(super) reporting: ReportingSection,
    pub(super) why: WhySection,
}

/// `[cloud]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CloudSection {
    /// Allows `http://` to other machines, which shows the edge secret to the network; default false.
    pub(super) allow_plain_http: bool,
    /// Base address of the cloud's API; CLOUD_URL wins. Without it the edge works alone.
    pub(super) url: Option<CloudUrl>,
    /// Certificates that sign the cloud's HTTPS server, in PEM; default the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// Seconds without MQTT after which events go over HTTPS; default 30.
    pub(super) backup_after_s: u32,
    /// Seconds without an acknowledgement after which entries in flight are sent again; default 20.
    pub(super) ack_timeout_s: NonZeroU32,
}

/// `[edge]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EdgeSection {
    /// Edge id as registered; EDGE_ID wins.
    pub(super) id: Option<EdgeId>,
    /// One-time secret as shown at registration; EDGE_SECRET wins. Not needed once enrolled.
    pub(super) secret: Option<Secret>,
}

/// `[site]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SiteSection {
    /// Name of the time zone in which schedules are meant, as `Europe/Berlin`; default UTC. `settings.time_zone` of a
    /// document from the cloud wins.
    pub(super) time_zone: SiteTimeZone,
}

/// `[detection]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DetectionSection {
    /// `auto`, `cpu` or `deepstream`; default `auto`: DeepStream where it is installed, else the processor.
    pub(super) engine: EngineKind,
    /// Where DeepStream is installed; default `/opt/nvidia/deepstream/deepstream`.
    pub(super) deepstream_dir: PathBuf,
    /// Numbers that the network computes with on DeepStream: `fp32`, `fp16` or `int8`; default `fp16`.
    pub(super) precision: Precision,
    /// The calibration table that TensorRT needs for `int8`.
    pub(super) int8_calibration: Option<PathBuf>,
    /// Most frames inferred at once on DeepStream, 1 to 64; default 8. Models whose file fixes one frame take one.
    pub(super) batch: Batch,
    /// Batches that are tracked without inference after each that is inferred, 0 to 30; default 0. Above 0 the tracker
    /// looks at pixels to bridge them.
    pub(super) interval: Interval,
    /// Path of an ONNX file, or the name of one in `models_dir`; default `nanodet-g-416`. DETECTION_MODEL wins.
    pub(super) model: ModelName,
    /// Where named models are; default `models` in `data_dir`.
    pub(super) models_dir: Option<PathBuf>,
    /// The model's description; default the model's path with `.toml` for `.onnx`.
    pub(super) description: Option<PathBuf>,
    /// The ONNX Runtime library `libonnxruntime.so`; default what the system's loader finds.
    pub(super) library: Option<PathBuf>,
    /// Threads of one inference; default 0, which lets the runtime choose.
    pub(super) threads: usize,
    /// Whether the model runs only for pictures in which something changes; default true. For the engine without
    /// special hardware.
    pub(super) motion_gate: bool,
    /// Least confidence of a detection, above 0 and at most 1; default 0.5. DETECTION_CONFIDENCE wins.
    pub(super) confidence: Confidence,
    /// Frames analysed per second and camera, above 0 and at most 60; default 5. DETECTION_FPS wins.
    pub(super) fps: Fps,
    /// Classes looked for on cameras that name none; default people and road vehicles.
    pub(super) classes: Vec<String>,
    /// Seconds without moving after which an object is at rest, 1 to 3600; default 10.
    pub(super) stationary_after_s: StationarySeconds,
    /// Minutes for which an object at rest is remembered without being seen; default 30.
    pub(super) stationary_remember_min: u16,
    /// Minutes after which an object at rest is reported again; default 15.
    pub(super) stationary_report_min: NonZeroU16,
    /// Records what cameras see under `tracks` in `data_dir`, for `aivms-appliance replay`; default false.
    pub(super) record_tracks: bool,
    /// Most MiB of these recordings, at least 16; default 1024, some days of a few cameras.
    pub(super) record_tracks_mib: RecordMib,
}

/// `[recording]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RecordingSection {
    /// Whether cameras are recorded that do not say otherwise; default true.
    pub(super) enabled: bool,
    /// Whether sound is recorded with them; default false, since speech is private.
    pub(super) audio: bool,
    /// Where footage is recorded to; default `recordings` in `data_dir`.
    pub(super) dir: Option<PathBuf>,
    /// A folder on a second, slower disk for older footage; default none.
    pub(super) slow_dir: Option<PathBuf>,
    /// Seconds after which a file ends with the next key picture, 10 to 600; default 60.
    pub(super) segment_s: SegmentSeconds,
    /// Most seconds of video that a power cut costs, 1 to 60; default 1.
    pub(super) sync_s: SyncSeconds,
    /// Days everything is kept; default 7. RECORDING_RETENTION_DAYS wins.
    #[serde(alias = "retention_days")]
    pub(super) continuous_days: Days,
    /// Days is kept what shows motion; default as `continuous_days`.
    pub(super) motion_days: Option<Days>,
    /// Days is kept what shows a followed object; default as `motion_days`.
    pub(super) object_days: Option<Days>,
    /// Days is kept what belongs to a zone event; default 30.
    pub(super) event_days: Days,
    /// Most GiB of one camera's footage; default no limit.
    pub(super) max_gib: Option<Gib>,
    /// GiB that stay free on each disk; default 5.
    pub(super) min_free_gib: Gib,
}

/// `[clips]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClipsSection {
    /// Zone events of which a clip is cut; default enter, cross and dwell. Empty for none.
    pub(super) events: Vec<ZoneEventType>,
    /// Seconds shown before the event, at most 60; default 5.
    pub(super) pre_roll_s: RollSeconds,
    /// Seconds shown after it, at most 60; default 10.
    pub(super) post_roll_s: RollSeconds,
}

/// `[snapshots]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SnapshotsSection {
    /// Whether the best picture of each object with a zone event is taken; default true.
    pub(super) events: bool,
    /// Whether that of each followed object is; default false.
    pub(super) tracks: bool,
    /// Whether the object's box is drawn into it; default false.
    pub(super) boxes: bool,
}

/// `[outbox]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OutboxSection {
    /// Most MiB of events kept for a cloud that does not answer; default 1024, some two million events.
    pub(super) max_mib: NonZeroU64,
    /// Longest milliseconds an event waits for others before it is written to disk, at most 1000; default 30.
    pub(super) group_ms: GroupMs,
}

/// `[reporting]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReportingSection {
    /// Seconds between heartbeats; default 30. The cloud calls an edge offline after EDGE_TIMEOUT_SECONDS.
    pub(super) heartbeat_s: NonZeroU32,
    /// Seconds between health reports when nothing changes; default 60.
    pub(super) health_s: NonZeroU32,
}

/// `[why]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WhySection {
    /// Hours for which the reasons of events, made or not, are kept for `aivms-appliance why`; default 24, 0 for none.
    pub(super) keep_hours: u16,
    /// Most MiB they take; default 64.
    pub(super) max_mib: NonZeroU32,
}

impl Default for File {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/aivms"),
            cameras: None,
            cloud: CloudSection::default(),
            edge: EdgeSection::default(),
            site: SiteSection::default(),
            detection: DetectionSection::default(),
            recording: RecordingSection::default(),
            clips: ClipsSection::default(),
            snapshots: SnapshotsSection::default(),
            outbox: OutboxSection::default(),
            uploads: UploadsSection::default(),
            reporting: ReportingSection::default(),
            why: WhySection::default(),
        }
    }
}

impl Default for CloudSection {
    fn default() -> Self {
        Self {
            allow_plain_http: false,
            url: None,
            ca_file: None,
            backup_after_s: 30,
            ack_timeout_s: const { NonZeroU32::new(20).expect("not zero") },
        }
    }
}

impl Default for DetectionSection {
    fn default() -> Self {
        Self {
            engine: EngineKind::default(),
            deepstream_dir: PathBuf::from(deepstream::DEFAULT_DIR),
            precision: Precision::default(),
            int8_calibration: None,
            batch: Batch(8),
            interval: Interval(0),
            model: ModelName("nanodet-g-416".to_owned()),
            models_dir: None,
            description: None,
            library: None,
            threads: 0,
            motion_gate: true,
            confidence: Confidence::default(),
            fps: Fps::default(),
            classes: ["person", "bicycle", "car", "motorcycle", "bus", "truck"].map(str::to_owned).to_vec(),
            stationary_after_s: StationarySeconds(10),
            stationary_remember_min: 30,
            stationary_report_min: const { NonZeroU16::new(15).expect("not zero") },
            record_tracks: false,
            record_tracks_mib: RecordMib(1024),
        }
    }
}

impl Default for RecordingSection {
    fn default() -> Self {
        Self {
            enabled: true,
            audio: false,
            dir: None,
            slow_dir: None,
            segment_s: SegmentSeconds(60),
            sync_s: SyncSeconds(1),
            continuous_days: Days::default(),
            motion_days: None,
            object_days: None,
            event_days: Days::try_from(30.0).unwrap_or_default(),
            max_gib: None,
            min_free_gib: Gib::try_from(5.0).unwrap_or_default(),
        }
    }
}

impl Default for ClipsSection {
    fn default() -> Self {
        let events = vec![ZoneEventType::Enter, ZoneEventType::Cross, ZoneEventType::Dwell];
        Self { events, pre_roll_s: RollSeconds(5), post_roll_s: RollSeconds(10) }
    }
}

impl Default for SnapshotsSection {
    fn default() -> Self {
        Self { events: true, tracks: false, boxes: false }
    }
}

impl Default for OutboxSection {
    fn default() -> Self {
        Self { max_mib: const { NonZeroU64::new(1024).expect("not zero") }, group_ms: GroupMs(30) }
    }
}

impl Default for ReportingSection {
    fn default() -> Self {
        Self {
            heartbeat_s: const { NonZeroU32::new(30).expect("not zero") },
            health_s: const { NonZeroU32::new(60).expect("not zero") },
        }
    }
}

impl Default for WhySection {
    fn default() -> Self {
        Self { keep_hours: 24, max_mib: const { NonZeroU32::new(64).expect("not zero") } }
    }
}

/// Reads the file and checks what depends on two keys.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    let toml = toml::Deserializer::parse(text).map_err(|error| ConfigError::toml_syntax(path, text, &error))?;
    let file: File = serde_path_to_error::deserialize(toml).map_err(|error| ConfigError::toml_field(path, &error))?;
    if let Some(url) = &file.cloud.url {
        CloudUrl::check(url.0.as_str(), file.cloud.allow_plain_http).map_err(|problem| ConfigError::Field {
            path: path.to_owned(),
            key: "cloud.url".to_owned(),
            problem,
        })?;
    }
    if file.detection.precision == Precision::Int8 && file.detection.int8_calibration.is_none() {
        return Err(ConfigError::Field {
            path: path.to_owned(),
            key: "detection.precision".to_owned(),
            problem: "int8 needs a calibration table made for the model; name it as detection.int8_calibration, or \
                      use fp16"
                .to_owned(),
        });
    }
    Ok(file)
}
