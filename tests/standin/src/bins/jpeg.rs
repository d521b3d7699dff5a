//! `nvjpegenc`.

use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use super::{add_pads, chain, filter, make, relabel};
use crate::elements::{describe, int};

/// Formats that NVIDIA's encoder takes.
const PICTURES: &str = "video/x-raw(memory:NVMM), format={ I420, NV12 }; video/x-raw, format=I420";
/// Quality when none is set.
const QUALITY: i32 = 85;

#[derive(Default)]
pub(crate) struct JpegEncoder {
    encoder: OnceLock<gst::Element>,
}

#[glib::object_subclass]
impl ObjectSubclass for JpegEncoder {
    const NAME: &'static str = "AivmsStandinJpegEncoder";
    type Type = super::JpegEncoder;
    type ParentType = gst::Bin;
}

impl JpegEncoder {
    fn build(&self) -> Result<(), glib::BoolError> {
        let encoder = make("jpegenc")?;
        encoder.set_property("quality", QUALITY);
        chain(self.obj().upcast_ref(), &[relabel(), filter("video/x-raw")?, encoder.clone()])?;
        self.encoder.set(encoder).map_err(|_| glib::bool_error!("built twice"))
    }
}

impl ObjectImpl for JpegEncoder {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: OnceLock<Vec<glib::ParamSpec>> = OnceLock::new();
        PROPERTIES.get_or_init(|| vec![int("quality", 0..=100, QUALITY)])
    }

    fn set_property(&self, _: usize, value: &glib::Value, _: &glib::ParamSpec) {
        if let Some(encoder) = self.encoder.get() {
            encoder.set_property_from_value("quality", value);
        }
    }

    fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
        self.encoder.get().map_or_else(|| spec.default_value().clone(), |encoder| encoder.property_value("quality"))
    }

    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        add_pads(element.upcast_ref(), Self::pad_templates());
        if let Err(error) = self.build() {
            gst::element_error!(element, gst::CoreError::MissingPlugin, ("{error}"));
        }
    }
}

impl GstObjectImpl for JpegEncoder {}

impl ElementImpl for JpegEncoder {
    describe!("JPEG encoder", "Codec/Encoder/Image", [PICTURES, "image/jpeg"]);
}

impl BinImpl for JpegEncoder {}
