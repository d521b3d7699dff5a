//! What the recorder tells the rest of the edge.

use aivms_contract::footage::GapCause;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::segment::{DiskTier, Segment, SegmentKey};

/// Events kept for the slowest listener: some minutes of sixteen cameras. One further behind loses the oldest, learns
/// how many (`RecvError::Lagged`) and must then compare with [`super::Footage`], which is always right.
pub(super) const EVENTS: usize = 4096;

/// What the recorder tells.
#[derive(Debug, Clone, PartialEq)]
pub enum RecorderEvent {
    /// A segment was begun.
    SegmentOpened {
        /// Which one.
        key: SegmentKey,
    },
    /// A fragment is in the file and can be read.
    FragmentWritten {
        /// The camera.
        camera: CameraId,
        /// Wall time of its first picture.
        start: UtcMillis,
        /// Wall time at which its last picture ends.
        end: UtcMillis,
    },
    /// A segment is complete and synced.
    SegmentClosed {
        /// The segment with its table.
        segment: Segment,
    },
    /// Video that the camera sent and that is not in the footage. A span that lasts is told again, each time with the
    /// same beginning and a later end.
    Lost {
        /// The camera.
        camera: CameraId,
        /// End of the video before it.
        from: UtcMillis,
        /// Beginning of the video after it, or how far it lasts by now.
        to: UtcMillis,
        /// Whose fault it is: [`GapCause::Disk`], [`GapCause::Internal`], [`GapCause::SwitchedOff`], or
        /// [`GapCause::Camera`] for video that can't be recorded.
        cause: GapCause,
    },
    /// A disk takes nothing more; it is tried again by itself.
    DiskFailed {
        /// Which one.
        tier: DiskTier,
        /// Why, for a person.
        cause: String,
    },
    /// A disk takes video again.
    DiskBack {
        /// Which one.
        tier: DiskTier,
    },
}
