//! Why an event was made, or why none was.

use serde::{Deserialize, Serialize};

use crate::id::{CameraId, TrackId, ZoneId};
use crate::time::UtcMillis;
use crate::zone_event::{ZoneEvent, ZoneEventType};

/// One question that a decision depended on, with its answer. They stand in the order in which they were asked; the
/// last one of a decision against an event is the one that stopped it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was asked.
    pub gate: Gate,
    /// Whether it let the event through.
    pub passed: bool,
    /// What was found, in the unit of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The bound it was held to, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// What can let an event through or stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Whether the class is asked for.
    Class,
    /// The detector's confidence, 0 to 1.
    Confidence,
    /// Area of the box as a part of the frame's, against the least.
    MinArea,
    /// Area of the box as a part of the frame's, against the largest.
    MaxArea,
    /// Width divided by height, against the least.
    MinAspect,
    /// Width divided by height, against the largest.
    MaxAspect,
    /// Whether the object stands in a mask.
    Mask,
    /// The part of the box inside.
    Overlap,
    /// Whether the site's clock is in the schedule.
    Schedule,
    /// How long the change of side lasted, in milliseconds.
    Debounce,
    /// Whether the way over the line is asked for.
    Direction,
    /// How long the object was inside, in milliseconds.
    Dwell,
    /// Speed in kilometres per hour.
    Speed,
    /// Number of objects inside.
    Occupancy,
    /// Whether the object is at rest and has been told of already.
    Stationary,
}

/// A decision about an event, made or not; what the edge keeps for the last hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Media time of the decision, in UTC.
    pub at: UtcMillis,
    /// The camera.
    pub camera_id: CameraId,
    /// The zone or line; absent when the object was stopped before any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<ZoneId>,
    /// The track.
    pub track_id: TrackId,
    /// Label of the model, such as `person`.
    pub object_class: String,
    /// The event that was in question.
    pub event_type: ZoneEventType,
    /// Whether it was made.
    pub made: bool,
    /// The questions asked.
    pub why: Vec<Check>,
}

impl From<&ZoneEvent> for Decision {
    /// The decision that made the event.
    fn from(event: &ZoneEvent) -> Self {
        Self {
            at: event.timestamp,
            camera_id: event.camera_id.clone(),
            zone_id: Some(event.zone_id.clone()),
            track_id: event.track_id.clone(),
            object_class: event.object_class.clone(),
            event_type: event.event_type,
            made: true,
            why: event.why.clone(),
        }
    }
}
