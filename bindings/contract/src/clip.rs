//! Clips: the span of video kept for an event or asked for by a command.

use serde::{Deserialize, Serialize};

use crate::footage::GapCause;
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
    /// What is missing and why, in order; together as long as `missing_ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// From the clip's first frame to the event it was cut for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_offset_ms: Option<u64>,
    /// The codecs in the form of RFC 6381, such as `avc1.64001f,mp4a.40.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codecs: Option<String>,
    /// SHA-256 of the file in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether a privacy mask is burned into it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// A span asked for of which no footage exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its beginning.
    pub start: UtcMillis,
    /// Its end.
    pub end: UtcMillis,
    /// Why there is none.
    pub cause: GapCause,
}
