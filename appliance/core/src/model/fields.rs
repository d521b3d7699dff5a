//! The description file as written, and what each of its fields must be.

use serde::Deserialize;

use super::{Family, MAX_INPUT_SIDE, MAX_LABELS, ModelDescription, ModelError, ModelInput, coco};

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    file: String,
    family: Family,
    input: ModelInput,
    labels: LabelSource,
    strides: Option<Vec<u32>>,
    confidence: f32,
    nms_iou: Option<f32>,
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
        let strides = read_strides(fields.family, fields.strides, &fields.input)?;
        check_fraction("confidence", fields.confidence)?;
        check_nms_iou(fields.family, fields.nms_iou)?;
        Ok(Self {
            labels: read_labels(fields.labels)?,
            file: fields.file,
            family: fields.family,
            input: fields.input,
            strides,
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

/// The strides, which a family of grids needs and another must not have: a key without effect is a misunderstanding.
fn read_strides(family: Family, strides: Option<Vec<u32>>, input: &ModelInput) -> Result<Vec<u32>, ModelError> {
    let name = family.name();
    match strides {
        Some(strides) if family.has_grids() => check_strides(&strides, input).map(|()| strides),
        None if !family.has_grids() => Ok(Vec::new()),
        None => {
            let reason = format!("must be there for the family \"{name}\", such as [8, 16, 32]");
            Err(ModelError { field: "strides", reason })
        }
        Some(_) => {
            let reason = format!("has no meaning for the family \"{name}\", whose outputs are no grids; leave it out");
            Err(ModelError { field: "strides", reason })
        }
    }
}

fn check_nms_iou(family: Family, nms_iou: Option<f32>) -> Result<(), ModelError> {
    let name = family.name();
    match nms_iou {
        Some(iou) if family.repeats_objects() => check_fraction("nms_iou", iou),
        None if !family.repeats_objects() => Ok(()),
        None => refuse("nms_iou", format!("must be there for the family \"{name}\", such as 0.5")),
        Some(_) => refuse(
            "nms_iou",
            format!("has no meaning for the family \"{name}\", which finds each object once; leave it out"),
        ),
    }
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
