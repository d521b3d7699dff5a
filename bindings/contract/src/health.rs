//! State of an edge, stored by the cloud.

use serde::{Deserialize, Serialize};

use crate::id::CameraId;
use crate::media::Sha256Hex;
use crate::temperature::Temperatures;
use crate::time::UtcMillis;

/// What an edge knows of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// When it was measured.
    pub timestamp: UtcMillis,
    /// Version of the appliance program.
    pub version: String,
    /// Seconds since the program started.
    pub uptime_s: u64,
    /// Bytes on the data disk.
    pub disk_total_bytes: u64,
    /// Bytes left on the data disk.
    pub disk_free_bytes: u64,
    /// Each configured camera.
    pub cameras: Vec<CameraHealth>,
    /// The disks that hold footage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub footage_disks: Vec<DiskHealth>,
    /// Where each camera's signed chain ends. Whoever keeps them sees when its end is cut off later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<ChainHead>,
    /// What waits to be stored by the cloud.
    pub outbox: OutboxHealth,
    /// Clips and snapshots that wait to be stored by the cloud; absent when none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads: Option<UploadsHealth>,
    /// What the machine's own sensors measured; empty where it has none, and from edges that do not tell.
    #[serde(default, skip_serializing_if = "Temperatures::is_empty")]
    pub temperatures: Temperatures,
    /// What happened since the last report and a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
}

/// State of one camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraHealth {
    /// The camera.
    pub camera_id: CameraId,
    /// What it is doing.
    pub state: CameraState,
    /// Why it is not streaming, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Since when it has been in this state.
    pub since: UtcMillis,
    /// Frames analysed per second over the last period.
    pub detect_fps: f32,
    /// Its recording; absent when it is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingHealth>,
}

/// State of one camera's recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingHealth {
    /// Whether video reaches the disk.
    pub state: RecordingState,
    /// Why it does not, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Bytes of its footage on all disks.
    pub bytes: u64,
    /// Beginning of its oldest footage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<UtcMillis>,
    /// Days its oldest footage will be old once retention has settled at today's rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_days: Option<f32>,
    /// Part of the day so far that was recorded, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuity_percent: Option<f32>,
}

/// Whether video reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// It does.
    Recording,
    /// None comes from the camera.
    Waiting,
    /// The disk takes none.
    Failing,
}

/// The last record of the chain over a camera's footage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// The camera.
    pub camera_id: CameraId,
    /// The record's number, from 0.
    pub seq: u64,
    /// SHA-256 of its line.
    pub sha256: Sha256Hex,
}

/// Room on a disk that holds footage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskHealth {
    /// Which one: `fast` or `slow`.
    pub tier: String,
    /// All bytes of it.
    pub total_bytes: u64,
    /// Bytes left.
    pub free_bytes: u64,
    /// Bytes of footage on it.
    pub footage_bytes: u64,
}

/// What a camera's supervised task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraState {
    /// Trying to connect.
    Connecting,
    /// Frames arrive.
    Streaming,
    /// Waiting to try again after a failure.
    Retrying,
    /// Switched off in its configuration.
    Disabled,
}

/// Fill of the outbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OutboxHealth {
    /// Entries not yet acknowledged.
    pub entries: u64,
    /// Bytes of spool files.
    pub bytes: u64,
    /// Entries dropped by the shedding rule since the outbox was made.
    pub shed: u64,
}

/// Clips and snapshots on their way to the cloud.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UploadsHealth {
    /// Files that wait, also the one being sent.
    pub files: u64,
    /// Bytes of them that the cloud does not have.
    pub bytes: u64,
    /// Seconds until all are there at the present pace; absent while nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u64>,
    /// Why nothing moves, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Something that happened on the edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable name, such as `events_lost` or `state_recovered`.
    pub code: String,
    /// One line for a person.
    pub message: String,
    /// The camera concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_id: Option<CameraId>,
}
