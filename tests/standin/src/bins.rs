//! The stand-ins that are chains of ordinary elements: decoder, converter, JPEG encoder.

mod convert;
mod decoder;
mod jpeg;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::nvmm::Relabel;

glib::wrapper! {
    /// `nvv4l2decoder`: FFmpeg's decoder for the stream, then NV12.
    pub(crate) struct Decoder(ObjectSubclass<decoder::Decoder>) @extends gst::Bin, gst::Element, gst::Object;
}
glib::wrapper! {
    /// `nvvideoconvert`: format and size, between all kinds of memory.
    pub(crate) struct Convert(ObjectSubclass<convert::Convert>) @extends gst::Bin, gst::Element, gst::Object;
}
glib::wrapper! {
    /// `nvjpegenc`: JPEG of pictures in either kind of memory.
    pub(crate) struct JpegEncoder(ObjectSubclass<jpeg::JpegEncoder>) @extends gst::Bin, gst::Element, gst::Object;
}

fn make(factory: &str) -> Result<gst::Element, glib::BoolError> {
    gst::ElementFactory::make(factory).build()
}

fn relabel() -> gst::Element {
    glib::Object::new::<Relabel>().upcast()
}

/// An element that changes formats, and between those with a quarter of the chroma none of it.
fn converter(factory: &str) -> Result<gst::Element, glib::BoolError> {
    gst::ElementFactory::make(factory).property_from_str("chroma-mode", "none").build()
}

fn filter(caps: &str) -> Result<gst::Element, glib::BoolError> {
    let caps: gst::Caps = caps.parse()?;
    gst::ElementFactory::make("capsfilter").property("caps", caps).build()
}

/// Puts elements one behind the other into the bin, and the ends of the chain into its pads.
fn chain(bin: &gst::Bin, elements: &[gst::Element]) -> Result<(), glib::BoolError> {
    bin.add_many(elements)?;
    gst::Element::link_many(elements)?;
    let ends = [("sink", elements.first()), ("src", elements.last())];
    for (name, element) in ends {
        let (Some(ghost), Some(element)) = (ghost(bin, name), element) else { continue };
        ghost.set_target(element.static_pad(name).as_ref())?;
    }
    Ok(())
}

fn ghost(bin: &gst::Bin, name: &str) -> Option<gst::GhostPad> {
    bin.static_pad(name)?.downcast().ok()
}

fn add_pads(bin: &gst::Bin, templates: &[gst::PadTemplate]) {
    for template in templates {
        bin.add_pad(&gst::GhostPad::from_template(template)).expect("a new bin has no pads");
    }
}
