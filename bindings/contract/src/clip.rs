//! Clips: the span of video kept for an event or asked for by a command.

use serde::{Deserialize, Serialize};

use crate::id::{CameraId, ClipId, CommandId, EventId};
use crate::time::UtcMillis;

/// A clip is ready on the edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// The clip.
    pub clip_id: ClipId,
    /// The camera that filmed it.
    pub camera_id: CameraId,
    /// Wall time of its first frame.
    pub start: UtcMillis,
    /// Length of what it holds.
    pub duration_ms: u64,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The event it was cut for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// The command that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// Time asked for that no footage exists of; 0 for a complete clip.
    #[serde(default)]
    pub missing_ms: u64,
}
