//! A health report as the API shows it.

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::health::{
    CameraHealth, CameraState, DiskHealth, Health, Notice, OutboxHealth, RecordingHealth, RecordingState, UploadsHealth,
};
use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::temperature::Temperature;
use aivms_contract::time::UtcMillis;
use poem_openapi::{Enum, Object};

use super::super::values::{Text, Time, shortest, time};

/// What an edge knows of itself.
#[derive(Debug, Object)]
#[oai(rename = "Health")]
pub(super) struct HealthAnswer {
    /// The edge.
    edge_id: Text<EdgeId>,
    /// When it was measured.
    timestamp: Text<Time>,
    /// When the cloud took it.
    received_at: Text<Time>,
    /// Version of the appliance program.
    version: String,
    /// Seconds since the program started.
    uptime_s: u64,
    /// Bytes on the data disk.
    disk_total_bytes: u64,
    /// Bytes left on the data disk.
    disk_free_bytes: u64,
    /// Days the oldest footage will be old once retention has settled, of the camera for which that is least; null
    /// where nothing is recorded, or too little to tell.
    #[oai(nullable)]
    forecast_days: Option<f64>,
    /// Each configured camera.
    cameras: Vec<CameraAnswer>,
    /// The disks that hold footage.
    footage_disks: Vec<DiskAnswer>,
    /// What waits to be stored by the cloud.
    outbox: OutboxAnswer,
    /// Clips and snapshots that wait to be stored by the cloud; null when none do.
    #[oai(nullable)]
    uploads: Option<UploadsAnswer>,
    /// What the machine's own sensors measured; empty where it has none, and from older edges, which do not tell.
    temperatures: Vec<TemperatureAnswer>,
    /// What happened since the report before and a person should know.
    notices: Vec<NoticeAnswer>,
}

/// State of a camera.
#[derive(Debug, Object)]
#[oai(rename = "CameraHealth")]
struct CameraAnswer {
    /// The camera.
    camera_id: Text<CameraId>,
    /// What it is doing.
    state: CameraStateName,
    /// Why it is not streaming.
    #[oai(nullable)]
    cause: Option<String>,
    /// Since when it has been in this state.
    since: Text<Time>,
    /// Frames analysed per second.
    detect_fps: f64,
    /// Its recording; null when it is not recorded.
    #[oai(nullable)]
    recording: Option<RecordingAnswer>,
}

/// State of a camera's recording.
#[derive(Debug, Object)]
#[oai(rename = "RecordingHealth")]
struct RecordingAnswer {
    /// Whether video reaches the disk.
    state: RecordingStateName,
    /// Why it does not.
    #[oai(nullable)]
    cause: Option<String>,
    /// Bytes of its footage on all disks.
    bytes: u64,
    /// Beginning of its oldest footage.
    #[oai(nullable)]
    oldest: Option<Text<Time>>,
    /// Days its oldest footage will be old once retention has settled at today's rate.
    #[oai(nullable)]
    forecast_days: Option<f64>,
    /// Part of the day so far that was recorded, 0 to 100; the rest is gaps.
    #[oai(nullable)]
    continuity_percent: Option<f64>,
}

/// Room on a disk that holds footage.
#[derive(Debug, Object)]
#[oai(rename = "DiskHealth")]
struct DiskAnswer {
    /// Which one: `fast` or `slow`.
    tier: String,
    /// All bytes of it.
    total_bytes: u64,
    /// Bytes left.
    free_bytes: u64,
    /// Bytes of footage on it.
    footage_bytes: u64,
}

/// Fill of the outbox.
#[derive(Debug, Object)]
#[oai(rename = "OutboxHealth")]
struct OutboxAnswer {
    /// Entries not yet stored by the cloud.
    entries: u64,
    /// Bytes of them.
    bytes: u64,
    /// Entries dropped because it was full.
    shed: u64,
}

/// Clips and snapshots on their way to the cloud.
#[derive(Debug, Object)]
#[oai(rename = "UploadsHealth")]
struct UploadsAnswer {
    /// Files that wait.
    files: u64,
    /// Bytes of them that the cloud does not have.
    bytes: u64,
    /// Seconds until all are there at the present pace; null while nothing moves.
    #[oai(nullable)]
    eta_s: Option<u64>,
    /// Why nothing moves.
    #[oai(nullable)]
    cause: Option<String>,
}

/// What one sensor measured.
#[derive(Debug, Object)]
#[oai(rename = "Temperature")]
struct TemperatureAnswer {
    /// The sensor, as the edge's system calls it; alert rules choose it by this name.
    name: String,
    /// Degrees Celsius.
    celsius: f64,
}

/// Something that happened on the edge.
#[derive(Debug, Object)]
#[oai(rename = "Notice")]
struct NoticeAnswer {
    /// Stable name, such as `events_lost`.
    code: String,
    /// One line for a person.
    message: String,
    /// The camera concerned.
    #[oai(nullable)]
    camera_id: Option<Text<CameraId>>,
}

/// What a camera is doing.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename = "CameraState", rename_all = "lowercase")]
enum CameraStateName {
    /// The edge tries to connect.
    Connecting,
    /// Frames arrive.
    Streaming,
    /// The edge waits to try again after a failure.
    Retrying,
    /// Switched off in its configuration.
    Disabled,
}

/// Whether video reaches the disk.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename = "RecordingState", rename_all = "lowercase")]
enum RecordingStateName {
    /// It does.
    Recording,
    /// None comes from the camera.
    Waiting,
    /// The disk takes none.
    Failing,
}

impl HealthAnswer {
    /// `report` with the cameras that `scope` sees.
    pub(super) fn new(edge_id: &EdgeId, report: Health, received_at: UtcMillis, scope: &CameraScope) -> Self {
        let cameras = report.cameras.into_iter().filter(|camera| scope.sees(edge_id, &camera.camera_id));
        let cameras: Vec<CameraAnswer> = cameras.map(CameraAnswer::from).collect();
        let forecasts = cameras.iter().filter_map(|camera| camera.recording.as_ref()?.forecast_days);
        let notices = report.notices.into_iter().filter(|notice| scope.sees_maybe(edge_id, notice.camera_id.as_ref()));
        Self {
            edge_id: Text(edge_id.clone()),
            timestamp: time(report.timestamp),
            received_at: time(received_at),
            version: report.version,
            uptime_s: report.uptime_s,
            disk_total_bytes: report.disk_total_bytes,
            disk_free_bytes: report.disk_free_bytes,
            forecast_days: forecasts.min_by(f64::total_cmp),
            cameras,
            footage_disks: report.footage_disks.into_iter().map(DiskAnswer::from).collect(),
            outbox: report.outbox.into(),
            uploads: report.uploads.map(Into::into),
            temperatures: Vec::from(report.temperatures).into_iter().map(TemperatureAnswer::from).collect(),
            notices: notices.map(NoticeAnswer::from).collect(),
        }
    }
}

impl From<CameraHealth> for CameraAnswer {
    fn from(camera: CameraHealth) -> Self {
        let state = match camera.state {
            CameraState::Connecting => CameraStateName::Connecting,
            CameraState::Streaming => CameraStateName::Streaming,
            CameraState::Retrying => CameraStateName::Retrying,
            CameraState::Disabled => CameraStateName::Disabled,
        };
        Self {
            camera_id: Text(camera.camera_id),
            state,
            cause: camera.cause,
            since: time(camera.since),
            detect_fps: shortest(camera.detect_fps),
            recording: camera.recording.map(Into::into),
        }
    }
}

impl From<RecordingHealth> for RecordingAnswer {
    fn from(recording: RecordingHealth) -> Self {
        let state = match recording.state {
            RecordingState::Recording => RecordingStateName::Recording,
            RecordingState::Waiting => RecordingStateName::Waiting,
            RecordingState::Failing => RecordingStateName::Failing,
        };
        Self {
            state,
            cause: recording.cause,
            bytes: recording.bytes,
            oldest: recording.oldest.map(time),
            forecast_days: recording.forecast_days.map(shortest),
            continuity_percent: recording.continuity_percent.map(shortest),
        }
    }
}

impl From<DiskHealth> for DiskAnswer {
    fn from(DiskHealth { tier, total_bytes, free_bytes, footage_bytes }: DiskHealth) -> Self {
        Self { tier, total_bytes, free_bytes, footage_bytes }
    }
}

impl From<OutboxHealth> for OutboxAnswer {
    fn from(OutboxHealth { entries, bytes, shed }: OutboxHealth) -> Self {
        Self { entries, bytes, shed }
    }
}

impl From<UploadsHealth> for UploadsAnswer {
    fn from(UploadsHealth { files, bytes, eta_s, cause }: UploadsHealth) -> Self {
        Self { files, bytes, eta_s, cause }
    }
}

impl From<Temperature> for TemperatureAnswer {
    fn from(Temperature { name, celsius }: Temperature) -> Self {
        Self { name: name.into(), celsius: celsius.get() }
    }
}

impl From<Notice> for NoticeAnswer {
    fn from(Notice { code, message, camera_id }: Notice) -> Self {
        Self { code, message, camera_id: camera_id.map(Text) }
    }
}
