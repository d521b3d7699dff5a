//! The element around the network.

use std::sync::Mutex;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_base as gst_base;
use gstreamer_base::subclass::prelude::*;
use gstreamer_video as gst_video;

use super::config;
use super::network::Network;
use crate::elements::{Values, describe, keep_properties, lock, text};
use crate::nvmm::BATCHED;
use crate::pixels;

/// Beside the network's file: when a file of its name with this ending exists, the next batch is an error. For tests.
const FAULT: &str = "onnx.fail";

#[derive(Default)]
pub(crate) struct Infer {
    values: Values,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pictures: Option<gst_video::VideoInfo>,
    network: Option<Network>,
    /// Batches that came.
    batches: u64,
}

#[glib::object_subclass]
impl ObjectSubclass for Infer {
    const NAME: &'static str = "AivmsStandinInfer";
    type Type = super::Infer;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for Infer {
    keep_properties!(text("config-file-path"));
}

impl GstObjectImpl for Infer {}

impl ElementImpl for Infer {
    // The last word of the class says that the element runs ONNX files itself, which the real one does not.
    describe!("Inference", "Filter/Effect/Video/OnnxRuntime", [BATCHED, BATCHED]);
}

impl BaseTransformImpl for Infer {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let refuse = |why: String| gst::error_msg!(gst::LibraryError::Settings, ("{why}"));
        let path = self.values.text("config-file-path").ok_or_else(|| refuse("config-file-path must be set".into()))?;
        let text = std::fs::read_to_string(&path).map_err(|error| refuse(format!("{path}: {error}")))?;
        let config = config::parse(&text).map_err(|error| refuse(format!("{path}: {error}")))?;
        let network = Network::load(config).map_err(refuse)?;
        *lock(&self.state) = State { network: Some(network), ..State::default() };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn set_caps(&self, caps: &gst::Caps, _: &gst::Caps) -> Result<(), gst::LoggableError> {
        let structure = caps.structure(0);
        let side = |name| structure.and_then(|s| u32::try_from(s.get::<i32>(name).ok()?).ok());
        let size = side("width").zip(side("height"));
        let size = size.ok_or_else(|| gst::loggable_error!(gst::CAT_RUST, "no size in {caps}"))?;
        let mut state = lock(&self.state);
        let pictures = pixels::of_batch(size)?;
        let network = state.network.as_mut().ok_or_else(|| gst::loggable_error!(gst::CAT_RUST, "not started"))?;
        network.fit(&pictures).map_err(|why| gst::loggable_error!(gst::CAT_RUST, "{why}"))?;
        state.pictures = Some(pictures);
        Ok(())
    }

    fn transform_ip(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let looked = self.look(buffer);
        looked.map_err(|why| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{why}"));
            gst::FlowError::Error
        })
    }
}

impl Infer {
    fn look(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, String> {
        let mut state = lock(&self.state);
        let State { pictures: Some(pictures), network: Some(network), batches } = &mut *state else {
            return Err("a batch came before its format".to_owned());
        };
        let fault = network.config.onnx.with_extension(FAULT);
        if fault.exists() {
            return Err(format!("told to fail by {}", fault.display()));
        }
        let skipped = !batches.is_multiple_of(u64::from(network.config.interval) + 1);
        *batches += 1;
        if skipped {
            return Ok(gst::FlowSuccess::Ok);
        }
        let library = crate::meta::library()?;
        let places: Vec<u32> = match library.read_batch(buffer).map_err(|error| error.to_string())? {
            Some(batch) => batch.frames().map(|frame| frame.batch_id()).collect(),
            None => return Err("a buffer without batch metadata".to_owned()),
        };
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            let picture = pixels::picture(buffer, place, pictures).ok_or("a batch without a frame's picture")?;
            found.push((place, network.look(&picture)?));
        }
        let batch = library.batch(buffer).map_err(|error| error.to_string())?;
        let mut batch = batch.ok_or("a buffer without batch metadata")?;
        for mut frame in batch.frames_mut() {
            let of_frame = found.iter().find(|(place, _)| *place == frame.batch_id());
            if let Some((_, tensors)) = of_frame {
                frame.attach_tensors(tensors.clone()).map_err(|error| error.to_string())?;
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
