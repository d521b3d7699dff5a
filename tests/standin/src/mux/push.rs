//! The thread that pushes batches.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use aivms_deepstream::FrameInfo;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use super::imp::Mux;
use super::news;
use super::queue::{Picture, Step};
use crate::nvmm::FEATURE;

impl Mux {
    pub(super) fn activate(&self, active: bool) -> Result<(), gst::LoggableError> {
        {
            let mut state = self.state();
            state.running = active;
            state.announced = false;
            state.flow = Ok(gst::FlowSuccess::Ok);
        }
        self.changed.notify_all();
        if !active {
            return Ok(self.src.stop_task()?);
        }
        let mux = self.obj().downgrade();
        Ok(self.src.start_task(move || {
            if let Some(mux) = mux.upgrade() {
                mux.imp().step();
            }
        })?)
    }

    fn step(&self) {
        let Some(step) = self.wait() else {
            let _ = self.src.pause_task();
            return;
        };
        self.announce();
        let flow = match step {
            Step::Batch(pictures) => self.push(pictures),
            Step::Tell(event, number) => {
                self.tell(event, number);
                Ok(gst::FlowSuccess::Ok)
            }
            Step::End => {
                self.src.push_event(gst::event::Eos::new());
                Ok(gst::FlowSuccess::Ok)
            }
            Step::Wait(_) => return,
        };
        if let Err(error) = flow {
            self.state().flow = Err(error);
            self.changed.notify_all();
            let _ = self.src.pause_task();
            if !matches!(error, gst::FlowError::Flushing | gst::FlowError::Eos) {
                gst::element_imp_error!(self, gst::StreamError::Failed, ("the elements behind refuse: {error}"));
            }
        }
    }

    /// What to do, once there is something; `None` when the element stops.
    fn wait(&self) -> Option<Step> {
        let timeout = self.values.int("batched-push-timeout").and_then(|micros| u64::try_from(micros).ok());
        let timeout = timeout.map(Duration::from_micros);
        let size = usize::try_from(self.batch_size()).unwrap_or(1);
        let mut state = self.state();
        while state.running {
            let now = Instant::now();
            match state.inputs.next(size, timeout, now) {
                Step::Wait(None) => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Step::Wait(Some(due)) => {
                    let waited = self.changed.wait_timeout(state, due.saturating_duration_since(now));
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                step => {
                    // An input that was held up may go on.
                    self.changed.notify_all();
                    return Some(step);
                }
            }
        }
        None
    }

    /// Says once what is to come.
    fn announce(&self) {
        if std::mem::replace(&mut self.state().announced, true) {
            return;
        }
        let Ok((width, height)) = self.size() else { return };
        let side = |pixels| i32::try_from(pixels).unwrap_or(i32::MAX);
        let caps = gst::Caps::builder("video/x-raw")
            .features([FEATURE])
            .field("format", "NV12")
            .field("width", side(width))
            .field("height", side(height))
            .field("framerate", gst::Fraction::new(0, 1))
            .field("batch-size", side(self.batch_size()))
            .build();
        self.src.push_event(gst::event::StreamStart::new("nvstreammux"));
        self.src.push_event(gst::event::Caps::new(&caps));
        self.src.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    }

    fn push(&self, pictures: Vec<Picture>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let size = self.size()?;
        let library = crate::meta::library().map_err(|error| self.fail(&error))?;
        let mut batch = gst::Buffer::new();
        let fresh = batch.make_mut();
        fresh.set_pts(pictures.first().and_then(|picture| picture.pts));
        let mut frames = Vec::with_capacity(pictures.len());
        for (place, picture) in (0..).zip(pictures) {
            frames.push(FrameInfo {
                source_id: picture.source,
                pad_index: picture.source,
                batch_id: place,
                frame_num: picture.number,
                pts: picture.pts.map(gst::ClockTime::nseconds),
                source_size: picture.source_size,
                pipeline_size: Some(size),
            });
            batch.append(picture.pixels);
        }
        let filled = library
            .attach_batch(batch.make_mut(), self.batch_size())
            .and_then(|mut meta| frames.iter().try_for_each(|frame| meta.add_frame(frame).map(drop)));
        filled.map_err(|error| self.fail(&error.to_string()))?;
        self.src.push(batch)
    }

    fn tell(&self, event: &'static str, number: u32) {
        let said = gst::Structure::builder(event).field(news::SOURCE, number).build();
        if event == news::STREAM_EOS {
            let message = gst::Structure::builder("stream-eos").field("stream-id", number).build();
            let _ = self.obj().post_message(gst::message::Element::builder(message).src(&*self.obj()).build());
        }
        self.src.push_event(gst::event::CustomDownstream::new(said));
    }
}
