//! Snapshots: single pictures of what was seen.

use serde::{Deserialize, Serialize};

use crate::geometry::{FrameSize, PixelBox};
use crate::id::{CameraId, CommandId, EventId, SnapshotId, TrackId};
use crate::time::UtcMillis;

/// A snapshot is ready on the edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// The camera that filmed it.
    pub camera_id: CameraId,
    /// Wall time of the picture.
    pub timestamp: UtcMillis,
    /// Size of the picture in pixels.
    pub frame: FrameSize,
    /// Bytes of the JPEG file.
    pub size_bytes: u64,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
    /// The object it shows best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Pictured>,
    /// The event it was taken for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// The command that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// Whether boxes are drawn into it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boxes: bool,
    /// Whether a privacy mask is burned into it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// The object that a snapshot shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pictured {
    /// Its track.
    pub track_id: TrackId,
    /// Label of the model, such as `person`.
    pub object_class: String,
    /// The detector's confidence in this picture, 0 to 1.
    pub confidence: f32,
    /// Where it is, in pixels of the snapshot.
    pub bbox: PixelBox,
}
