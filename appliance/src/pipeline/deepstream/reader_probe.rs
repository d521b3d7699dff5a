//! Behind nvtracker: tracked objects leave the pipeline as plain values, by camera.

use std::sync::Arc;

use aivms_appliance_core::detection::{ClassId, Tracked};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;
use aivms_deepstream::{Frame, Library, Object};
use gstreamer as gst;
use gstreamer::prelude::*;

use super::lane::{Lanes, Seen};
use crate::pipeline::engine::EngineError;

/// Reads the objects of each batch.
pub(super) struct ObjectReader {
    pub(super) library: Arc<Library>,
    pub(super) lanes: Arc<Lanes>,
    /// The muxer's size, for frames that do not say it.
    pub(super) mux: FrameSize,
}

impl ObjectReader {
    /// Works on every buffer that passes `pad`.
    pub(super) fn install(self, pad: &gst::Pad) {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &probe.data
                && let Err(error) = self.read(buffer)
            {
                self.lanes.end_all(&error);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn read(&self, buffer: &gst::BufferRef) -> Result<(), EngineError> {
        let batch = self.library.read_batch(buffer).map_err(|error| EngineError::Detect(error.to_string()))?;
        let Some(batch) = batch else { return Ok(()) };
        let mut frames: Vec<_> = batch.frames().collect();
        // A batch may hold several pictures of a camera, and its list is in no order.
        frames.sort_by_key(|frame| (frame.source_id(), frame.pts()));
        frames.iter().for_each(|frame| self.read_frame(frame));
        Ok(())
    }

    fn read_frame(&self, frame: &Frame<'_>) {
        let Some((lane, pts)) = self.lanes.get(frame.source_id()).zip(frame.pts()) else { return };
        let at = MediaTime::from_nanos(pts);
        let Some(camera) = lane.arrive(at) else { return };
        let made = frame.pipeline_size().map_or(self.mux, |(width, height)| FrameSize { width, height });
        let seen = frame.objects().filter_map(|object| seen(&object, made, camera));
        lane.tell(at, camera, seen.collect());
    }
}

/// An object in pixels of the camera; `None` for one that is not followed or has no area within the picture.
fn seen(object: &Object<'_>, made: FrameSize, camera: FrameSize) -> Option<Seen> {
    let detected = object.detector_box().is_some();
    let tracked = Tracked {
        track: object.object_id()?,
        class: ClassId::try_from(object.class_id()).ok()?,
        confidence: object.confidence().or(object.tracker_confidence()).unwrap_or(0.0).clamp(0.0, 1.0),
        bbox: in_camera(object, made, camera)?,
    };
    Some(Seen { tracked, detected })
}

fn in_camera(object: &Object<'_>, made: FrameSize, camera: FrameSize) -> Option<PixelBox> {
    let rect = object.rect();
    let scale_x = camera.width as f32 / made.width.max(1) as f32;
    let scale_y = camera.height as f32 / made.height.max(1) as f32;
    let (left, top) = (rect.left * scale_x, rect.top * scale_y);
    let (right, bottom) = (left + rect.width * scale_x, top + rect.height * scale_y);
    PixelBox::new(left, top, right, bottom).ok()?.clipped(camera)
}
