//! Stand-ins for the elements of NVIDIA's DeepStream SDK, for tests on machines without a GPU.
//!
//! They have NVIDIA's names and the properties that the appliance's DeepStream engine sets, and no others: a property
//! or a key of a configuration file that the engine does not promise to use is an error here. Decoding and detecting
//! run on the processor, tracking is done by the edge's own tracker, and all metadata goes through the functions of
//! NVIDIA's metadata libraries or through this project's own implementation of them; see [`Metadata`].
//!
//! ```text
//! nvv4l2decoder ─┐
//! nvv4l2decoder ─┼─ nvstreammux ─ nvinfer ─ nvtracker       nvvideoconvert ─ nvjpegenc
//! nvv4l2decoder ─┘
//! ```
//!
//! What the real elements keep in the GPU's memory lies in ordinary memory here. The caps feature `memory:NVMM` is
//! announced all the same, so that a missing conversion shows as a failed link, as with the real ones.
//!
//! The library is a GStreamer plugin, found through `GST_PLUGIN_PATH`; a test that links it calls
//! [`plugin_register_static`] instead.

mod bins;
mod elements;
mod infer;
pub mod meta;
mod mux;
mod nvmm;
mod pixels;
mod tracker;

pub use meta::{Metadata, use_metadata};
pub use plugin::plugin_register_static;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    let register = |name, kind| gst::Element::register(Some(plugin), name, gst::Rank::NONE, kind);
    register("nvv4l2decoder", bins::Decoder::static_type())?;
    register("nvvideoconvert", bins::Convert::static_type())?;
    register("nvjpegenc", bins::JpegEncoder::static_type())?;
    register("nvstreammux", mux::Mux::static_type())?;
    register("nvinfer", infer::Infer::static_type())?;
    register("nvtracker", tracker::Tracker::static_type())
}

mod plugin {
    #![allow(missing_docs, unreachable_pub, reason = "a macro of another crate makes it")]

    use super::{gst, register};

    gst::plugin_define!(
        aivms_standin,
        env!("CARGO_PKG_DESCRIPTION"),
        register,
        env!("CARGO_PKG_VERSION"),
        // GStreamer has a fixed list of licence names, which lacks Apache-2.0.
        "unknown",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_NAME"),
        "https://aivms.example"
    );
}
