//! Behind nvinfer: the network's outputs become objects that nvtracker can follow.
//!
//! With `network-type=100` nvinfer hands on its tensors and nothing else: it neither adds objects nor says that a
//! frame was looked at. Both are done here, with the decoder that the other engine uses, so that they agree.

use std::sync::Arc;

use aivms_appliance_core::decode::{self, OutputTensor};
use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::letterbox::{Content, Letterbox};
use aivms_appliance_core::model::ModelDescription;
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
        let input = FrameSize { width, height };
        let content = content(size, input, tensors.maintain_aspect_ratio(), tensors.symmetric_padding());
        let letterbox = Letterbox::of_content(size, input, content).map_err(|error| error.to_string())?;
        let mut layers = Vec::new();
        for layer in tensors.layers() {
            let shape: Vec<usize> = layer.dims().iter().map(|&side| side as usize).collect();
            layers.push((layer.name(), shape, layer.data().map_err(|error| error.to_string())?));
        }
        let outputs: Vec<_> = layers.iter().map(|(name, shape, data)| OutputTensor { name, data, shape }).collect();
        decode::detections(&self.model, &letterbox, &outputs, low).map_err(|error| error.to_string())
    }
}

/// How nvinfer has fitted the frame in, by what its tensors say. It cuts fractions of a pixel off (as its published
/// source of 9.1 reckons), where the other engine rounds.
fn content(frame: FrameSize, input: FrameSize, keeps_shape: bool, centred: bool) -> Content {
    let FrameSize { width: wide, height: tall } = input;
    if !keeps_shape {
        return Content { x: 0, y: 0, width: wide, height: tall };
    }
    let scaled = |side: u32, to: u32, from: u32| {
        let scaled = u64::from(side) * u64::from(to) / u64::from(from.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    let fitted = scaled(wide, frame.height, frame.width);
    let (width, height) =
        if fitted <= tall { (wide, fitted) } else { (scaled(tall, frame.width, frame.height).min(wide), tall) };
    let space = |all: u32, taken: u32| if centred { (all - taken) / 2 } else { 0 };
    Content { x: space(wide, width), y: space(tall, height), width, height }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(frame: (u32, u32), input: (u32, u32), centred: bool) -> [u32; 4] {
        let size = |(width, height)| FrameSize { width, height };
        let Content { x, y, width, height } = content(size(frame), size(input), true, centred);
        [x, y, width, height]
    }

    #[test]
    fn frames_lie_in_the_input_where_nvinfer_puts_them() {
        assert_eq!(fitted((1920, 1080), (640, 640), true), [0, 140, 640, 360]);
        assert_eq!(fitted((1920, 1080), (640, 640), false), [0, 0, 640, 360]);
        assert_eq!(fitted((1910, 1080), (640, 640), true), [0, 139, 640, 361]);
        assert_eq!(fitted((1080, 1920), (416, 416), true), [91, 0, 234, 416]);
        assert_eq!(fitted((768, 576), (640, 384), false), [0, 0, 512, 384]);
        let stretched =
            content(FrameSize { width: 768, height: 576 }, FrameSize { width: 640, height: 640 }, false, true);
        assert_eq!((stretched.width, stretched.height), (640, 640));
    }
}
