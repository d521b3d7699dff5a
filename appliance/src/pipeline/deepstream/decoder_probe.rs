//! Behind nvinfer: the network's outputs become objects that nvtracker can follow.
//!
//! With `network-type=100` nvinfer hands on its tensors and nothing else: it neither adds objects nor says that a
//! frame was looked at. Both are done here, with the decoder that the other engine uses, so that they agree.

use std::sync::Arc;

use aivms_appliance_core::decode::{self, OutputTensor};
use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::letterbox::Letterbox;
use aivms_appliance_core::model::{LetterboxMode, ModelDescription};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;
use aivms_deepstream::{FrameMut, Library, NewObject, Rect, TensorOutput};
use gstreamer as gst;
use gstreamer::prelude::*;

use super::lane::{Lane, Lanes};
use super::nvinfer_config::UNIQUE_ID;
use crate::pipeline::engine::EngineError;

/// Said of a buffer that has no batch: the muxer gives one to every buffer.
const NO_BATCH: &str = "nvstreammux gives buffers without batch metadata that the opened library knows; two copies of \
                        NVIDIA's metadata libraries are in use: leave only one installed";

/// Reads the tensors of each batch.
pub(super) struct TensorDecoder {
    pub(super) library: Arc<Library>,
    pub(super) model: Arc<ModelDescription>,
    pub(super) lanes: Arc<Lanes>,
    /// The muxer's size, for frames that do not say it.
    pub(super) mux: FrameSize,
}

impl TensorDecoder {
    /// Works on every buffer that passes `pad`.
    pub(super) fn install(self, pad: &gst::Pad) {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut probe.data
                && let Err(error) = self.decode(buffer.make_mut())
            {
                self.lanes.end_all(&error);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Decodes a batch; an error means that it can't be read at all.
    fn decode(&self, buffer: &mut gst::BufferRef) -> Result<(), EngineError> {
        let batch = self.library.batch(buffer).map_err(|error| EngineError::Detect(error.to_string()))?;
        let mut batch = batch.ok_or_else(|| EngineError::Detect(NO_BATCH.to_owned()))?;
        for mut frame in batch.frames_mut() {
            let Some(lane) = self.lane_of(&frame) else { continue };
            if let Err(error) = self.decode_frame(&mut frame, &lane) {
                lane.end(EngineError::Detect(error));
            }
        }
        Ok(())
    }

    /// The camera whose picture it is; none for the last ones of a camera that has left.
    fn lane_of(&self, frame: &FrameMut<'_>) -> Option<Arc<Lane>> {
        let lane = self.lanes.get(frame.source_id())?;
        lane.awaits(MediaTime::from_nanos(frame.pts()?)).then_some(lane)
    }

    /// Leaves a frame without our tensors alone: nvinfer passed it on, and the tracker is to bridge it.
    fn decode_frame(&self, frame: &mut FrameMut<'_>, lane: &Lane) -> Result<(), String> {
        let found = {
            let Some(tensors) = frame.tensors().find(|tensors| tensors.unique_id() == UNIQUE_ID) else { return Ok(()) };
            let size = frame.pipeline_size().map_or(self.mux, |(width, height)| FrameSize { width, height });
            self.detections(&tensors, size, lane.low_confidence())
        };
        frame.remove_tensors(Some(UNIQUE_ID));
        let found = found?;
        frame.set_detected(true);
        for object in found.iter().filter(|object| lane.wants(object.class)) {
            let label = self.model.label(object.class).unwrap_or_default();
            frame.add_object(&new_object(object, label)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn detections(&self, tensors: &TensorOutput<'_>, size: FrameSize, low: f32) -> Result<Vec<Detected>, String> {
        let (width, height) = tensors.network();
        let letterbox = Letterbox::fit(size, FrameSize { width, height }, mode(tensors));
        let letterbox = letterbox.map_err(|error| error.to_string())?;
        let mut layers = Vec::new();
        for layer in tensors.layers() {
            let shape: Vec<usize> = layer.dims().iter().map(|&side| side as usize).collect();
            layers.push((layer.name(), shape, layer.data().map_err(|error| error.to_string())?));
        }
        let outputs: Vec<_> = layers.iter().map(|(name, shape, data)| OutputTensor { name, data, shape }).collect();
        decode::detections(&self.model, &letterbox, &outputs, low).map_err(|error| error.to_string())
    }
}

/// How nvinfer fitted the frame in, as it says itself.
fn mode(tensors: &TensorOutput<'_>) -> LetterboxMode {
    match (tensors.maintain_aspect_ratio(), tensors.symmetric_padding()) {
        (false, _) => LetterboxMode::Stretch,
        (true, false) => LetterboxMode::TopLeft,
        (true, true) => LetterboxMode::Centred,
    }
}

fn new_object<'a>(object: &Detected, label: &'a str) -> NewObject<'a> {
    NewObject {
        class_id: i32::from(object.class),
        label,
        confidence: object.confidence,
        rect: rect(object.bbox),
        component_id: UNIQUE_ID as i32,
    }
}

fn rect(bbox: PixelBox) -> Rect {
    let [left, top, right, bottom] = bbox.corners();
    Rect { left, top, width: right - left, height: bottom - top }
}
