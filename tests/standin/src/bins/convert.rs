//! `nvvideoconvert`.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use super::{add_pads, chain, converter, filter, relabel};
use crate::elements::describe;
use crate::nvmm::ANY_MEMORY;

#[derive(Default)]
pub(crate) struct Convert;

#[glib::object_subclass]
impl ObjectSubclass for Convert {
    const NAME: &'static str = "AivmsStandinConvert";
    type Type = super::Convert;
    type ParentType = gst::Bin;
}

impl Convert {
    fn build(&self) -> Result<(), glib::BoolError> {
        let ordinary = || filter("video/x-raw");
        let elements = [relabel(), ordinary()?, converter("videoconvertscale")?, ordinary()?, relabel()];
        chain(self.obj().upcast_ref(), &elements)
    }
}

impl ObjectImpl for Convert {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        add_pads(element.upcast_ref(), Self::pad_templates());
        if let Err(error) = self.build() {
            gst::element_error!(element, gst::CoreError::MissingPlugin, ("{error}"));
        }
    }
}

impl GstObjectImpl for Convert {}

impl ElementImpl for Convert {
    describe!("Converter", "Filter/Converter/Video/Scaler", [ANY_MEMORY, ANY_MEMORY]);
}

impl BinImpl for Convert {}
