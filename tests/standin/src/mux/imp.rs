//! The element: its properties and its pads.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use super::queue::Inputs;
use super::sink::sink_pad;
use crate::elements::{Values, boolean, int, keep_properties, lock, metadata, template, uint};
use crate::nvmm::BATCHED;

/// Largest number of pictures in a batch.
const LARGEST_BATCH: u32 = 1024;

pub(crate) struct Mux {
    pub(super) values: Values,
    pub(super) src: gst::Pad,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

pub(super) struct State {
    pub(super) inputs: Inputs,
    /// Whether the source pad is active.
    pub(super) running: bool,
    /// What the elements behind said to the last batch.
    pub(super) flow: Result<gst::FlowSuccess, gst::FlowError>,
    pub(super) announced: bool,
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

impl Mux {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Width and height that every input is scaled to; NVIDIA's muxer does not start without them either.
    pub(super) fn size(&self) -> Result<(u32, u32), gst::FlowError> {
        let side = |name| self.values.uint(name).filter(|pixels| *pixels > 0);
        side("width").zip(side("height")).ok_or_else(|| self.fail("width and height must be set"))
    }

    pub(super) fn batch_size(&self) -> u32 {
        self.values.uint("batch-size").unwrap_or(1).clamp(1, LARGEST_BATCH)
    }

    pub(super) fn fail(&self, why: &str) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Failed, ("{why}"));
        gst::FlowError::Error
    }
}
