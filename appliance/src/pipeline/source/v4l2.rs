//! Local capture devices.

use std::path::Path;

use aivms_appliance_core::supervise::Failure;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::end::check_device;
use super::publish::{live_sink, set_caps};
use super::{SourceOutput, broken, make};

/// What is asked of a device: compressed pictures first, because raw ones above 720p do not fit through USB 2.
const FORMATS: &str = "image/jpeg, width=(int)[1,1920], height=(int)[1,1080]; \
                       video/x-raw, width=(int)[1,1280], height=(int)[1,720]";

/// Builds `v4l2src ! appsink`.
pub(super) fn build(device: &Path, output: &SourceOutput) -> Result<gst::Pipeline, Failure> {
    check_device(device)?;
    let (source, filter, sink) = (make("v4l2src")?, make("capsfilter")?, live_sink(output));
    source.set_property("device", device.to_string_lossy().as_ref());
    set_caps(&filter, FORMATS)?;
    let pipeline = gst::Pipeline::new();
    let elements = [source, filter, sink];
    let built = pipeline.add_many(&elements).and_then(|()| gst::Element::link_many(&elements));
    built.map_err(|_| broken("built"))?;
    Ok(pipeline)
}
