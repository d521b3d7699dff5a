//! One input: its pad, its thread, its events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gstreamer as gst;
use gstreamer::subclass::prelude::*;
use gstreamer_video as gst_video;

use super::imp::Mux;
use super::queue::{Admission, Picture};
use crate::elements::lock;
use crate::pixels::Scaler;

/// One sink pad's own.
#[derive(Default)]
struct Sink {
    info: Option<gst_video::VideoInfo>,
    scaler: Option<Scaler>,
}

pub(super) fn sink_pad(template: &gst::PadTemplate, number: u32) -> gst::Pad {
    let sink = Arc::new(Mutex::new(Sink::default()));
    let of_events = Arc::clone(&sink);
    gst::Pad::builder_from_template(template)
        .name(format!("sink_{number}"))
        .chain_function(move |_, parent, buffer| {
            let failed = || Err(gst::FlowError::Error);
            Mux::catch_panic_pad_function(parent, failed, |mux| mux.take(number, &sink, &buffer))
        })
        .event_function(move |pad, parent, event| {
            Mux::catch_panic_pad_function(parent, || false, |mux| mux.on_event(number, pad, &of_events, event))
        })
        .build()
}

/// The input's thread.
impl Mux {
    fn take(&self, number: u32, sink: &Mutex<Sink>, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let (pixels, source_size) = {
            let mut sink = lock(sink);
            let info = sink.info.clone().ok_or(gst::FlowError::NotNegotiated)?;
            if sink.scaler.as_ref().is_none_or(|scaler| !scaler.fits(&info)) {
                let made = Scaler::new(&info, gst_video::VideoFormat::Nv12, self.size()?);
                sink.scaler = Some(made.map_err(|error| self.fail(&error.to_string()))?);
            }
            let pixels = sink.scaler.as_ref().and_then(|scaler| scaler.scale(buffer));
            (pixels.ok_or_else(|| self.fail("a picture can't be read"))?, (info.width(), info.height()))
        };
        let picture = Picture { pixels, pts: buffer.pts(), source_size, source: number, number: 0 };
        let mut state = self.state();
        loop {
            state.flow?;
            if !state.running {
                return Err(gst::FlowError::Flushing);
            }
            match state.inputs.admit(number) {
                Admission::Now => break,
                Admission::Never(why) => return Err(why),
                Admission::Later => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        state.inputs.push(picture, Instant::now());
        self.changed.notify_all();
        Ok(gst::FlowSuccess::Ok)
    }

    /// Nothing of an input's events travels on, as they concern one stream of many.
    fn on_event(&self, number: u32, pad: &gst::Pad, sink: &Mutex<Sink>, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(caps) => {
                let info = gst_video::VideoInfo::from_caps(caps.caps());
                let known = info.is_ok();
                lock(sink).info = info.ok();
                return known;
            }
            gst::EventView::FlushStart(_) => self.state().inputs.flush(number, true),
            gst::EventView::FlushStop(_) => self.state().inputs.flush(number, false),
            gst::EventView::Eos(_) => self.state().inputs.end(number),
            gst::EventView::StreamStart(_) | gst::EventView::Segment(_) => return true,
            _ if event.is_serialized() => return true,
            _ => return gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
        self.changed.notify_all();
        true
    }
}
