//! One camera's part of the pipeline: decode, choose, and hand to the muxer.
//!
//! ```text
//! appsrc ─ nvv4l2decoder ─ tee ─┬─ queue ─ (muxer)
//!                               └─ valve … nvjpegenc ─ appsink
//! ```

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::elements::{JPEG_ENCODER, configured, make, nvmm_filter};
use super::lane::Lane;
use crate::pipeline::access_unit::{AccessUnit, StreamFormat};
use crate::pipeline::decode::{DecodeError, choose_decoder};
use crate::pipeline::engine::EngineError;
use crate::pipeline::snapshot::{Jpeg, QUALITY, SnapshotBranch};
use crate::pipeline::unit_feed::{TakeUnits, UnitFeed};

/// Chosen pictures that wait for the muxer. When the network is behind, the oldest are dropped and counted.
const WAITING_PICTURES: &str = "4";
/// Surfaces that the decoder has beside those it decodes into: for the waiting pictures.
const EXTRA_SURFACES: &str = "4";

/// What is done when the decoder announces the size of its pictures.
pub(super) type OnSize = Box<dyn Fn(FrameSize) + Send + Sync>;

/// One camera's elements in a bin whose pad `src` gives the chosen pictures.
pub(super) struct Branch {
    pub(super) bin: gst::Bin,
    feed: UnitFeed,
    snapshots: Option<SnapshotBranch>,
}

impl Branch {
    pub(super) fn build(format: &Arc<StreamFormat>, lane: &Arc<Lane>, on_size: OnSize) -> Result<Self, EngineError> {
        let feed = UnitFeed::new(format);
        let Decoding { elements: decoding, pictures } = Decoding::of(format)?;
        watch_pictures(&pictures, lane, on_size);
        let tee = make("tee")?;
        let queue = [("max-size-buffers", WAITING_PICTURES), ("max-size-bytes", "0"), ("max-size-time", "0")];
        let queue = configured("queue", &[&queue[..], &[("leaky", "downstream")]].concat())?;
        let mut elements = vec![feed.source().clone().upcast()];
        elements.extend(decoding);
        elements.extend([tee.clone(), queue.clone()]);
        let bin = gst::Bin::new();
        let built = bin.add_many(&elements).and_then(|()| gst::Element::link_many(&elements));
        let built = built.ok().and_then(|()| gst::GhostPad::with_target(&queue.static_pad("src")?).ok());
        let ghost = built.and_then(|pad| bin.add_pad(&pad).ok());
        ghost.ok_or_else(|| EngineError::Pipeline("a camera's elements can't be linked".to_owned()))?;
        let snapshots = match gst::ElementFactory::find(JPEG_ENCODER) {
            Some(_) => Some(SnapshotBranch::add(&bin, &tee, jpeg_encoder()?)?),
            None => None,
        };
        Ok(Self { bin, feed, snapshots })
    }

    /// Units that were not decoded because the decoder was behind.
    pub(super) fn units_dropped(&self) -> u64 {
        self.feed.dropped()
    }

    pub(super) fn snapshot(&self, wait: Duration) -> Result<Jpeg, EngineError> {
        let snapshots = self.snapshots.as_ref().ok_or(EngineError::NoEncoder(JPEG_ENCODER))?;
        snapshots.take(wait).ok_or(EngineError::NoPicture)
    }
}

impl TakeUnits for Branch {
    fn take(&self, unit: &AccessUnit) -> Result<(), DecodeError> {
        // The pipeline's own message says more and has been told before.
        self.feed.push(unit, |flow| DecodeError::Failed(flow.to_string()))
    }

    fn skip_to_key(&self) {
        self.feed.skip_to_key();
    }
}

/// The elements from the stream to pictures in the accelerator's memory.
struct Decoding {
    elements: Vec<gst::Element>,
    /// The pad on which decoded pictures first appear.
    pictures: gst::Pad,
}

impl Decoding {
    /// The accelerator's decoder where it takes the format, one on the processor elsewhere.
    fn of(format: &StreamFormat) -> Result<Self, EngineError> {
        let factory = gst::ElementFactory::find("nvv4l2decoder");
        let elements = if factory.is_some_and(|factory| factory.can_sink_all_caps(&format.caps)) {
            let decoder = configured("nvv4l2decoder", &[("num-extra-surfaces", EXTRA_SURFACES)])?;
            // On Jetson one element decodes both kinds and has to be told.
            if format.media_type() == "image/jpeg" && decoder.find_property("mjpeg").is_some() {
                decoder.set_property_from_str("mjpeg", "true");
            }
            vec![decoder]
        } else {
            vec![choose_decoder(format)?, make("videoconvert")?, make("nvvideoconvert")?, nvmm_filter("NV12")?]
        };
        let pictures = elements.first().and_then(|decoder| decoder.static_pad("src"));
        let pictures = pictures.ok_or_else(|| EngineError::Pipeline("a decoder has no output".to_owned()))?;
        Ok(Self { elements, pictures })
    }
}

fn jpeg_encoder() -> Result<Vec<gst::Element>, EngineError> {
    Ok(vec![make("nvvideoconvert")?, nvmm_filter("I420")?, configured(JPEG_ENCODER, &[("quality", QUALITY)])?])
}

/// Counts the pictures and drops those that are not to be analysed, before anything is done with them.
fn watch_pictures(pad: &gst::Pad, lane: &Arc<Lane>, on_size: OnSize) {
    let lane = Arc::clone(lane);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, probe| {
        match &probe.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view()
                    && let Some(size) = size_of(caps.caps())
                {
                    lane.announce(size);
                    on_size(size);
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let at = buffer.pts().map(|pts| MediaTime::from_nanos(pts.nseconds()));
                if !lane.admit(at) {
                    return gst::PadProbeReturn::Drop;
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn size_of(caps: &gst::CapsRef) -> Option<FrameSize> {
    // Not through VideoInfo: it may not know the accelerator's memory.
    let number = |name| u32::try_from(caps.structure(0)?.get::<i32>(name).ok()?).ok();
    Some(FrameSize { width: number("width")?, height: number("height")? })
}
