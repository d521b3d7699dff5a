//! What is asked of a hub, and what comes of it.

use std::sync::Arc;

use aivms_contract::id::CameraId;
use aivms_contract::relay::{FromEdge, ToEdge, View};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

/// What a viewer wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The camera.
    pub camera: CameraId,
    /// Live or playback.
    pub view: View,
    /// Whether the viewer plays H.265.
    pub h265: bool,
}

/// A question to the edge that has one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Which cameras there are.
    Cameras,
    /// What is recorded of a camera in a time.
    Timeline(CameraId, UtcMillis, UtcMillis),
    /// Small pictures of an hour.
    Sprite(CameraId, UtcMillis),
    /// What was detected in a time.
    Boxes(CameraId, UtcMillis, UtcMillis),
}

/// What a viewer gets.
#[derive(Debug, Clone, PartialEq)]
pub enum ForViewer {
    /// A text frame. [`FromEdge::Ended`] is the last.
    Text(FromEdge),
    /// A binary frame as the edge sent it.
    Frame(Arc<[u8]>),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A text frame.
    Text(FromEdge),
    /// A binary frame, head and all.
    Frame(Arc<[u8]>),
    /// The edge could not be reached, or went away before it answered.
    EdgeAway,
}

/// Says that there is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many look at this edge; try again later")]
pub struct Full;

impl Ask {
    /// The question under its number.
    pub(super) fn message(&self, request: u32) -> ToEdge {
        match self.clone() {
            Self::Cameras => ToEdge::Cameras { request },
            Self::Timeline(camera_id, from, to) => ToEdge::Timeline { request, camera_id, from, to },
            Self::Sprite(camera_id, hour) => ToEdge::Sprite { request, camera_id, hour },
            Self::Boxes(camera_id, from, to) => ToEdge::Boxes { request, camera_id, from, to },
        }
    }
}
