//! `nvinfer` of network type 100: runs the network over the frames of every batch, or of some, and attaches what it
//! gives. As the real one it reads no boxes from it and leaves the frames' mark of detection unset.

mod config;
mod imp;
mod network;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_base as gst_base;

glib::wrapper! {
    /// `nvinfer`.
    pub(crate) struct Infer(ObjectSubclass<imp::Infer>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}
