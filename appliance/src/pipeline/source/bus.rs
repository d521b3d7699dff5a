//! What a live pipeline says about itself: its end, and how far it has got until then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aivms_appliance_core::supervise::Failure;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::end::{broken, understand};
use super::{SourceEnd, SourceOutput};

/// Listens to the pipeline until it is dropped; runs on whichever thread speaks and never waits.
///
/// `answered` becomes true when the camera has answered.
pub(super) fn watch(pipeline: &gst::Pipeline, output: SourceOutput, answered: Arc<AtomicBool>) -> Result<(), Failure> {
    let bus = pipeline.bus().ok_or_else(|| broken("heard"))?;
    bus.set_sync_handler(move |_, message| {
        if says_opened(message) {
            answered.store(true, Ordering::Relaxed);
        }
        if let Some(end) = end_in(message) {
            output.end(end);
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}

/// Whether `rtspsrc` has got the camera's description; it asks to play, and says so, without one too.
fn says_opened(message: &gst::Message) -> bool {
    let gst::MessageView::Progress(step) = message.view() else { return false };
    let (kind, code, _) = step.get();
    (kind, code) == (gst::ProgressType::Complete, "open")
}

fn end_in(message: &gst::Message) -> Option<SourceEnd> {
    match message.view() {
        gst::MessageView::Error(error) => Some(understand(error).into()),
        gst::MessageView::Eos(_) => Some(SourceEnd::EndOfStream),
        // rtspsrc says so before it gives up a silent camera.
        gst::MessageView::Element(element) => {
            let name = element.structure().map(gst::StructureRef::name)?;
            (name == "GstRTSPSrcTimeout").then_some(Failure::Stalled.into())
        }
        _ => None,
    }
}
