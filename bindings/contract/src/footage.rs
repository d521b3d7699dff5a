//! What became of footage: spans without video, and what was deleted or locked.

use serde::{Deserialize, Serialize};

use crate::id::{CameraId, LockId};
use crate::time::UtcMillis;

/// Something that happened to the footage of one camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Footage {
    /// The camera.
    pub camera_id: CameraId,
    /// When the edge found it out.
    pub timestamp: UtcMillis,
    /// What happened.
    #[serde(flatten)]
    pub event: FootageEvent,
}

/// What happened to footage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub enum FootageEvent {
    /// A span without video has ended, or still lasts at the time of the report.
    Gap(Gap),
    /// How much of a day was recorded, told when the day is over.
    Continuity(Continuity),
    /// Footage was deleted by retention.
    Deleted(Deleted),
    /// Footage is kept whatever retention says.
    Locked(Locked),
    /// A lock was taken away.
    Unlocked {
        /// The lock.
        lock_id: LockId,
    },
}

/// A span without video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// End of the video before it.
    pub start: UtcMillis,
    /// Beginning of the video after it; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<UtcMillis>,
    /// Whose fault it is.
    pub cause: GapCause,
    /// The cause in words, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Whose fault a span without video is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The camera answered and sent no video, or none that can be recorded.
    Camera,
    /// The camera could not be reached.
    Network,
    /// The disk took nothing.
    Disk,
    /// The appliance or its machine was not running.
    Restart,
    /// The appliance itself was at fault.
    Internal,
    /// The camera was switched off, or recording was, on purpose.
    SwitchedOff,
    /// There was video once, and retention or a person deleted it.
    Deleted,
}

/// How much of a day was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuity {
    /// Beginning of the day in the site's time zone.
    pub start: UtcMillis,
    /// End of the day, or the time of the report when that is earlier.
    pub end: UtcMillis,
    /// Milliseconds in which there should be video: the day less what was switched off.
    pub expected_ms: u64,
    /// Milliseconds of video.
    pub recorded_ms: u64,
    /// Milliseconds without video, by whose fault they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingTime>,
}

/// Time without video of one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingTime {
    /// Whose fault.
    pub cause: GapCause,
    /// How long in all.
    pub ms: u64,
    /// In how many spans.
    pub gaps: u32,
}

/// A span of footage that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Beginning of the span.
    pub start: UtcMillis,
    /// End of the span.
    pub end: UtcMillis,
    /// Bytes that became free.
    pub bytes: u64,
    /// Why it went.
    pub reason: DeletionReason,
}

/// Why footage was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletionReason {
    /// It was older than its tier keeps.
    Age,
    /// The camera had used up its bytes.
    CameraBytes,
    /// The disk had too little room left.
    FreeSpace,
}

/// Footage that is kept whatever retention says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// The lock.
    pub lock_id: LockId,
    /// Beginning of the span.
    pub start: UtcMillis,
    /// End of the span.
    pub end: UtcMillis,
    /// Why, in the words of whoever locked it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
