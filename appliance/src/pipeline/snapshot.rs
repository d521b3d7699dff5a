//! Single pictures as JPEG, from a branch beside the analysis that costs nothing while no picture is wanted.
//!
//! ```text
//! decoder ─ tee ─┬─ what is analysed
//!                └─ valve ─ queue ─ encoder … ─ appsink
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::decode::DecodeError;

/// Quality of the pictures, 0 to 100: artefacts can't be seen at normal size, and 1920x1080 takes about 400 KiB.
pub(crate) const QUALITY: &str = "85";

/// One encoded picture in the size in which the camera sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jpeg {
    /// The file's bytes.
    pub data: Vec<u8>,
    /// Presentation time of the picture.
    pub at: MediaTime,
    /// Size in pixels.
    pub frame: FrameSize,
}

/// The branch that makes them.
pub(super) struct SnapshotBranch {
    valve: gst::Element,
    sink: gst_app::AppSink,
    /// Held while a picture is awaited: two who ask at once get one after the other.
    asked: Mutex<()>,
}

impl SnapshotBranch {
    /// Adds a branch behind `tee`; `encoder` are the linked-to-be elements from the tee's pictures to `image/jpeg`.
    pub(super) fn add(bin: &gst::Bin, tee: &gst::Element, encoder: Vec<gst::Element>) -> Result<Self, DecodeError> {
        let make = |factory| gst::ElementFactory::make(factory);
        let missing = DecodeError::MissingElement;
        let valve = make("valve").property("drop", true).build().map_err(|_| missing("valve"))?;
        let queue = make("queue").property("max-size-buffers", 1u32).property_from_str("leaky", "downstream");
        let queue = queue.build().map_err(|_| missing("queue"))?;
        let sink = gst_app::AppSink::builder().sync(false).async_(false).max_buffers(1).drop(true).build();
        let mut elements = vec![valve.clone(), queue];
        elements.extend(encoder);
        elements.push(sink.clone().upcast());
        let linked = bin.add_many(&elements).and_then(|()| gst::Element::link_many(&elements));
        linked.and_then(|()| tee.link(&valve)).map_err(|_| DecodeError::Pipeline("given a branch for snapshots"))?;
        Ok(Self { valve, sink, asked: Mutex::new(()) })
    }

    /// Waits for the next picture that is analysed; `None` when there is none within `wait`.
    pub(super) fn take(&self, wait: Duration) -> Option<Jpeg> {
        // Nothing is changed under this lock.
        let _asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // What the last one who asked has left behind is old.
        while self.sink.try_pull_sample(gst::ClockTime::ZERO).is_some() {}
        self.valve.set_property("drop", false);
        let wait = gst::ClockTime::try_from(wait).unwrap_or(gst::ClockTime::MAX);
        let sample = self.sink.try_pull_sample(wait);
        self.valve.set_property("drop", true);
        read(&sample?)
    }
}

fn read(sample: &gst::Sample) -> Option<Jpeg> {
    let number = |name| u32::try_from(sample.caps()?.structure(0)?.get::<i32>(name).ok()?).ok();
    let frame = FrameSize { width: number("width")?, height: number("height")? };
    let buffer = sample.buffer()?;
    let at = MediaTime::from_nanos(buffer.pts()?.nseconds());
    Some(Jpeg { data: buffer.map_readable().ok()?.to_vec(), at, frame })
}
