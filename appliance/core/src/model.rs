//! Model description files: what a detector wants and what it gives.
//!
//! One TOML file per model, next to its ONNX file. A [`ModelDescription`] can only be made by parsing one, and parsing
//! checks every field, so the code that uses it never meets a stride of zero or a label list that is too long.

mod coco;

use serde::Deserialize;

use crate::detection::ClassId;

/// Largest input side in pixels; more is a mistake, not a detector (1280 is the largest in use).
pub const MAX_INPUT_SIDE: u32 = 4096;
/// Most labels of a model; the largest public detection set has about 1,200.
pub const MAX_LABELS: usize = 4096;

/// Everything the edge must know about a detector to feed it and to read its outputs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Fields")]
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
    /// Input pixels per cell of each output grid, in the order in which the model lists the grids.
    pub strides: Vec<u32>,
    /// Confidence from which a box counts when the settings name none, 0 to 1.
    pub confidence: f32,
    /// Overlap above which two boxes of one class are the same object, 0 to 1.
    pub nms_iou: f32,
}

/// Layout of a detector's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Family {
    /// NanoDet before "Plus": per stride class scores and box side distributions.
    Nanodet,
    /// YOLOX exported without its decoder: one tensor of grid offsets, objectness and class scores.
    Yolox,
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

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    file: String,
    family: Family,
    input: ModelInput,
    labels: LabelSource,
    strides: Vec<u32>,
    confidence: f32,
    nms_iou: f32,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "labels: must be a list of names or the name of a built-in list, \"coco80\"")]
enum LabelSource {
    Named(String),
    Listed(Vec<String>),
}

impl TryFrom<Fields> for ModelDescription {
    type Error = ModelError;

    fn try_from(fields: Fields) -> Result<Self, ModelError> {
        check_file(&fields.file)?;
        check_input(&fields.input)?;
        check_strides(&fields.strides, &fields.input)?;
        check_fraction("confidence", fields.confidence)?;
        check_fraction("nms_iou", fields.nms_iou)?;
        Ok(Self {
            labels: read_labels(fields.labels)?,
            file: fields.file,
            family: fields.family,
            input: fields.input,
            strides: fields.strides,
            confidence: fields.confidence,
            nms_iou: fields.nms_iou,
        })
    }
}

fn refuse(field: &'static str, reason: String) -> Result<(), ModelError> {
    Err(ModelError { field, reason })
}

fn check_file(file: &str) -> Result<(), ModelError> {
    let plain = !file.contains(['/', '\\', '\0']) && file.strip_suffix(".onnx").is_some_and(|stem| !stem.is_empty());
    if plain {
        return Ok(());
    }
    refuse("file", format!("must be the name of an .onnx file in the description's folder, is {file:?}"))
}

fn check_input(input: &ModelInput) -> Result<(), ModelError> {
    for (field, side) in [("input.width", input.width), ("input.height", input.height)] {
        if !(1..=MAX_INPUT_SIDE).contains(&side) {
            return refuse(field, format!("must be 1 to {MAX_INPUT_SIDE} pixels, is {side}"));
        }
    }
    if input.mean.iter().any(|mean| !mean.is_finite()) {
        return refuse("input.mean", format!("must be three finite numbers, is {:?}", input.mean));
    }
    if input.std.iter().any(|std| !std.is_normal() || *std < 0.0) {
        return refuse("input.std", format!("must be three numbers above 0, is {:?}", input.std));
    }
    Ok(())
}

fn check_strides(strides: &[u32], input: &ModelInput) -> Result<(), ModelError> {
    if strides.is_empty() {
        return refuse("strides", "must list at least one stride, such as [8, 16, 32]".to_owned());
    }
    if !strides.is_sorted_by(|a, b| a < b) {
        return refuse("strides", format!("must rise without repeats, is {strides:?}"));
    }
    let divides = |stride: u32| stride > 0 && input.width.is_multiple_of(stride) && input.height.is_multiple_of(stride);
    match strides.iter().find(|&&stride| !divides(stride)) {
        Some(stride) => {
            let (width, height) = (input.width, input.height);
            refuse("strides", format!("must each divide the input of {width}x{height} pixels, {stride} does not"))
        }
        None => Ok(()),
    }
}

fn check_fraction(field: &'static str, value: f32) -> Result<(), ModelError> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    refuse(field, format!("must be above 0 and at most 1, is {value}"))
}

fn read_labels(source: LabelSource) -> Result<Vec<String>, ModelError> {
    let labels = match source {
        LabelSource::Listed(labels) => labels,
        LabelSource::Named(name) if name == "coco80" => coco::LABELS.map(str::to_owned).to_vec(),
        LabelSource::Named(name) => {
            let reason = format!("the only built-in list is \"coco80\", is {name:?}");
            return Err(ModelError { field: "labels", reason });
        }
    };
    check_labels(&labels).map(|()| labels)
}

fn check_labels(labels: &[String]) -> Result<(), ModelError> {
    if !(1..=MAX_LABELS).contains(&labels.len()) {
        return refuse("labels", format!("must be 1 to {MAX_LABELS} names, are {}", labels.len()));
    }
    if let Some(label) = labels.iter().find(|label| label.trim().is_empty() || label.contains(char::is_control)) {
        return refuse("labels", format!("must be readable names, one is {label:?}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    match labels.iter().find(|label| !seen.insert(label.as_str())) {
        Some(label) => refuse("labels", format!("must differ, {label:?} occurs twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANODET: &str = include_str!("../../models/nanodet-g-416.toml");
    const YOLOX: &str = include_str!("../../models/yolox-nano-416.toml");

    fn parse(text: &str) -> Result<ModelDescription, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn the_shipped_descriptions_are_read() {
        let nanodet = parse(NANODET).unwrap();
        assert_eq!((nanodet.family, nanodet.input.colour), (Family::Nanodet, ColourOrder::Bgr));
        let yolox = parse(YOLOX).unwrap();
        assert_eq!((yolox.family, yolox.input.letterbox), (Family::Yolox, LetterboxMode::TopLeft));
        for model in [nanodet, yolox] {
            assert_eq!((model.label(0), model.label(79), model.label(80)), (Some("person"), Some("toothbrush"), None));
            assert_eq!((model.class("truck"), model.class("unicorn")), (Some(7), None));
        }
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_name_of_its_field() {
        let check = |from: &str, to: &str, said: &str| {
            assert!(NANODET.contains(from), "{from} is in the shipped file");
            let error = parse(&NANODET.replace(from, to)).expect_err(to);
            assert!(error.contains(said), "{to}: {error}");
        };
        check("file = \"nanodet_g_416.onnx\"", "file = \"../secret.onnx\"", "file: must be the name");
        check("file = \"nanodet_g_416.onnx\"", "file = \"model.pt\"", "file: must be the name");
        check("family = \"nanodet\"", "family = \"yolov1\"", "family");
        check("width = 416", "width = 0", "input.width: must be 1 to 4096 pixels, is 0");
        check("height = 416", "height = 420", "strides: must each divide the input of 416x420 pixels, 8 does not");
        check("mean = [103.53, 116.28, 123.675]", "mean = [nan, 0.0, 0.0]", "input.mean");
        check("std = [57.375, 57.12, 58.395]", "std = [1.0, 0.0, 1.0]", "input.std");
        check("std = [57.375, 57.12, 58.395]", "std = [1.0, 1.0]", "std");
        check("strides = [8, 16, 32]", "strides = [8, 8, 16]", "strides: must rise");
        check("strides = [8, 16, 32]", "strides = []", "strides: must list");
        check("strides = [8, 16, 32]", "strides = [0, 8]", "0 does not");
        check("labels = \"coco80\"", "labels = \"coco81\"", "labels: the only built-in list is \"coco80\"");
        check("labels = \"coco80\"", "labels = 80", "labels: must be a list of names");
        check("labels = \"coco80\"", "labels = [\"person\", \"person\"]", "labels: must differ, \"person\"");
        check("labels = \"coco80\"", "labels = [\"person\", \" \"]", "labels: must be readable");
        check("labels = \"coco80\"", "labels = []", "labels: must be 1 to 4096");
        check("confidence = 0.5", "confidence = 50", "confidence: must be above 0 and at most 1, is 50");
        check("nms_iou = 0.5", "nms_iou = nan", "nms_iou");
        check("pad = 0", "pad = 0\npadding = 3", "padding");
        check("pad = 0", "pad = 300", "pad");
    }
}
