//! The part of the pipeline that cameras of one shape share: batch, infer, track.
//!
//! ```text
//! cameras ─ nvstreammux ─ queue ─ nvinfer ─ (decoder probe) ─ queue ─ nvtracker ─ (reader probe) ─ fakesink
//! ```
//!
//! A pipeline that has failed or seen its end is never used again: its cameras are told, come back as new
//! connections, and get a new one. The last camera that leaves takes it down.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aivms_appliance_core::model::ModelDescription;
use aivms_contract::geometry::FrameSize;
use aivms_deepstream::Library;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::branch::Branch;
use super::decoder_probe::TensorDecoder;
use super::elements::configured;
use super::lane::{Lane, Lanes};
use super::reader_probe::ObjectReader;
use crate::pipeline::decode::DecodeError;
use crate::pipeline::engine::EngineError;

/// Longest wait of the muxer for other cameras' pictures, in microseconds: what NVIDIA's own programs wait.
const BATCH_WITHIN_US: &str = "33000";
/// Batches that wait between two elements. They hold the muxer's surfaces, so they are few.
const WAITING_BATCHES: &str = "2";
/// Begins the names of the cameras' bins; the number of the muxer's pad follows.
const BIN: &str = "camera-";

/// What a shared pipeline is made of.
pub(super) struct Plan<'a> {
    pub(super) library: &'a Arc<Library>,
    pub(super) model: &'a Arc<ModelDescription>,
    /// The muxer's size in pixels.
    pub(super) mux: FrameSize,
    /// Most frames in a batch.
    pub(super) batch: u32,
    /// The file for nvinfer.
    pub(super) inference: &'a Path,
    /// nvtracker's low-level library and the file for it.
    pub(super) tracker: (&'a Path, &'a Path),
}

/// A running pipeline.
pub(super) struct SharedPipeline {
    pipeline: gst::Pipeline,
    muxer: gst::Element,
    lanes: Arc<Lanes>,
    failure: Arc<Failure>,
    pub(super) mux: FrameSize,
    /// Whether it has been started; held while it is being started, for those who come meanwhile.
    pub(super) started: Mutex<bool>,
}

/// Why a pipeline is not to be used any more, once that is so.
#[derive(Default)]
struct Failure(Mutex<Option<String>>);

impl SharedPipeline {
    /// Builds a pipeline without cameras, not started yet.
    pub(super) fn build(plan: &Plan<'_>) -> Result<Self, EngineError> {
        let muxer = muxer(plan)?;
        let inference = configured("nvinfer", &[("config-file-path", &text(plan.inference)?)])?;
        let tracker = tracker(plan)?;
        let sink = [("sync", "false"), ("async", "false"), ("enable-last-sample", "false"), ("qos", "false")];
        let elements =
            [muxer.clone(), queue()?, inference.clone(), queue()?, tracker.clone(), configured("fakesink", &sink)?];
        let pipeline = gst::Pipeline::new();
        let built = pipeline.add_many(&elements).and_then(|()| gst::Element::link_many(&elements));
        built.map_err(|_| EngineError::Pipeline("its elements can't be linked".to_owned()))?;
        let (lanes, failure) = (Arc::<Lanes>::default(), Arc::<Failure>::default());
        let (library, model, mux) = (plan.library, plan.model, plan.mux);
        let decoder =
            TensorDecoder { library: Arc::clone(library), model: Arc::clone(model), lanes: Arc::clone(&lanes), mux };
        decoder.install(&source_pad(&inference)?);
        ObjectReader { library: Arc::clone(library), lanes: Arc::clone(&lanes), mux }.install(&source_pad(&tracker)?);
        watch_bus(&pipeline, &lanes, &failure)?;
        Ok(Self { pipeline, muxer, lanes, failure, mux, started: Mutex::new(false) })
    }

    /// Starts a pipeline that has its first camera; opening the network takes seconds.
    pub(super) fn start(&self) -> Result<(), EngineError> {
        let started = self.pipeline.set_state(gst::State::Playing);
        started.map(drop).map_err(|_| {
            let said = self.failure.get().unwrap_or_else(|| "it can't be started".to_owned());
            self.failure.set(&said);
            EngineError::Pipeline(said)
        })
    }

    /// Whether it must not be given any more cameras.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Whether pictures of any camera have come out lately.
    pub(super) fn is_moving(&self) -> bool {
        self.lanes.any_arrives()
    }

    /// Says to all cameras that nothing comes out any more.
    pub(super) fn give_up(&self, why: &str) {
        self.failure.set(why);
        self.lanes.end_all(&EngineError::Pipeline(why.to_owned()));
    }

    /// Adds a camera; the number is for [`detach`](Self::detach).
    pub(super) fn attach(&self, branch: &Branch, lane: &Arc<Lane>) -> Result<u32, EngineError> {
        let number = self.lanes.enter(lane);
        branch.bin.set_property("name", format!("{BIN}{number}"));
        self.link(branch, number).inspect_err(|_| self.detach(branch, number))?;
        // Whoever was in when it failed was told; who came in just after it must hear it here.
        if let Some(why) = self.failure.get() {
            self.detach(branch, number);
            return Err(EngineError::Pipeline(why));
        }
        Ok(number)
    }

    fn link(&self, branch: &Branch, number: u32) -> Result<(), EngineError> {
        let refused = |what: &str| EngineError::Pipeline(format!("a camera can't be {what}"));
        self.pipeline.add(&branch.bin).map_err(|_| refused("added"))?;
        let pad = self.muxer.request_pad_simple(&pad_name(number)).ok_or_else(|| refused("given a place"))?;
        let output = branch.bin.static_pad("src").ok_or_else(|| refused("linked"))?;
        output.link(&pad).map_err(|_| refused("linked"))?;
        branch.bin.sync_state_with_parent().map_err(|_| refused("started"))
    }

    /// Takes a camera out while the others go on. May block: the muxer lets go of a pad without a hang only when that
    /// was flushed and nothing comes after.
    pub(super) fn detach(&self, branch: &Branch, number: u32) {
        if let Some(output) = branch.bin.static_pad("src") {
            output.add_probe(gst::PadProbeType::DATA_DOWNSTREAM, |_, _| gst::PadProbeReturn::Drop);
            if let Some(pad) = self.muxer.static_pad(&pad_name(number)) {
                pad.send_event(gst::event::FlushStart::new());
                pad.send_event(gst::event::FlushStop::new(false));
                // Unlinked or not, the pad goes.
                let _ = output.unlink(&pad);
                self.muxer.release_request_pad(&pad);
            }
        }
        let _ = branch.bin.set_state(gst::State::Null);
        let _ = self.pipeline.remove(&branch.bin);
        // Last, so that the number is not given again before its pad is gone.
        self.lanes.leave(number);
    }
}

impl Drop for SharedPipeline {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

impl Failure {
    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first reason is the nearest to the cause.
    fn set(&self, why: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
    }
}

fn pad_name(number: u32) -> String {
    format!("sink_{number}")
}

fn muxer(plan: &Plan<'_>) -> Result<gst::Element, EngineError> {
    let (width, height) = (plan.mux.width.to_string(), plan.mux.height.to_string());
    configured(
        "nvstreammux",
        &[
            ("live-source", "true"),
            ("width", &width),
            ("height", &height),
            ("batch-size", &plan.batch.to_string()),
            ("batched-push-timeout", BATCH_WITHIN_US),
            ("enable-padding", "false"),
        ],
    )
}

fn tracker(plan: &Plan<'_>) -> Result<gst::Element, EngineError> {
    let (library, config) = plan.tracker;
    configured(
        "nvtracker",
        &[
            ("ll-lib-file", &text(library)?),
            ("ll-config-file", &text(config)?),
            // The tracker's own picture of the frame; multiples of 32.
            ("tracker-width", "960"),
            ("tracker-height", "544"),
            ("display-tracking-id", "false"),
        ],
    )
}

fn queue() -> Result<gst::Element, EngineError> {
    configured("queue", &[("max-size-buffers", WAITING_BATCHES), ("max-size-bytes", "0"), ("max-size-time", "0")])
}

fn source_pad(element: &gst::Element) -> Result<gst::Pad, EngineError> {
    element.static_pad("src").ok_or_else(|| EngineError::Pipeline("an element has no output".to_owned()))
}

fn text(path: &Path) -> Result<String, EngineError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| EngineError::Pipeline(format!("the path {} is not text", path.display())))
}

/// Hears faults on the thread that has them, so that no thread of ours must wait for them.
fn watch_bus(pipeline: &gst::Pipeline, lanes: &Arc<Lanes>, failure: &Arc<Failure>) -> Result<(), EngineError> {
    let bus = pipeline.bus().ok_or_else(|| EngineError::Pipeline("it has no bus".to_owned()))?;
    let (lanes, failure) = (Arc::clone(lanes), Arc::clone(failure));
    bus.set_sync_handler(move |_, message| {
        let why = match message.view() {
            gst::MessageView::Error(error) => error.error().message().to_owned(),
            gst::MessageView::Eos(_) => "it has come to its end".to_owned(),
            _ => return gst::BusSyncReply::Drop,
        };
        match camera_of(message) {
            Some(lane) => {
                if let Some(lane) = lanes.get(lane) {
                    lane.end(DecodeError::Failed(why).into());
                }
            }
            None => {
                failure.set(&why);
                lanes.end_all(&EngineError::Pipeline(why));
            }
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}

/// The number of the camera in whose bin the message's sender is.
fn camera_of(message: &gst::MessageRef) -> Option<u32> {
    let mut place = message.src().cloned();
    while let Some(object) = place {
        let number = object.name().strip_prefix(BIN).and_then(|number| number.parse().ok());
        if object.is::<gst::Bin>() && number.is_some() {
            return number;
        }
        place = object.parent();
    }
    None
}
