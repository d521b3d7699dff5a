//! The network itself on ONNX Runtime, and its input.

use std::path::Path;
use std::sync::Arc;

use aivms_appliance::pipeline::infer;
use aivms_appliance_core::letterbox::{Content, Normaliser, PackedImage};
use aivms_appliance_core::model::{ColourOrder, LetterboxMode, ModelInput, TensorLayout};
use aivms_deepstream::{OwnedLayer, OwnedTensors};
use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::config::Config;
use crate::pixels::Fitter;

/// A loaded network with what leads a picture into it.
pub(super) struct Network {
    pub(super) config: Config,
    session: Session,
    normaliser: Normaliser,
    tensor: Vec<f32>,
    fitted: Option<Fitted>,
}

/// How the pictures of the batches come into the input.
struct Fitted {
    content: Content,
    fitter: Fitter,
}

impl Network {
    /// Loads the network.
    pub(super) fn load(config: Config) -> Result<Self, String> {
        let session = session(&config.onnx)?;
        let normaliser = Normaliser::new(&input(&config));
        let tensor = vec![0.0; normaliser.tensor_len()];
        Ok(Self { config, session, normaliser, tensor, fitted: None })
    }

    /// Prepares for pictures of another kind.
    pub(super) fn fit(&mut self, pictures: &gst_video::VideoInfo) -> Result<(), String> {
        let content = content(&self.config, (pictures.width(), pictures.height()));
        let fitter = Fitter::new(pictures, (content.width, content.height)).map_err(|error| error.to_string())?;
        self.fitted = Some(Fitted { content, fitter });
        Ok(())
    }

    /// What the network gives for one picture.
    pub(super) fn look(&mut self, picture: &gst::BufferRef) -> Result<OwnedTensors, String> {
        self.fill(picture)?;
        let (width, height) = self.config.network;
        let shape = [1, 3, height as usize, width as usize];
        let input = TensorRef::from_array_view((shape, &*self.tensor)).map_err(|error| error.to_string())?;
        let outputs = self.session.run(ort::inputs![input]).map_err(|error| error.to_string())?;
        let mut layers = Vec::with_capacity(outputs.len());
        for (index, name) in outputs.keys().enumerate() {
            let (shape, data) = outputs[index].try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
            // The real element leaves the batch's own dimension out.
            let dims = shape.iter().skip(1).map(|&side| u32::try_from(side).unwrap_or(0)).collect();
            layers.push(OwnedLayer { name: name.to_owned(), dims, data: Arc::from(data) });
        }
        Ok(OwnedTensors {
            unique_id: self.config.unique_id,
            network: self.config.network,
            maintain_aspect_ratio: self.config.keep_shape,
            symmetric_padding: self.config.symmetric,
            layers,
        })
    }

    fn fill(&mut self, picture: &gst::BufferRef) -> Result<(), String> {
        let Fitted { content, fitter } = self.fitted.as_ref().ok_or("a batch came before its format")?;
        let fitted = fitter.fit(picture).ok_or("a picture can't be read")?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&fitted, fitter.to());
        let frame = frame.map_err(|error| error.to_string())?;
        let image = PackedImage {
            data: frame.plane_data(0).map_err(|error| error.to_string())?,
            width: content.width,
            height: content.height,
            stride: usize::try_from(frame.plane_stride()[0]).map_err(|error| error.to_string())?,
            colour: ColourOrder::Bgr,
        };
        self.normaliser.write(&image, *content, &mut self.tensor).map_err(|error| error.to_string())
    }
}

fn session(onnx: &Path) -> Result<Session, String> {
    let build = || {
        let environment = infer::runtime(None).map_err(|error| error.to_string())?;
        let builder = Session::builder(&environment).map_err(|error| error.to_string())?;
        let builder =
            builder.with_optimization_level(GraphOptimizationLevel::All).map_err(|error| error.to_string())?;
        let builder = builder.with_intra_threads(1).map_err(|error| error.to_string())?;
        let mut builder = builder.with_intra_op_spinning(false).map_err(|error| error.to_string())?;
        builder.commit_from_file(onnx).map_err(|error| error.to_string())
    };
    build().map_err(|error: String| format!("{}: {error}", onnx.display()))
}

/// (pixel - offset) * scale, black where the picture is not.
fn input(config: &Config) -> ModelInput {
    let (width, height) = config.network;
    ModelInput {
        width,
        height,
        colour: config.colour,
        mean: config.offsets,
        std: [1.0 / config.scale; 3],
        // Has no effect on the normaliser, which is told where the picture lies.
        letterbox: LetterboxMode::Stretch,
        pad: 0,
        layout: TensorLayout::NchwF32,
    }
}

/// Where a picture lies in the input, as NVIDIA's open source of nvinfer (DeepStream 9.1) reckons: the side that does
/// not fill the input loses its fraction of a pixel, and so does the space before it.
fn content(config: &Config, (width, height): (u32, u32)) -> Content {
    let (wide, tall) = config.network;
    if !config.keep_shape {
        return Content { x: 0, y: 0, width: wide, height: tall };
    }
    let scaled = |side: u32, to: u32, from: u32| {
        u32::try_from(u64::from(to) * u64::from(side) / u64::from(from.max(1))).unwrap_or(u32::MAX).max(1)
    };
    let fitted = scaled(height, wide, width);
    let (width, height) = if fitted <= tall { (wide, fitted) } else { (scaled(width, tall, height), tall) };
    let space = |all: u32, taken: u32| if config.symmetric { (all - taken) / 2 } else { 0 };
    Content { x: space(wide, width), y: space(tall, height), width, height }
}
