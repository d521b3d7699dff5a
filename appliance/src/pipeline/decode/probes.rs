//! What happens on a decoder's way out: pictures are counted, chosen and fitted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use aivms_appliance_core::letterbox::Letterbox;
use aivms_appliance_core::model::{ColourOrder, ModelInput};
use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::{Shared, lock};
use crate::pipeline::frame::FrameGate;

/// Asks for the size that fits the model whenever the decoder announces the size of its pictures.
pub(super) fn fit_pictures(pad: &gst::Pad, filter: &gst::Element, input: ModelInput, shared: &Arc<Shared>) {
    let (filter, shared) = (filter.downgrade(), Arc::clone(shared));
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, probe| {
        if let Some(gst::PadProbeData::Event(event)) = &probe.data
            && let gst::EventView::Caps(caps) = event.view()
            && let Some(letterbox) = letterbox(caps.caps(), &input)
            && let Some(filter) = filter.upgrade()
        {
            filter.set_property("caps", wanted(&letterbox, input.colour));
            lock(&shared.fitting).announced = Some(letterbox);
        }
        gst::PadProbeReturn::Ok
    });
}

fn letterbox(caps: &gst::CapsRef, input: &ModelInput) -> Option<Letterbox> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    Letterbox::new(FrameSize { width: info.width(), height: info.height() }, input).ok()
}

fn wanted(letterbox: &Letterbox, colour: ColourOrder) -> gst::Caps {
    let content = letterbox.content();
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    gst::Caps::builder("video/x-raw")
        .field(
            "format",
            match colour {
                ColourOrder::Rgb => "RGB",
                ColourOrder::Bgr => "BGR",
            },
        )
        .field("width", side(content.width))
        .field("height", side(content.height))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build()
}

/// Drops the pictures that are not to be analysed, before they are scaled.
pub(super) fn choose_pictures(pad: &gst::Pad, fps: f64, shared: &Arc<Shared>) {
    let (shared, gate) = (Arc::clone(shared), Mutex::new(FrameGate::new(fps)));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &probe.data else { return gst::PadProbeReturn::Ok };
        shared.decoded.fetch_add(1, Ordering::Relaxed);
        let Some(at) = buffer.pts().map(|pts| MediaTime::from_nanos(pts.nseconds())) else {
            return gst::PadProbeReturn::Drop;
        };
        shared.on_picture(at);
        if !lock(&gate).admit(at) {
            return gst::PadProbeReturn::Drop;
        }
        shared.admitted.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
}
