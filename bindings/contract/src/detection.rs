//! Detections as the cloud sees them: per track, not per frame.

use serde::{Deserialize, Serialize};

use crate::geometry::{FrameSize, PixelBox};
use crate::id::{CameraId, TrackId};
use crate::time::UtcMillis;

/// One report about a track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The camera that saw it.
    pub camera_id: CameraId,
    /// Media time of the frame, in UTC.
    pub timestamp: UtcMillis,
    /// Label of the model, such as `person`.
    pub object_class: String,
    /// The detector's confidence, 0 to 1, in that frame.
    pub confidence: f32,
    /// Where it is, in pixels of `frame`.
    pub bbox: PixelBox,
    /// Size of the frame `bbox` refers to.
    pub frame: FrameSize,
    /// The track it belongs to.
    pub track_id: TrackId,
    /// Why this report was made.
    pub phase: TrackPhase,
    /// Time since the track was first seen.
    pub age_ms: u64,
    /// Whether it is at rest, as a parked car is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stationary: bool,
}

/// Why a track is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackPhase {
    /// It has been seen often enough to be real.
    Start,
    /// It moved materially, or the reporting interval passed.
    Update,
    /// It was lost; the report describes where it was last seen.
    End,
}
