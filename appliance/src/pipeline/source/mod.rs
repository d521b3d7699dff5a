//! Where access units come from: one source per camera connection, never reused after it ended.
//!
//! A source only copies references: its callbacks put each unit into the camera's fan-out, which never waits, so
//! nothing that consumes video can hold up a camera. Whatever ends a source is said once, as a [`SourceEnd`]; the
//! camera's task then stops it and builds a new one.

pub mod address;
mod bus;
mod end;
mod file;
mod publish;
mod retina;
mod rtsp;
mod sound;
mod timeline;
mod v4l2;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aivms_appliance_core::supervise::Failure;
use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::{broadcast, mpsc};

use aivms_contract::desired::RtspClient;

use self::address::Address;
pub use self::end::SourceEnd;
use self::end::{broken, missing_element};
pub use self::sound::{SoundNotice, SoundOutput};
use super::access_unit::AccessUnit;

/// Room for the reasons a source gives for its end; only the first is read, later ones are dropped.
const ENDS: usize = 1;

/// A running source.
pub struct Source {
    running: Box<dyn Running>,
}

/// What gives the units of one connection; chosen by the camera's address. Dropping it takes it down, which may block
/// when a driver or a peer hangs.
trait Running: Send {
    /// Whether the camera has answered; what is no network camera always has.
    fn has_answered(&self) -> bool {
        true
    }
}

/// Where a source puts what it has.
#[derive(Clone)]
pub struct SourceOutput {
    units: broadcast::Sender<AccessUnit>,
    /// Where sound goes, when there is anybody who wants it.
    audio: Option<SoundOutput>,
    ends: mpsc::Sender<SourceEnd>,
}

impl SourceOutput {
    /// Units go to `units`; the reason of the end comes out of the returned receiver.
    #[must_use]
    pub fn new(units: broadcast::Sender<AccessUnit>) -> (Self, mpsc::Receiver<SourceEnd>) {
        let (ends, end) = mpsc::channel(ENDS);
        (Self { units, audio: None, ends }, end)
    }

    /// The same, with sound going to `audio`.
    #[must_use]
    pub fn with_audio(self, audio: SoundOutput) -> Self {
        Self { audio: Some(audio), ..self }
    }

    /// Whether anybody wants sound.
    #[must_use]
    pub fn wants_audio(&self) -> bool {
        self.audio.is_some()
    }

    fn end(&self, end: SourceEnd) {
        // Full means that an earlier reason, which is nearer to the cause, has not been read yet.
        let _ = self.ends.try_send(end);
    }
}

impl Source {
    /// Starts to connect. Blocks for as long as opening a device does; network faults come as a [`SourceEnd`] later.
    ///
    /// # Errors
    /// A GStreamer element is missing, or the file or device can't be opened.
    pub fn start(address: &Address, output: SourceOutput) -> Result<Self, Failure> {
        gst::init().map_err(|error| Failure::Other(format!("GStreamer can't be started: {error}")))?;
        let running: Box<dyn Running> = match address {
            Address::Rtsp(address) if address.client == RtspClient::Retina => {
                Box::new(retina::Client::start(address, output)?)
            }
            Address::Rtsp(address) => Box::new(Pipeline::start(rtsp::build(address, &output)?, output, true)?),
            Address::V4l2(device) => Box::new(Pipeline::start(v4l2::build(device, &output)?, output, false)?),
            Address::File(path) => Box::new(file::Playback::start(path, output)?),
        };
        Ok(Self { running })
    }

    /// Why the source ended, as far as it got: whatever is said before the camera has answered means that nobody is
    /// there, except a refusal, which is an answer.
    #[must_use]
    pub fn failure(&self, end: &SourceEnd) -> Failure {
        match end {
            SourceEnd::Failed(Failure::Ended | Failure::Stalled | Failure::NoVideo) | SourceEnd::EndOfStream
                if !self.running.has_answered() =>
            {
                Failure::Unreachable
            }
            SourceEnd::Failed(failure) => failure.clone(),
            SourceEnd::EndOfStream => Failure::Ended,
        }
    }

    /// Takes the source down and waits for its threads, as dropping it does. Can block when a driver or a peer hangs:
    /// call it where blocking is allowed, with a deadline.
    pub fn stop(self) {
        drop(self);
    }
}

/// A live pipeline of GStreamer.
struct Pipeline {
    pipeline: gst::Pipeline,
    is_remote: bool,
    answered: Arc<AtomicBool>,
}

impl Pipeline {
    fn start(pipeline: gst::Pipeline, output: SourceOutput, is_remote: bool) -> Result<Self, Failure> {
        let answered = Arc::default();
        bus::watch(&pipeline, output, Arc::clone(&answered))?;
        // A source that can't be started says why as its end.
        let _ = pipeline.set_state(gst::State::Playing);
        Ok(Self { pipeline, is_remote, answered })
    }
}

impl Running for Pipeline {
    fn has_answered(&self) -> bool {
        !self.is_remote || self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Going down to NULL is not refused, and there is nobody to tell if it were.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Makes an element, or says that it is missing.
fn make(factory: &str) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make(factory).build().map_err(|_| missing_element(factory))
}
