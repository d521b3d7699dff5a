//! From GStreamer samples to access units.

use std::sync::Arc;

use aivms_appliance_core::supervise::Failure;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::broadcast;

use super::{SourceOutput, broken, make, missing_element};
use crate::pipeline::access_unit::{AccessUnit, StreamFormat};

/// Puts the samples of one connection into the camera's fan-out.
pub(super) struct Publisher {
    units: broadcast::Sender<AccessUnit>,
    format: Option<Arc<StreamFormat>>,
}

impl Publisher {
    pub(super) fn new(output: &SourceOutput) -> Self {
        Self { units: output.units.clone(), format: None }
    }

    /// Publishes `buffer`, whose timestamps are on the media timeline already.
    ///
    /// A buffer without any timestamp can't be placed in time and is left out.
    pub(super) fn publish(&mut self, caps: &gst::CapsRef, buffer: gst::Buffer) {
        let Some(at) = buffer.pts().or(buffer.dts()) else { return };
        let unit = AccessUnit {
            format: self.format_of(caps),
            at: MediaTime::from_nanos(at.nseconds()),
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            buffer,
        };
        // No receiver means that the camera's task has just let go of this connection.
        let _ = self.units.send(unit);
    }

    fn format_of(&mut self, caps: &gst::CapsRef) -> Arc<StreamFormat> {
        match &self.format {
            Some(format) if *format.caps == *caps => Arc::clone(format),
            _ => Arc::clone(self.format.insert(Arc::new(StreamFormat::new(caps.to_owned())))),
        }
    }
}

/// The sink at the end of a live pipeline: publishes on the streaming thread, on the pipeline's running time.
pub(super) fn live_sink(output: &SourceOutput) -> gst::Element {
    use gst::prelude::*;
    let mut publisher = Publisher::new(output);
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some((caps, buffer)) = on_running_time(&sample) {
                publisher.publish(&caps, buffer);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    gst_app::AppSink::builder().sync(false).async_(false).callbacks(callbacks).build().upcast()
}

/// The sample's buffer with its timestamps moved to running time; the bytes stay shared.
pub(super) fn on_running_time(sample: &gst::Sample) -> Option<(gst::Caps, gst::Buffer)> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let mut buffer = sample.buffer_owned()?;
    let (pts, dts) = (segment.to_running_time(buffer.pts()), segment.to_running_time(buffer.dts()));
    let writable = buffer.make_mut();
    writable.set_pts(pts);
    writable.set_dts(dts);
    Some((sample.caps_owned()?, buffer))
}

/// The elements that bring an encoded stream into the form of [`AccessUnit`], for caps as a demuxer or depayloader
/// offers them; empty where the form is right already.
pub(super) fn normalise(media_type: &str) -> Result<Vec<gst::Element>, Failure> {
    let (parser, form) = match media_type {
        "video/x-h264" => ("h264parse", "video/x-h264, stream-format=byte-stream, alignment=au"),
        "video/x-h265" => ("h265parse", "video/x-h265, stream-format=byte-stream, alignment=au"),
        _ => return Ok(Vec::new()),
    };
    let parse = gst::ElementFactory::make(parser)
        // Parameter sets in front of every key picture, so that a consumer can start at any of them.
        .property("config-interval", -1i32)
        .build()
        .map_err(|_| missing_element(parser))?;
    let filter = make("capsfilter")?;
    set_caps(&filter, form)?;
    Ok(vec![parse, filter])
}

/// Sets the `caps` of a capsfilter from their text.
pub(super) fn set_caps(filter: &gst::Element, form: &str) -> Result<(), Failure> {
    use gst::prelude::*;
    let caps: gst::Caps = form.parse().map_err(|_| broken(&format!("asked for {form}")))?;
    filter.set_property("caps", caps);
    Ok(())
}

/// Adds `elements` to `pipeline` behind `pad` and starts them.
pub(super) fn extend(pipeline: &gst::Pipeline, pad: &gst::Pad, elements: &[gst::Element]) -> Result<(), Failure> {
    use gst::prelude::*;
    pipeline.add_many(elements).map_err(|_| broken("extended"))?;
    gst::Element::link_many(elements).map_err(|_| broken("linked"))?;
    for element in elements.iter().rev() {
        element.sync_state_with_parent().map_err(|_| broken("started"))?;
    }
    let sink = elements.first().and_then(|first| first.static_pad("sink")).ok_or_else(|| broken("linked"))?;
    pad.link(&sink).map_err(|_| broken("linked"))?;
    Ok(())
}
