//! The seam between a camera and whatever sees: access units in, tracked objects out.
//!
//! [`Detector`](super::infer::Detector) is the engine without special hardware; one for NVIDIA's SDK has the same two
//! ends. An engine owns decoding, detecting and tracking; it knows nothing of zones, wall time or the network.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::detection::{ClassId, FrameDetections};
use aivms_contract::id::CameraId;
use tokio::sync::{broadcast, mpsc};

use super::access_unit::{AccessUnit, StreamFormat};
use super::decode::DecodeError;
use super::snapshot::Jpeg;

/// Frames that wait to be judged: less than a second at usual rates. When the camera's task is held up by a full
/// outbox, newer frames are dropped and counted; media time keeps what comes after right.
const WAITING_FRAMES: usize = 4;

/// What turns one camera's video into tracked objects.
pub trait Engine: Send + Sync + 'static {
    /// Names of the classes; the position is the class number.
    fn labels(&self) -> &[String];

    /// Begins to analyse one connection of a camera. May block while a decoder opens.
    ///
    /// # Errors
    /// The format can't be decoded here.
    fn connect(self: Arc<Self>, feed: Feed) -> Result<Box<dyn EngineSession>, EngineError>;
}

/// One connection being analysed; dropping it ends the analysis and may block until the engine's threads are done.
pub trait EngineSession: Send {
    /// What was analysed and dropped since the session began.
    fn counters(&self) -> EngineCounters;

    /// Waits for the next picture that is analysed, and gives it as JPEG in the camera's own size. Blocks.
    ///
    /// # Errors
    /// There is no such picture within `wait`, or nothing here encodes JPEG.
    fn snapshot(&self, wait: Duration) -> Result<Jpeg, EngineError>;
}

/// What an engine is given for one connection.
pub struct Feed {
    /// For names of threads and for messages.
    pub camera: CameraId,
    /// Format of the first unit.
    pub format: Arc<StreamFormat>,
    /// The units, from the first of the connection on.
    pub units: broadcast::Receiver<AccessUnit>,
    /// What is to be looked for.
    pub watch: Watch,
    /// Where results go.
    pub output: EngineOutput,
}

/// What is to be looked for on a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// Frames analysed per second of media time.
    pub fps: f64,
    /// Least confidence of a detection, 0 to 1.
    pub confidence: f32,
    /// Classes looked for; empty for all.
    pub classes: Vec<ClassId>,
}

/// Where an engine puts what it has; sending never waits.
#[derive(Clone)]
pub struct EngineOutput {
    frames: mpsc::Sender<FrameDetections>,
    ends: mpsc::Sender<EngineError>,
}

/// The other side of an [`EngineOutput`].
pub struct EngineResults {
    /// Analysed frames, in order of media time.
    pub frames: mpsc::Receiver<FrameDetections>,
    /// Why the engine stopped, at most once.
    pub ends: mpsc::Receiver<EngineError>,
}

/// What an engine did for one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Access units that were not decoded because the decoder was behind.
    pub units_dropped: u64,
    /// Pictures decoded.
    pub decoded: u64,
    /// Pictures that were to be analysed and were not, because the model or the camera's task was behind.
    pub frames_skipped: u64,
    /// Pictures analysed.
    pub analysed: u64,
    /// Those of them in which nothing had changed, so that the model did not run.
    pub still: u64,
}

/// Says why an engine can't analyse, or no longer analyses, a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The video can't be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The model failed.
    #[error("detecting failed: {0}")]
    Detect(String),
    /// The pipeline that all cameras share can't be built or has failed.
    #[error("the DeepStream pipeline failed: {0}")]
    Pipeline(String),
    /// No picture came in time for a snapshot.
    #[error("no picture came in time")]
    NoPicture,
    /// Nothing is installed that encodes a snapshot.
    #[error("snapshots need GStreamer's element {0:?}")]
    NoEncoder(&'static str),
    /// The system gives no thread.
    #[error("no thread for the detection: {0}")]
    Thread(String),
}

impl EngineOutput {
    /// Makes both sides.
    #[must_use]
    pub fn new() -> (Self, EngineResults) {
        let (frames, analysed) = mpsc::channel(WAITING_FRAMES);
        // One place: an engine stops once.
        let (ends, end) = mpsc::channel(1);
        (Self { frames, ends }, EngineResults { frames: analysed, ends: end })
    }

    /// Hands over a frame; false when nobody takes it at the moment.
    pub fn frame(&self, frame: FrameDetections) -> bool {
        self.frames.try_send(frame).is_ok()
    }

    /// Says why the engine stopped.
    pub fn end(&self, error: EngineError) {
        // Full means that it has been said already.
        let _ = self.ends.try_send(error);
    }
}
