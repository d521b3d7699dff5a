//! From access units to pictures of the size and colour order that the model wants.
//!
//! A pipeline of its own, fed through an appsrc, so that faults of the network never touch decoding. Pictures that
//! are not analysed are dropped right after the decoder, before the costly scaling; of those that are, only the
//! newest waits for the detector.

mod elements;
mod probes;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aivms_appliance_core::letterbox::Letterbox;
use aivms_appliance_core::model::ModelInput;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

pub(crate) use self::elements::choose_decoder;
use self::elements::{jpeg_encoder, make, scalers};
use self::probes::{choose_pictures, fit_pictures};
use super::access_unit::{AccessUnit, StreamFormat};
use super::frame::Frame;
use super::snapshot::{Jpeg, SnapshotBranch};
use super::unit_feed::{TakeUnits, UnitFeed};

/// Picture sizes remembered for pictures still under way; sizes change only when a camera is reconfigured.
const REMEMBERED_SIZES: usize = 4;

/// Says why a camera's video can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No decoder for the format is installed, or none can be started.
    #[error("no working decoder for {0} is installed: install gstreamer1.0-libav")]
    NoDecoder(String),
    /// A part of GStreamer is not installed.
    #[error("decoding needs GStreamer's element {0:?}: install gstreamer1.0-plugins-base")]
    MissingElement(&'static str),
    /// The pipeline could not be put together or started.
    #[error("the decoding pipeline can't be {0}")]
    Pipeline(&'static str),
    /// The decoder gave up.
    #[error("decoding failed: {0}")]
    Failed(String),
    /// The camera switched to another format; the connection must be built anew.
    #[error("the camera changed its video format")]
    FormatChanged,
}

/// What was dropped on the way, since the decoder was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeCounters {
    /// Access units dropped because the decoder was behind.
    pub units_dropped: u64,
    /// Pictures decoded.
    pub decoded: u64,
    /// Pictures chosen for analysis; the rest of the decoded ones exceed the wanted rate.
    pub admitted: u64,
}

/// One camera's decoder.
pub struct Decoder {
    pipeline: gst::Pipeline,
    feed: UnitFeed,
    sink: gst_app::AppSink,
    snapshots: SnapshotBranch,
    shared: Arc<Shared>,
}

struct Shared {
    decoded: AtomicU64,
    admitted: AtomicU64,
    fitting: Mutex<Fitting>,
}

/// How pictures are fitted into the model's input; sizes change when a camera is reconfigured.
#[derive(Default)]
struct Fitting {
    /// What the decoder announced and no picture has followed yet.
    announced: Option<Letterbox>,
    /// From which time on pictures have been fitted how, oldest first.
    since: VecDeque<(MediaTime, Letterbox)>,
}

impl Decoder {
    /// Starts to decode `format` into pictures for `input`, at most `fps` of them per second of media time.
    ///
    /// # Errors
    /// No decoder is installed for the format, or the pipeline can't be started.
    pub fn start(format: &Arc<StreamFormat>, input: &ModelInput, fps: f64) -> Result<Self, DecodeError> {
        let feed = UnitFeed::new(format);
        let (tee, filter) = (make("tee")?, make("capsfilter")?);
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).drop(true).build();
        let pictures = choose_decoder(format)?;
        let decoded = pictures.static_pad("src").ok_or(DecodeError::Pipeline("linked"))?;
        let shared = Arc::new(Shared::new());
        fit_pictures(&decoded, &filter, *input, &shared);
        choose_pictures(&decoded, fps, &shared);
        let mut elements = vec![feed.source().clone().upcast(), pictures, tee.clone()];
        elements.extend(scalers()?);
        elements.extend([filter, sink.clone().upcast()]);
        let pipeline = gst::Pipeline::new();
        let built = pipeline.add_many(&elements).and_then(|()| gst::Element::link_many(&elements));
        built.map_err(|_| DecodeError::Pipeline("built"))?;
        let snapshots = SnapshotBranch::add(pipeline.upcast_ref(), &tee, jpeg_encoder()?)?;
        let decoder = Self { pipeline, feed, sink, snapshots, shared };
        decoder.pipeline.set_state(gst::State::Playing).map_err(|_| DecodeError::Pipeline("started"))?;
        Ok(decoder)
    }

    /// Hands a unit to the decoder without waiting; drops it, and all up to the next key picture, when the decoder
    /// is behind.
    ///
    /// # Errors
    /// The decoder has failed or the format has changed; it takes nothing more.
    pub fn push(&self, unit: &AccessUnit) -> Result<(), DecodeError> {
        self.feed.push(unit, |flow| self.why_failed(flow))
    }

    /// Says that units have been lost before they came here.
    pub fn skip_to_key(&self) {
        self.feed.skip_to_key();
    }

    /// Waits for the next picture that is chosen for analysis, as JPEG; `None` when there is none within `wait`.
    #[must_use]
    pub fn snapshot(&self, wait: Duration) -> Option<Jpeg> {
        self.snapshots.take(wait)
    }

    /// Waits for the newest picture; `None` when there is none within `wait`.
    ///
    /// # Errors
    /// The decoder has failed.
    pub fn next_frame(&self, wait: gst::ClockTime) -> Result<Option<Frame>, DecodeError> {
        let Some(sample) = self.sink.try_pull_sample(wait) else {
            return self.last_error().map_or(Ok(None), Err);
        };
        let at = sample.buffer().and_then(gst::BufferRef::pts).map(|pts| MediaTime::from_nanos(pts.nseconds()));
        Ok(at.and_then(|at| Frame::new(&sample, at, self.shared.fitted_at(at)?)))
    }

    /// What was decoded and dropped so far.
    #[must_use]
    pub fn counters(&self) -> DecodeCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DecodeCounters {
            units_dropped: self.feed.dropped(),
            decoded: read(&self.shared.decoded),
            admitted: read(&self.shared.admitted),
        }
    }

    fn why_failed(&self, flow: gst::FlowError) -> DecodeError {
        self.last_error().unwrap_or_else(|| DecodeError::Failed(flow.to_string()))
    }

    fn last_error(&self) -> Option<DecodeError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(DecodeError::Failed(error.error().message().to_owned()))
    }
}

impl Drop for Decoder {
    /// Takes the pipeline down and waits for its threads.
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl TakeUnits for Decoder {
    fn take(&self, unit: &AccessUnit) -> Result<(), DecodeError> {
        self.push(unit)
    }

    fn skip_to_key(&self) {
        Self::skip_to_key(self);
    }
}

impl Shared {
    fn new() -> Self {
        let zero = AtomicU64::default;
        Self { decoded: zero(), admitted: zero(), fitting: Mutex::default() }
    }

    fn fitted_at(&self, at: MediaTime) -> Option<Letterbox> {
        let fitting = lock(&self.fitting);
        let sizes = &fitting.since;
        sizes.iter().rev().find(|(since, _)| *since <= at).or(sizes.front()).map(|(_, letterbox)| *letterbox)
    }

    fn on_picture(&self, at: MediaTime) {
        let mut fitting = lock(&self.fitting);
        let Some(letterbox) = fitting.announced.take() else { return };
        if fitting.since.len() == REMEMBERED_SIZES {
            fitting.since.pop_front();
        }
        fitting.since.push_back((at, letterbox));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single assignment or push, so a panic can't leave them half made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
