//! What a track did in a zone.

use serde::{Deserialize, Serialize};

use crate::geometry::{FrameSize, PixelBox};
use crate::id::{CameraId, TrackId, ZoneId};
use crate::time::UtcMillis;
use crate::why::Check;

/// A track entered, left, crossed or dwelt in a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneEvent {
    /// The camera whose zone it is.
    pub camera_id: CameraId,
    /// The zone.
    pub zone_id: ZoneId,
    /// Media time of the event in UTC, interpolated between frames.
    pub timestamp: UtcMillis,
    /// What happened.
    pub event_type: ZoneEventType,
    /// Label of the model, such as `person`.
    pub object_class: String,
    /// The detector's confidence, 0 to 1, in the frame that showed it.
    pub confidence: f32,
    /// The track that did it.
    pub track_id: TrackId,
    /// Where it was in the frame that showed it, in pixels of `frame`.
    pub bbox: PixelBox,
    /// Size of the frame `bbox` refers to.
    pub frame: FrameSize,
    /// Time inside the zone: the whole stay for `exit`, the threshold passed for `dwell`, absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<u64>,
    /// For `exit`: whether the object was seen to leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<ExitReason>,
    /// For `cross`: the way it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// For `enter`, `exit`, `occupied` and `cleared`: objects in the zone after it. For `cross`: crossings of the line
    /// in this direction since the edge began to judge it, this one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Speed over the ground in kilometres per hour, for a zone that knows where the ground is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_kmh: Option<f32>,
    /// What let the event through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Check>,
}

/// What happened between a track and a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneEventType {
    /// The object came in.
    Enter,
    /// The object went out, or its track ended inside.
    Exit,
    /// The object has been inside for the zone's dwell time.
    Dwell,
    /// The object crossed a line.
    Cross,
    /// As many objects as the zone's occupancy asks for are inside; told of the one that made it so.
    Occupied,
    /// Fewer objects than the zone's occupancy asks for are inside again; told of the one that made it so.
    Cleared,
}

impl ZoneEventType {
    /// The name used in JSON and in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Exit => "exit",
            Self::Dwell => "dwell",
            Self::Cross => "cross",
            Self::Occupied => "occupied",
            Self::Cleared => "cleared",
        }
    }
}

/// How a stay in a zone ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It was seen outside.
    Left,
    /// Its track ended inside; the time is that of the last sight.
    TrackLost,
    /// The zone was removed or redrawn during the stay; the time is that of the last sight.
    ZoneChanged,
    /// The zone's schedule ended during the stay.
    ScheduleEnded,
}

/// The way a line was crossed, seen from its first to its second point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the left side to the right side.
    LeftToRight,
    /// From the right side to the left side.
    RightToLeft,
}
