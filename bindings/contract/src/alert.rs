//! Alerts an edge raises by itself, such as a camera that went dark.

use serde::{Deserialize, Serialize};

use crate::id::{CameraId, ClipId, EventId};
use crate::time::UtcMillis;

/// Something a person should look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The camera concerned.
    pub camera_id: CameraId,
    /// When it happened.
    pub timestamp: UtcMillis,
    /// What kind of alert, such as `camera_offline`.
    pub alert_type: String,
    /// How urgent.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// The clip that shows it, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_id: Option<ClipId>,
    /// The event that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}
