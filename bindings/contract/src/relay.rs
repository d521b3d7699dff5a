//! Live view and playback: what travels over the one WebSocket an edge opens to `GET /api/edge/relay`.
//!
//! Text frames are JSON with a `type`: [`ToEdge`] one way, [`FromEdge`] the other. Binary frames are a [`FrameHeader`]
//! and fragmented MP4, JPEG or JSON behind it. A type that is not known is ignored, so that either side may be newer;
//! one that is known and wrong is answered with [`FromEdge::Error`]. Browsers get the edge's frames as they are.

mod header;

use serde::{Deserialize, Serialize};

use crate::footage::Gap;
use crate::id::CameraId;
use crate::time::UtcMillis;

pub use header::{FrameHeader, FrameHeaderError, FrameKind, HEADER_BYTES};

/// Largest frame either side takes, in bytes: two seconds of the fastest camera and room to spare.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// Largest text frame in bytes.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// Seconds between two pictures of a sprite.
pub const SPRITE_STEP_S: u32 = 20;
/// Pictures in a row of a sprite; picture `n` of the hour is in column `n % 20` and row `n / 20`.
pub const SPRITE_COLUMNS: u32 = 20;
/// Rows of a sprite.
pub const SPRITE_ROWS: u32 = 9;
/// Width of one picture of a sprite in pixels.
pub const SPRITE_WIDTH: u32 = 160;
/// Height of one picture of a sprite in pixels.
pub const SPRITE_HEIGHT: u32 = 90;

/// What the cloud asks of an edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToEdge {
    /// Send a camera's video. Answered by [`FromEdge::Opened`] and an init frame, or by [`FromEdge::Ended`].
    Open {
        /// The number of the stream from here on; the cloud never uses one twice on a connection.
        stream: u32,
        /// The camera.
        camera_id: CameraId,
        /// What to show.
        #[serde(flatten)]
        view: View,
        /// Whether the viewers play H.265.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        h265: bool,
    },
    /// Go on playing at another time; credit begins with none again. Answered by [`FromEdge::Opened`] with this time
    /// and a new init frame.
    Seek {
        /// The stream.
        stream: u32,
        /// The time.
        from: UtcMillis,
        /// Whether only key pictures are wanted from here on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        key_frames_only: bool,
    },
    /// Send so many fragments more of a stream that plays back; it begins with none.
    Credit {
        /// The stream.
        stream: u32,
        /// How many.
        fragments: u32,
    },
    /// Send nothing more of this stream.
    Close {
        /// The stream.
        stream: u32,
    },
    /// Which cameras there are. Answered by [`FromEdge::Cameras`].
    Cameras {
        /// The number of the request.
        request: u32,
    },
    /// Which spans of a time are recorded. Answered by [`FromEdge::Timeline`].
    Timeline {
        /// The number of the request.
        request: u32,
        /// The camera.
        camera_id: CameraId,
        /// Beginning of the time.
        from: UtcMillis,
        /// End of the time.
        to: UtcMillis,
    },
    /// Small pictures of an hour, for scrubbing. Answered by a frame of [`FrameKind::Jpeg`].
    Sprite {
        /// The number of the request.
        request: u32,
        /// The camera.
        camera_id: CameraId,
        /// Any moment of the hour in UTC.
        hour: UtcMillis,
    },
    /// What was detected in a time. Answered by a frame of [`FrameKind::Boxes`].
    Boxes {
        /// The number of the request.
        request: u32,
        /// The camera.
        camera_id: CameraId,
        /// Beginning of the time.
        from: UtcMillis,
        /// End of the time.
        to: UtcMillis,
    },
    /// A type this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// What to show of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "view", rename_all = "snake_case")]
pub enum View {
    /// What it films now.
    Live,
    /// What it filmed.
    Playback {
        /// The time to begin at; where there is no footage, the next there is.
        from: UtcMillis,
        /// Whether only key pictures are wanted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        key_frames_only: bool,
    },
}

/// What an edge says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromEdge {
    /// A stream begins, or begins anew with other parameters; the init frame follows.
    Opened {
        /// The stream.
        stream: u32,
        /// What to hand to a browser's `MediaSource`, such as `video/mp4; codecs="avc1.64001f"`.
        mime: String,
        /// Width of the pictures in pixels.
        width: u32,
        /// Height of the pictures in pixels.
        height: u32,
        /// Which of the camera's streams it is.
        role: Role,
        /// When this answers an `open` or `seek` of playback: the time asked for there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<UtcMillis>,
        /// Whether a privacy mask is burned into the pictures.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        masked: bool,
    },
    /// There is no footage between these times; the stream goes on behind it.
    Skipped {
        /// The stream.
        stream: u32,
        /// End of the footage before.
        from: UtcMillis,
        /// Beginning of the footage after.
        to: UtcMillis,
    },
    /// The line to the cloud is too slow: so many fragments were left out up to the next key picture.
    Dropped {
        /// The stream.
        stream: u32,
        /// How many since it was last said.
        fragments: u32,
    },
    /// A stream is over.
    Ended {
        /// The stream.
        stream: u32,
        /// Why, for programs.
        reason: EndReason,
        /// Why and what to do, for a person.
        detail: String,
    },
    /// The cameras of the edge.
    Cameras {
        /// The number of the request.
        request: u32,
        /// In the order of the configuration.
        cameras: Vec<Viewable>,
    },
    /// What is recorded of a camera in a time.
    Timeline {
        /// The number of the request.
        request: u32,
        /// Spans with video, in order.
        spans: Vec<Span>,
        /// Spans without video whose cause is known, in order.
        #[serde(default)]
        gaps: Vec<Gap>,
    },
    /// A request that can't be answered.
    Failed {
        /// The number of the request.
        request: u32,
        /// Why and what to do.
        reason: String,
    },
    /// A message that was not understood; nothing was done.
    Error {
        /// What is wrong with it.
        problem: String,
    },
    /// A type this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// Which of a camera's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one that is recorded.
    Main,
    /// The smaller one.
    Sub,
}

/// Why a stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The edge has no such camera.
    UnknownCamera,
    /// The camera gives no video at the moment.
    NoVideo,
    /// Browsers don't play what the camera sends.
    Codec,
    /// The camera has a privacy mask that can't be burned into the pictures.
    Masked,
    /// There is no footage from the time asked for on.
    NoFootage,
    /// The edge does as much as it can already.
    TooMany,
    /// Something is wrong with the edge or its disk.
    Failed,
    /// The edge stops.
    Stopped,
    /// The edge can't be reached; said by the cloud.
    EdgeAway,
    /// The viewer takes too little; said by the cloud.
    TooSlow,
    /// The viewer may no longer look; said by the cloud.
    Revoked,
    /// A reason this version does not know.
    #[serde(other)]
    Other,
}

/// A camera one can look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewable {
    /// The camera.
    pub camera_id: CameraId,
    /// Whether it gives video now.
    pub live: bool,
    /// Whether footage of it is kept.
    pub recorded: bool,
    /// Whether a privacy mask is burned into what is shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// A span of time with video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its beginning.
    pub start: UtcMillis,
    /// Its end.
    pub end: UtcMillis,
}

/// What was detected in one picture; a frame of [`FrameKind::Boxes`] holds a JSON array of these, in order of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxesAt {
    /// Milliseconds since 1970 of the picture.
    pub t: i64,
    /// What is in it.
    pub boxes: Vec<SeenBox>,
}

/// One thing in a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenBox {
    /// The object over pictures, where it is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// Label of the model, such as `person`.
    pub class: String,
    /// The detector's confidence, 0 to 1.
    pub confidence: f32,
    /// Left, top, right and bottom edge in fractions of the picture.
    pub at: [f32; 4],
}

/// Says why a text frame can't be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a relay message is not understood: {0}")]
pub struct RelayError(String);

impl ToEdge {
    /// Reads a text frame.
    ///
    /// # Errors
    /// It is too long, no JSON, or a member of a known type is wrong.
    pub fn read(text: &str) -> Result<Self, RelayError> {
        read(text)
    }
}

impl ToEdge {
    /// The stream it is about.
    #[must_use]
    pub fn stream(&self) -> Option<u32> {
        match self {
            Self::Open { stream, .. }
            | Self::Seek { stream, .. }
            | Self::Credit { stream, .. }
            | Self::Close { stream } => Some(*stream),
            _ => None,
        }
    }

    /// The number it is to be answered with.
    #[must_use]
    pub fn request(&self) -> Option<u32> {
        match self {
            Self::Cameras { request }
            | Self::Timeline { request, .. }
            | Self::Sprite { request, .. }
            | Self::Boxes { request, .. } => Some(*request),
            _ => None,
        }
    }
}

impl FromEdge {
    /// Reads a text frame.
    ///
    /// # Errors
    /// It is too long, no JSON, or a member of a known type is wrong.
    pub fn read(text: &str) -> Result<Self, RelayError> {
        read(text)
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, RelayError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(RelayError(format!("it has {} bytes, {MAX_TEXT_BYTES} are allowed", text.len())));
    }
    serde_json::from_str(text).map_err(|error| RelayError(error.to_string()))
}
