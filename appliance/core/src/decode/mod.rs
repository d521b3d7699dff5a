//! From a detector's output tensors to boxes, per model family.

mod dfine;
mod find;
mod nanodet;
mod row;
mod rtdetr;
mod yolo_end_to_end;
mod yolov8;
mod yolox;

use crate::detection::Detected;
use crate::letterbox::Letterbox;
use crate::model::{Family, ModelDescription};
use crate::nms;

/// One output of a network, as the inference engine lends it.
#[derive(Debug, Clone, Copy)]
pub struct OutputTensor<'a> {
    /// The layer's name, for messages.
    pub name: &'a str,
    /// The numbers, the last dimension varying fastest.
    pub data: &'a [f32],
    /// Length of each dimension, with or without the batch of one in front.
    pub shape: &'a [usize],
}

/// Says why outputs are not those of the model that is described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A tensor's length is not the product of its dimensions.
    #[error("output {name}: {len} numbers do not fill the shape {shape:?}")]
    Length {
        /// The layer.
        name: String,
        /// Numbers given.
        len: usize,
        /// Dimensions given.
        shape: Vec<usize>,
    },
    /// An output that the family needs is missing or has another shape.
    #[error(
        "no output of shape {shape} ({what}) among {found}; check family, input size, strides and labels of the model description"
    )]
    Missing {
        /// What the output would hold.
        what: &'static str,
        /// The shape it must have, with words for lengths that are free.
        shape: String,
        /// Name and shape of each output there is.
        found: String,
    },
    /// Two outputs have the shape of one that the family needs.
    #[error("outputs {first} and {second} could both be the {what} of shape {shape}")]
    Ambiguous {
        /// What the output would hold.
        what: &'static str,
        /// The shape of both, with words for lengths that are free.
        shape: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A score is above 1: the model was exported without its last sigmoid.
    #[error("output {name} holds the score {score}, but scores are 0 to 1; export the model with its sigmoid")]
    Score {
        /// The layer.
        name: String,
        /// The score, as text.
        score: String,
    },
    /// What must be scores before their sigmoid holds no negative number, so the sigmoid is done already.
    #[error(
        "output {name} holds no negative number, but must hold scores before their sigmoid; export the model without it"
    )]
    Logits {
        /// The layer.
        name: String,
    },
    /// A coordinate that must be a fraction of the input is far above 1.
    #[error(
        "output {name} holds the coordinate {coordinate}, but boxes are fractions of the input, 0 to 1; export them so"
    )]
    Fraction {
        /// The layer.
        name: String,
        /// The coordinate, as text.
        coordinate: String,
    },
    /// A class number has no label.
    #[error("output {name} names the class {class}, but the model description has {labels} labels")]
    Class {
        /// The layer.
        name: String,
        /// The class number, as text.
        class: String,
        /// Labels of the description.
        labels: usize,
    },
}

/// Reads the boxes of `threshold` and more confidence, in pixels of the network's input, not yet suppressed.
///
/// Boxes may reach over the input's edges. Rows with numbers that are not finite are left out: a detector that
/// overflows sees nothing there, and the frame goes on.
///
/// # Errors
/// The outputs are not those of the described model.
pub fn decode(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    outputs.iter().try_for_each(check_length)?;
    match model.family {
        Family::Nanodet => nanodet::decode(model, outputs, threshold),
        Family::Yolox => yolox::decode(model, outputs, threshold),
        Family::Yolov8 => yolov8::decode(model, outputs, threshold),
        Family::YoloEndToEnd => yolo_end_to_end::decode(model, outputs, threshold),
        Family::Rtdetr => rtdetr::decode(model, outputs, threshold),
        Family::Dfine => dfine::decode(model, outputs, threshold),
    }
}

/// Reads the outputs for one frame down to what a tracker takes: one box per object, in pixels of the frame.
///
/// Ordered by falling confidence.
///
/// # Errors
/// The outputs are not those of the described model.
pub fn detections(
    model: &ModelDescription,
    letterbox: &Letterbox,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let candidates = decode(model, outputs, threshold)?;
    let kept = match model.nms_iou {
        Some(iou) => nms::suppress(candidates, iou),
        None => nms::single(candidates),
    };
    let in_frame = |found: Detected| Some(Detected { bbox: letterbox.to_frame(found.bbox)?, ..found });
    Ok(kept.into_iter().filter_map(in_frame).collect())
}

fn check_length(output: &OutputTensor<'_>) -> Result<(), DecodeError> {
    let product = output.shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    if product == Some(output.data.len()) {
        return Ok(());
    }
    Err(DecodeError::Length { name: output.name.to_owned(), len: output.data.len(), shape: output.shape.to_vec() })
}

/// One of the grids that a network puts over its input.
#[derive(Debug, Clone, Copy)]
struct Grid {
    stride: usize,
    /// Cells per line.
    width: usize,
    /// Cells in all.
    cells: usize,
}

fn grids(model: &ModelDescription) -> impl Iterator<Item = Grid> + '_ {
    model.strides.iter().map(|&stride| {
        let width = (model.input.width / stride) as usize;
        let height = (model.input.height / stride) as usize;
        Grid { stride: stride as usize, width, cells: width * height }
    })
}

impl Grid {
    /// Column and row of a cell.
    fn position(self, cell: usize) -> (f32, f32) {
        ((cell % self.width) as f32, (cell / self.width) as f32)
    }
}

#[cfg(test)]
mod tests;
