//! The seam between a camera and what takes its encoded video beside the analysis: the recorder and the relay.

use aivms_appliance_core::supervise::Failure;
use aivms_contract::id::CameraId;
use aivms_contract::time::MediaClock;
use tokio::sync::{broadcast, watch};

use super::access_unit::{AccessUnit, AudioUnit};

/// Which of a camera's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamRole {
    /// The one that is recorded; without a second one also the one that is analysed.
    Main,
    /// The smaller one, which is analysed.
    Sub,
}

/// Takes every connection's units, each at its own pace. Nothing in it may block or wait: it is called from the
/// camera's task.
pub trait StreamConsumer: Send + Sync + 'static {
    /// A connection has given its first picture. The feed holds every unit from that one on; it ends with the
    /// connection.
    fn connected(&self, camera: &CameraId, feed: StreamFeed);

    /// A connection, or an attempt to make one, has ended. Called for each attempt.
    fn disconnected(&self, camera: &CameraId, role: StreamRole, end: StreamEnd);
}

/// One connection's units.
#[derive(Debug)]
pub struct StreamFeed {
    /// Which of the camera's streams.
    pub role: StreamRole,
    /// Pictures in decoding order, from the first of the connection on. One that is too slow loses the oldest.
    pub units: broadcast::Receiver<AccessUnit>,
    /// Sound, where there is some that is asked for.
    pub audio: broadcast::Receiver<AudioUnit>,
    /// Media time of this connection to wall time; replaced when the wall clock is set.
    pub clock: watch::Receiver<MediaClock>,
}

/// Why a camera gives no video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// Something failed.
    Failed(Failure),
    /// The camera, or the program, was told to stop.
    Stopped,
    /// The camera was told to start anew.
    Restarted,
}
