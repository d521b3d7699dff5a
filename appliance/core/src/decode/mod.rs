//! From a detector's output tensors to boxes, per model family.

mod nanodet;
mod row;
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
        "no output of shape [1, {rows}, {columns}] ({what}) among {found}; check family, input size, strides and labels of the model description"
    )]
    Missing {
        /// What the output would hold.
        what: &'static str,
        /// Rows it must have.
        rows: usize,
        /// Columns it must have, a number or a rule.
        columns: String,
        /// Name and shape of each output there is.
        found: String,
    },
    /// Two outputs have the shape of one that the family needs.
    #[error("outputs {first} and {second} could both be the {what} of {rows} rows")]
    Ambiguous {
        /// What the output would hold.
        what: &'static str,
        /// Rows of both.
        rows: usize,
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
    let kept = nms::suppress(candidates, model.nms_iou);
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

impl OutputTensor<'_> {
    /// Rows and columns, without dimensions of one in front; `None` when there are more than two.
    fn table(&self) -> Option<(usize, usize)> {
        let [batch @ .., rows, columns] = self.shape else { return None };
        batch.iter().all(|&side| side == 1).then_some((*rows, *columns))
    }
}

/// Finds the one output of `rows` rows whose number of columns `fits`.
fn find<'o, 't>(
    outputs: &'o [OutputTensor<'t>],
    what: &'static str,
    rows: usize,
    columns: impl Into<String>,
    fits: impl Fn(usize) -> bool,
) -> Result<&'o OutputTensor<'t>, DecodeError> {
    let is_it = |output: &&OutputTensor<'_>| output.table().is_some_and(|(r, c)| r == rows && fits(c));
    let mut found = outputs.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(output), None) => Ok(output),
        (Some(first), Some(second)) => {
            let (first, second) = (first.name.to_owned(), second.name.to_owned());
            Err(DecodeError::Ambiguous { what, rows, first, second })
        }
        (None, _) => Err(DecodeError::Missing { what, rows, columns: columns.into(), found: list(outputs) }),
    }
}

fn list(outputs: &[OutputTensor<'_>]) -> String {
    let each: Vec<_> = outputs.iter().map(|output| format!("{} {:?}", output.name, output.shape)).collect();
    if each.is_empty() { "no outputs".to_owned() } else { each.join(", ") }
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
