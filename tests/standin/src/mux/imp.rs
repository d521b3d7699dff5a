//! The muxer's pads and threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aivms_deepstream::FrameInfo;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use gstreamer_video as gst_video;

use super::news;
use super::queue::{Admission, Inputs, Picture, Step};
use crate::elements::{Values, boolean, int, keep_properties, lock, metadata, template, uint};
use crate::nvmm::{BATCHED, FEATURE};
use crate::pixels::Scaler;

/// Largest number of pictures in a batch.
const LARGEST_BATCH: u32 = 1024;

pub(crate) struct Mux {
    values: Values,
    src: gst::Pad,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    inputs: Inputs,
    /// Whether the source pad is active.
    running: bool,
    /// What the elements behind said to the last batch.
    flow: Result<gst::FlowSuccess, gst::FlowError>,
    announced: bool,
}

/// One sink pad's own.
#[derive(Default)]
struct Sink {
    info: Option<gst_video::VideoInfo>,
    scaler: Option<Scaler>,
}

#[glib::object_subclass]
impl ObjectSubclass for Mux {
    const NAME: &'static str = "AivmsStandinMux";
    type Type = super::Mux;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = class.pad_template("src").expect("the class has it");
        let src = gst::Pad::builder_from_template(&template)
            .activatemode_function(|_, parent, _, active| {
                let refused = || Err(gst::loggable_error!(gst::CAT_RUST, "panicked"));
                Self::catch_panic_pad_function(parent, refused, |mux| mux.activate(active))
            })
            .build();
        let state =
            State { inputs: Inputs::default(), running: false, flow: Ok(gst::FlowSuccess::Ok), announced: false };
        Self { values: Values::default(), src, state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl ObjectImpl for Mux {
    keep_properties!(
        boolean("live-source", false),
        uint("width", 0),
        uint("height", 0),
        uint("batch-size", 0),
        int("batched-push-timeout", -1..=i32::MAX, -1),
        boolean("enable-padding", false)
    );

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().add_pad(&self.src).expect("a new element has no pads");
    }
}

impl GstObjectImpl for Mux {}

impl ElementImpl for Mux {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
        Some(METADATA.get_or_init(|| metadata("Stream muxer", "Generic")))
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
        TEMPLATES.get_or_init(|| {
            vec![
                template("sink_%u", gst::PadDirection::Sink, gst::PadPresence::Request, BATCHED),
                template("src", gst::PadDirection::Src, gst::PadPresence::Always, BATCHED),
            ]
        })
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let asked = name.map(|name| name.strip_prefix("sink_")?.parse().ok());
        let number = {
            let mut state = self.state();
            let number = asked.unwrap_or_else(|| Some(state.inputs.free_number()))?;
            state.inputs.add(number).then_some(number)?
        };
        self.changed.notify_all();
        let pad = sink_pad(template, number);
        self.obj().add_pad(&pad).ok()?;
        Some(pad)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        if let Some(number) = number(pad) {
            self.state().inputs.remove(number);
            self.changed.notify_all();
        }
        // Waits for the input's thread, which has just been told to leave.
        let _ = pad.set_active(false);
        let _ = self.obj().remove_pad(pad);
    }
}

fn number(pad: &gst::Pad) -> Option<u32> {
    pad.name().strip_prefix("sink_")?.parse().ok()
}

fn sink_pad(template: &gst::PadTemplate, number: u32) -> gst::Pad {
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

/// The thread that pushes batches.
impl Mux {
    fn activate(&self, active: bool) -> Result<(), gst::LoggableError> {
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

impl Mux {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Width and height that every input is scaled to; NVIDIA's muxer does not start without them either.
    fn size(&self) -> Result<(u32, u32), gst::FlowError> {
        let side = |name| self.values.uint(name).filter(|pixels| *pixels > 0);
        side("width").zip(side("height")).ok_or_else(|| self.fail("width and height must be set"))
    }

    fn batch_size(&self) -> u32 {
        self.values.uint("batch-size").unwrap_or(1).clamp(1, LARGEST_BATCH)
    }

    fn fail(&self, why: &str) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Failed, ("{why}"));
        gst::FlowError::Error
    }
}
