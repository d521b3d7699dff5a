//! Model description files: what a detector wants and what it gives.
//!
//! One TOML file per model, next to its ONNX file. A [`ModelDescription`] can only be made by parsing one, and parsing
//! checks every field, so the code that uses it never meets a stride of zero or a label list that is too long.

mod coco;
mod fields;

use serde::Deserialize;

use crate::detection::ClassId;

/// Largest input side in pixels; more is a mistake, not a detector (1280 is the largest in use).
pub const MAX_INPUT_SIDE: u32 = 4096;
/// Most labels of a model; the largest public detection set has about 1,200.
pub const MAX_LABELS: usize = 4096;

/// Everything the edge must know about a detector to feed it and to read its outputs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "fields::Fields")]
#[non_exhaustive]
pub struct ModelDescription {
    /// Name of the ONNX file, which lies in the same folder as the description.
    pub file: String,
    /// How the outputs are read.
    pub family: Family,
    /// How a frame becomes the input tensor.
    pub input: ModelInput,
    /// Class names; the position is the [`ClassId`].
    pub labels: Vec<String>,
    /// Input pixels per cell of each output grid, in the order in which the model lists the grids; empty for a family
    /// whose export has done its grids.
    pub strides: Vec<u32>,
    /// Confidence from which a box counts when the settings name none, 0 to 1.
    pub confidence: f32,
    /// Overlap above which two boxes of one class are the same object, 0 to 1; `None` for a family that finds each
    /// object once.
    pub nms_iou: Option<f32>,
}

/// Layout of a detector's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// NanoDet before "Plus": per stride class scores and box side distributions.
    Nanodet,
    /// YOLOX exported without its decoder: one tensor of grid offsets, objectness and class scores.
    Yolox,
    /// YOLOv8 and YOLO11: one tensor, four planes of box and one per class.
    Yolov8,
    /// YOLO26, YOLOv10: rows of corners, score and class, one per object.
    YoloEndToEnd,
    /// RT-DETR: boxes in fractions of the input with scores or a chosen class, one per object.
    Rtdetr,
    /// D-FINE: boxes in fractions with scores before their sigmoid, or labels, boxes and scores, one per object.
    Dfine,
}

impl Family {
    /// The name in a description.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nanodet => "nanodet",
            Self::Yolox => "yolox",
            Self::Yolov8 => "yolov8",
            Self::YoloEndToEnd => "yolo_end_to_end",
            Self::Rtdetr => "rtdetr",
            Self::Dfine => "dfine",
        }
    }

    /// Whether the outputs are grids whose strides must be known.
    #[must_use]
    pub fn has_grids(self) -> bool {
        matches!(self, Self::Nanodet | Self::Yolox)
    }

    /// Whether one object comes as many boxes, of which the best must be chosen.
    #[must_use]
    pub fn repeats_objects(self) -> bool {
        matches!(self, Self::Nanodet | Self::Yolox | Self::Yolov8)
    }
}

/// Size, colour and scale of the input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInput {
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Order of the three channels.
    pub colour: ColourOrder,
    /// Subtracted from each channel, in pixel units of 0 to 255 and in the order of `colour`.
    pub mean: [f32; 3],
    /// Divides each channel after the subtraction.
    pub std: [f32; 3],
    /// How a frame of another shape is fitted in.
    pub letterbox: LetterboxMode,
    /// Grey level, 0 to 255 before normalisation, of what the frame does not cover.
    pub pad: u8,
    /// Order and type of the numbers.
    pub layout: TensorLayout,
}

/// Order of the colour channels, of a model's input or of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// How a frame is fitted into an input of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterboxMode {
    /// Both sides are scaled to fill the input; the shape changes.
    Stretch,
    /// The shape is kept; the frame lies in the top left corner.
    TopLeft,
    /// The shape is kept; the frame lies in the middle.
    Centred,
}

/// Order and type of the numbers of an input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorLayout {
    /// One plane per channel, 32-bit floats, batch of one.
    NchwF32,
}

/// Says which field of a model description is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ModelError {
    /// The field, with a dot before a field of a table.
    pub field: &'static str,
    /// What it must be and what it is.
    pub reason: String,
}

impl ModelDescription {
    /// Name of a class; `None` for a class the model does not have.
    #[must_use]
    pub fn label(&self, class: ClassId) -> Option<&str> {
        self.labels.get(usize::from(class)).map(String::as_str)
    }

    /// The class of a name.
    #[must_use]
    pub fn class(&self, label: &str) -> Option<ClassId> {
        self.labels.iter().position(|known| known == label).and_then(|index| ClassId::try_from(index).ok())
    }
}

#[cfg(test)]
mod tests;
