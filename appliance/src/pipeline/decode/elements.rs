//! The elements of a decoding pipeline.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::DecodeError;
use crate::pipeline::access_unit::StreamFormat;
use crate::pipeline::snapshot::QUALITY;

pub(super) fn make(factory: &'static str) -> Result<gst::Element, DecodeError> {
    gst::ElementFactory::make(factory).build().map_err(|_| DecodeError::MissingElement(factory))
}

/// The best decoder that takes the format, gives pictures in ordinary memory and opens: a hardware decoder is
/// registered also where its device is missing or busy.
pub(crate) fn choose_decoder(format: &StreamFormat) -> Result<gst::Element, DecodeError> {
    if format.media_type() == "video/x-raw" {
        return make("identity");
    }
    let pictures = gst::Caps::new_empty_simple("video/x-raw");
    let gives_pictures = |factory: &gst::ElementFactory| {
        let mut templates = factory.static_pad_templates().into_iter();
        templates.any(|pad| pad.direction() == gst::PadDirection::Src && pad.caps().can_intersect(&pictures))
    };
    let decoders = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODER, gst::Rank::MARGINAL);
    let mut fitting: Vec<_> =
        decoders.iter().filter(|f| f.can_sink_all_caps(&format.caps) && gives_pictures(f)).collect();
    fitting.sort_by_key(|factory| std::cmp::Reverse(factory.rank()));
    let opened = fitting.into_iter().find_map(|factory| {
        let decoder = factory.create().build().ok()?;
        decoder.set_state(gst::State::Ready).ok()?;
        Some(decoder)
    });
    let decoder = opened.ok_or_else(|| DecodeError::NoDecoder(format.codec().to_owned()))?;
    // Cameras are many and each is slow: one thread per camera wastes least and holds no pictures back.
    if decoder.find_property("max-threads").is_some() {
        decoder.set_property_from_str("max-threads", "1");
    }
    Ok(decoder)
}

/// Scaling before converting costs 0.4 ms for a picture of 768x576; `videoconvertscale`, which does both, 1.0 ms.
pub(super) fn scalers() -> Result<[gst::Element; 2], DecodeError> {
    let (scale, convert) = (make("videoscale")?, make("videoconvert")?);
    // The capsfilter behind asks for the exact size; borders are written with the tensor.
    scale.set_property("add-borders", false);
    Ok([scale, convert])
}

/// What encodes a decoder's picture as JPEG, in its own size.
pub(super) fn jpeg_encoder() -> Result<Vec<gst::Element>, DecodeError> {
    let encoder = make("jpegenc")?;
    encoder.set_property_from_str("quality", QUALITY);
    Ok(vec![make("videoconvert")?, encoder])
}
