//! The seam between a camera and what takes its encoded video beside the analysis: the recorder and the relay.

use std::fmt;
use std::sync::Arc;

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
    /// connection. A feed that came before is over then, even when the pipeline behind it hangs and still gives units.
    fn connected(&self, camera: &CameraId, feed: StreamFeed);

    /// A connection, or an attempt to make one, has ended. Called for each attempt; with `Restarted` and `Stopped` also
    /// when there was neither, because the camera was waiting for its next attempt.
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

/// Those who take a camera's video; cheap to clone.
#[derive(Clone, Default)]
pub struct Consumers(Arc<[Arc<dyn StreamConsumer>]>);

impl Consumers {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn StreamConsumer> {
        self.0.iter().map(Arc::as_ref)
    }

    /// Tells all that a connection, or an attempt to make one, has ended.
    pub(super) fn disconnected(&self, camera: &CameraId, role: StreamRole, end: &StreamEnd) {
        self.iter().for_each(|consumer| consumer.disconnected(camera, role, end.clone()));
    }
}

impl From<Vec<Arc<dyn StreamConsumer>>> for Consumers {
    fn from(consumers: Vec<Arc<dyn StreamConsumer>>) -> Self {
        Self(consumers.into())
    }
}

impl fmt::Debug for Consumers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consumers({})", self.len())
    }
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
