//! `nvv4l2decoder`.

use std::sync::Mutex;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use super::{chain, converter, filter, make, relabel};
use crate::elements::{Values, boolean, describe, keep_properties, lock, uint};

/// What NVIDIA's decoder takes, as its own template says. Microsoft's MPEG-4 (DivX 3) is not among it.
const ENCODED: &str = "image/jpeg; video/x-h264, stream-format=byte-stream, alignment=au; \
    video/x-h265, stream-format=byte-stream, alignment=au; \
    video/mpeg, mpegversion=4, systemstream=false, parsed=true; \
    video/mpeg, mpegversion=[1, 2], systemstream=false, parsed=true; \
    video/x-divx, divxversion=[4, 5]; video/x-vp8; video/x-vp9; video/x-av1";

#[derive(Default)]
pub(crate) struct Decoder {
    values: Values,
    /// FFmpeg's decoder, once the stream's format is known.
    decoder: Mutex<Option<gst::Element>>,
}

#[glib::object_subclass]
impl ObjectSubclass for Decoder {
    const NAME: &'static str = "AivmsStandinDecoder";
    type Type = super::Decoder;
    type ParentType = gst::Bin;
}

impl Decoder {
    /// Builds the chain for the first format; a later one is the decoder's own affair.
    fn begin(&self, caps: &gst::CapsRef) -> Result<(), glib::BoolError> {
        let mut decoder = lock(&self.decoder);
        if decoder.is_some() {
            return Ok(());
        }
        let first = decoder_for(caps)?;
        let convert = converter("videoconvert")?;
        let (ordinary, on_gpu) = (filter("video/x-raw, format=NV12")?, filter("video/x-raw(memory:NVMM)")?);
        let elements = [first.clone(), convert, ordinary, relabel(), on_gpu];
        chain(self.obj().upcast_ref(), &elements)?;
        for element in elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        *decoder = Some(first);
        Ok(())
    }
}

impl ObjectImpl for Decoder {
    keep_properties!(uint("num-extra-surfaces", 0), boolean("mjpeg", false));

    fn constructed(&self) {
        self.parent_constructed();
        let [sink, src] = Self::pad_templates() else { return };
        let sink = gst::GhostPad::builder_from_template(sink)
            .event_function(|pad, parent, event| {
                if let (gst::EventView::Caps(caps), Some(parent)) = (event.view(), parent)
                    && let Some(decoder) = parent.downcast_ref::<super::Decoder>()
                    && let Err(error) = decoder.imp().begin(caps.caps())
                {
                    gst::element_error!(decoder, gst::StreamError::CodecNotFound, ("{error}"));
                    return false;
                }
                gst::Pad::event_default(pad, parent, event)
            })
            .build();
        for pad in [sink, gst::GhostPad::from_template(src)] {
            self.obj().add_pad(&pad).expect("a new bin has no pads");
        }
    }
}

impl GstObjectImpl for Decoder {}

impl ElementImpl for Decoder {
    describe!("Decoder", "Codec/Decoder/Video", [ENCODED, "video/x-raw(memory:NVMM), format=NV12"]);
}

impl BinImpl for Decoder {}

/// FFmpeg's decoder for encoded video, which is the one that the CPU engine finds too.
fn decoder_for(caps: &gst::CapsRef) -> Result<gst::Element, glib::BoolError> {
    let structure = caps.structure(0).ok_or_else(|| glib::bool_error!("the caps are empty"))?;
    let version = || structure.get::<i32>("mpegversion").unwrap_or(4);
    let factory = match structure.name().as_str() {
        "image/jpeg" => "jpegdec",
        "video/x-h264" => "avdec_h264",
        "video/x-h265" => "avdec_h265",
        "video/mpeg" if version() < 4 => "avdec_mpeg2video",
        "video/mpeg" | "video/x-divx" => "avdec_mpeg4",
        "video/x-vp8" => "avdec_vp8",
        "video/x-vp9" => "avdec_vp9",
        other => return Err(glib::bool_error!("no decoder for {other}")),
    };
    let decoder = make(factory)?;
    // Several threads would hold pictures back.
    if decoder.find_property("max-threads").is_some() {
        decoder.set_property_from_str("max-threads", "1");
    }
    Ok(decoder)
}
