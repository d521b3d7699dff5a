//! A pipeline that turns buffers into other buffers, one after the other, for a thread of its own.

use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::error::MaskError;

/// Buffers that wait in front; when more do, whoever pushes waits for a result first.
const WAITING: u64 = 4;
/// Time in which a pipeline with something to do has to give something.
const HANGS_AFTER: Duration = Duration::from_secs(20);
/// Pause between two looks at a pipeline that has nothing yet.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(10);

/// The pipeline; dropping it takes it down.
pub(super) struct Stage {
    what: &'static str,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
}

impl Stage {
    /// Starts `elements` between a source of `caps` and a sink of what `gives` allows.
    pub(super) fn start(
        what: &'static str,
        caps: &gst::Caps,
        between: Vec<gst::Element>,
        gives: Option<&gst::Caps>,
    ) -> Result<Self, MaskError> {
        let source =
            gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).max_buffers(0).max_bytes(0).build();
        let mut sink = gst_app::AppSink::builder().sync(false).max_buffers(2).drop(false);
        if let Some(gives) = gives {
            sink = sink.caps(gives);
        }
        let (sink, pipeline) = (sink.build(), gst::Pipeline::new());
        let mut elements = vec![source.clone().upcast()];
        elements.extend(between);
        elements.push(sink.clone().upcast());
        let linked = pipeline.add_many(&elements).and_then(|()| gst::Element::link_many(&elements));
        linked.map_err(|_| MaskError::Pipeline(what))?;
        let stage = Self { what, pipeline, source, sink };
        stage.pipeline.set_state(gst::State::Playing).map_err(|_| MaskError::Pipeline(what))?;
        Ok(stage)
    }

    /// Says that what comes from now on has other caps.
    pub(super) fn set_caps(&self, caps: &gst::Caps) {
        self.source.set_caps(Some(caps));
    }

    /// Hands over a buffer and takes what is ready.
    pub(super) fn push(&self, buffer: gst::Buffer) -> Result<Vec<gst::Sample>, MaskError> {
        self.source.push_buffer(buffer).map_err(|flow| self.why(&flow.to_string()))?;
        let (mut ready, start) = (vec![], Instant::now());
        loop {
            let wait = if self.source.current_level_buffers() > WAITING { LOOK } else { gst::ClockTime::ZERO };
            match self.sink.try_pull_sample(wait) {
                Some(sample) => ready.push(sample),
                None if wait.is_zero() => return Ok(ready),
                None => self.check(start)?,
            }
        }
    }

    /// Hands over nothing more and gives what is left.
    pub(super) fn finish(&self) -> Result<Vec<gst::Sample>, MaskError> {
        self.source.end_of_stream().map_err(|flow| self.why(&flow.to_string()))?;
        let (mut rest, mut start) = (vec![], Instant::now());
        loop {
            match self.sink.try_pull_sample(LOOK) {
                Some(sample) => {
                    rest.push(sample);
                    start = Instant::now();
                }
                None if self.sink.is_eos() => return Ok(rest),
                None => self.check(start)?,
            }
        }
    }

    fn check(&self, start: Instant) -> Result<(), MaskError> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        if start.elapsed() > HANGS_AFTER { Err(MaskError::Hangs(self.what)) } else { Ok(()) }
    }

    fn why(&self, cause: &str) -> MaskError {
        self.error().unwrap_or_else(|| MaskError::Failed { what: self.what, cause: cause.to_owned() })
    }

    fn error(&self) -> Option<MaskError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(MaskError::Failed { what: self.what, cause: error.error().message().to_owned() })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

pub(super) fn make(factory: &'static str) -> Result<gst::Element, MaskError> {
    gst::ElementFactory::make(factory).build().map_err(|_| MaskError::MissingElement(factory))
}
