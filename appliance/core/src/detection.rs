//! What a detector and a tracker say about one frame; the same for every engine.

use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;
use serde::{Deserialize, Serialize};

/// Index into a model's label list.
pub type ClassId = u16;

/// One box of one frame, in pixels of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detected {
    /// What it is.
    pub class: ClassId,
    /// How sure the detector is, 0 to 1.
    pub confidence: f32,
    /// Where it is.
    pub bbox: PixelBox,
}

/// One object of one frame that a tracker has given an identity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracked {
    /// The tracker's number, unique on the camera's media timeline.
    pub track: u64,
    /// What it is.
    pub class: ClassId,
    /// How sure the detector is, 0 to 1.
    pub confidence: f32,
    /// Where it is, in pixels of the frame.
    pub bbox: PixelBox,
}

/// What was seen in one frame: the value every engine hands to the rest of the edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameDetections {
    /// Media time of the frame.
    pub pts: MediaTime,
    /// Size that the boxes refer to.
    pub frame: FrameSize,
    /// The objects, in no particular order.
    pub objects: Vec<Tracked>,
}
