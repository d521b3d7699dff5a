//! Why masked video can't be made.

use aivms_contract::id::CameraId;

use crate::pipeline::decode::DecodeError;

/// Says why video can't leave the edge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// Nobody knows what must be hidden.
    #[error(
        "camera {0} is not configured on this edge, so what its privacy masks hide is not known; configure it, which may \
         be with enabled = false"
    )]
    UnknownCamera(CameraId),
    /// The masked pictures could not be encoded.
    #[error(
        "a camera with privacy masks needs an H.264 encoder, and none works here: install gstreamer1.0-plugins-bad \
         (openh264enc) or what drives the machine's own encoder"
    )]
    NoEncoder,
    /// The video can't be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A part of GStreamer is missing.
    #[error("masking needs GStreamer's element {0:?}: install gstreamer1.0-plugins-base and gstreamer1.0-plugins-bad")]
    MissingElement(&'static str),
    /// A pipeline could not be put together or started.
    #[error("the {0} pipeline can't be started")]
    Pipeline(&'static str),
    /// A pipeline gave up.
    #[error("{what} failed: {cause}")]
    Failed {
        /// What it did.
        what: &'static str,
        /// What GStreamer said.
        cause: String,
    },
    /// A pipeline gives nothing any more.
    #[error("{0} hangs")]
    Hangs(&'static str),
}
