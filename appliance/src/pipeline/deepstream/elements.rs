//! The elements of a DeepStream pipeline.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::pipeline::engine::EngineError;

/// Elements without which nothing is analysed, by the names of their factories.
pub(super) const NEEDED: [&str; 5] = ["nvv4l2decoder", "nvstreammux", "nvinfer", "nvtracker", "nvvideoconvert"];
/// The encoder of snapshots. Orin Nano has no video encoder, but this.
pub(super) const JPEG_ENCODER: &str = "nvjpegenc";
/// Pictures in the memory of the accelerator.
pub(super) const NVMM: &str = "video/x-raw(memory:NVMM)";

/// Part of the class of an nvinfer that runs ONNX files by itself, with ONNX Runtime instead of TensorRT.
const RUNS_ONNX: &str = "OnnxRuntime";

/// The needed elements that are not there.
pub(super) fn missing() -> Vec<&'static str> {
    NEEDED.into_iter().filter(|factory| gst::ElementFactory::find(factory).is_none()).collect()
}

/// Whether inference needs no engine of TensorRT: NVIDIA's nvinfer always does; the one that this project's tests put
/// in its place says in its class that it runs ONNX files.
pub(super) fn runs_onnx() -> bool {
    let factory = gst::ElementFactory::find("nvinfer");
    let class = factory.and_then(|factory| factory.metadata("klass").map(str::to_owned));
    class.is_some_and(|class| class.split('/').any(|part| part == RUNS_ONNX))
}

pub(super) fn make(factory: &'static str) -> Result<gst::Element, EngineError> {
    let built = gst::ElementFactory::make(factory).build();
    built.map_err(|_| EngineError::Pipeline(format!("GStreamer's element {factory:?} is missing")))
}

/// Sets properties by their text, whatever their exact type is in this version of DeepStream.
pub(super) fn configured(factory: &'static str, properties: &[(&str, &str)]) -> Result<gst::Element, EngineError> {
    let element = make(factory)?;
    for (name, value) in properties {
        if element.find_property(name).is_none() {
            return Err(EngineError::Pipeline(format!("GStreamer's element {factory:?} has no property {name:?}")));
        }
        element.set_property_from_str(name, value);
    }
    Ok(element)
}

/// A filter for pictures in the accelerator's memory.
pub(super) fn nvmm_filter(format: &str) -> Result<gst::Element, EngineError> {
    let filter = make("capsfilter")?;
    let caps: Result<gst::Caps, _> = format!("{NVMM}, format={format}").parse();
    filter.set_property("caps", caps.map_err(|_| EngineError::Pipeline(format!("no caps of {format}")))?);
    Ok(filter)
}
