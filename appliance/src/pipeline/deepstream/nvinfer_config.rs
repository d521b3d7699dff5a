//! The text that tells nvinfer what the model description says. Pure.
//!
//! Keys and their meaning: NVIDIA's DeepStream manual, "Gst-nvinfer File Configuration Specifications". nvinfer computes
//! `net-scale-factor x (pixel - offset)`, one factor for all channels, and pads with black.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aivms_appliance_core::model::{ColourOrder, LetterboxMode, ModelDescription};

use super::settings::Precision;

/// Marks our tensors among those of other inference elements.
pub(super) const UNIQUE_ID: u32 = 1;
/// Most that three deviations may differ, relative to the first, to count as one: what is left of rounding in a file.
const SAME: f32 = 1e-5;

/// The network as nvinfer takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Weights {
    /// An engine of TensorRT for this very machine. nvinfer is not told of the ONNX file, so that it never spends
    /// minutes on building one by itself.
    Engine(PathBuf),
    /// The ONNX file.
    Onnx(PathBuf),
}

/// What the model description leaves open.
#[derive(Debug, Clone)]
pub(super) struct InferenceSettings {
    pub(super) weights: Weights,
    /// Most frames inferred at once.
    pub(super) batch: u32,
    pub(super) precision: Precision,
    /// The calibration table of [`Precision::Int8`].
    pub(super) calibration: Option<PathBuf>,
    /// Batches that are passed on without inference after each that is inferred.
    pub(super) interval: u32,
}

/// Says which field can't be put to nvinfer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unfit {
    /// A field of the model description or of the settings.
    pub field: &'static str,
    /// Why.
    pub reason: String,
}

/// Writes the file for `config-file-path`.
pub(super) fn nvinfer_config(model: &ModelDescription, settings: &InferenceSettings) -> Result<String, Unfit> {
    let input = &model.input;
    let mut text = "[property]\n".to_owned();
    let mut key = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}={value}");
    };
    key("gie-unique-id", &UNIQUE_ID);
    key("network-type", &100);
    key("process-mode", &1);
    key("output-tensor-meta", &1);
    match &settings.weights {
        Weights::Engine(path) => key("model-engine-file", &plain("the engine's path", path)?),
        Weights::Onnx(path) => key("onnx-file", &plain("detection.model", path)?),
    }
    key("batch-size", &settings.batch);
    key("network-mode", &settings.precision.network_mode());
    key("infer-dims", &format_args!("3;{};{}", input.height, input.width));
    key("net-scale-factor", &(1.0 / f64::from(common_deviation(input.std)?)));
    if input.mean != [0.0; 3] {
        let [a, b, c] = input.mean;
        key("offsets", &format_args!("{a};{b};{c}"));
    }
    key("model-color-format", &u8::from(input.colour == ColourOrder::Bgr));
    key("maintain-aspect-ratio", &u8::from(input.letterbox != LetterboxMode::Stretch));
    key("symmetric-padding", &u8::from(input.letterbox == LetterboxMode::Centred));
    key("interval", &settings.interval);
    if let (Precision::Int8, Some(table)) = (settings.precision, &settings.calibration) {
        key("int8-calib-file", &plain("detection.int8_calibration", table)?);
    }
    Ok(text)
}

/// Whether the three channels are divided by the same number.
pub(super) fn has_common_deviation(std: [f32; 3]) -> bool {
    std.iter().all(|one| (one - std[0]).abs() <= SAME * std[0])
}

fn common_deviation(std: [f32; 3]) -> Result<f32, Unfit> {
    if has_common_deviation(std) {
        return Ok(std[0]);
    }
    let reason = format!("nvinfer divides all channels by one number, is {std:?}");
    Err(Unfit { field: "input.std", reason })
}

/// A path as a key file can hold it.
fn plain(field: &'static str, path: &Path) -> Result<String, Unfit> {
    let text = path.to_str().filter(|text| !text.contains(['\\', ';']) && !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| Unfit {
        field,
        reason: format!("must be plain text without backslash, semicolon and line breaks, is {}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Keys of nvinfer 7.1 to 9.1 that this may use.
    const KNOWN: [&str; 16] = [
        "gie-unique-id",
        "network-type",
        "process-mode",
        "output-tensor-meta",
        "model-engine-file",
        "onnx-file",
        "batch-size",
        "network-mode",
        "infer-dims",
        "net-scale-factor",
        "offsets",
        "model-color-format",
        "maintain-aspect-ratio",
        "symmetric-padding",
        "interval",
        "int8-calib-file",
    ];

    fn model(colour: &str, mean: &str, std: &str, letterbox: &str) -> ModelDescription {
        let text = format!(
            "file = \"m.onnx\"\nfamily = \"yolox\"\nlabels = \"coco80\"\nstrides = [8]\nconfidence = 0.5\nnms_iou = 0.5\n\
             [input]\nwidth = 640\nheight = 384\nlayout = \"nchw_f32\"\ncolour = \"{colour}\"\nmean = {mean}\n\
             std = {std}\nletterbox = \"{letterbox}\"\npad = 0\n"
        );
        toml::from_str(&text).unwrap()
    }

    fn settings() -> InferenceSettings {
        let weights = Weights::Engine("/data/engines/a.engine".into());
        InferenceSettings { weights, batch: 8, precision: Precision::Fp16, calibration: None, interval: 0 }
    }

    fn keys(text: &str) -> BTreeMap<&str, &str> {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("[property]"));
        let keys: BTreeMap<_, _> = lines.map(|line| line.split_once('=').unwrap()).collect();
        assert!(keys.keys().all(|key| KNOWN.contains(key)), "{keys:?}");
        keys
    }

    #[test]
    fn each_family_is_put_to_nvinfer_as_it_was_trained() {
        let check = |model: &ModelDescription, wants: &[(&str, Option<&str>)]| {
            let text = nvinfer_config(model, &settings()).unwrap();
            let keys = keys(&text);
            for (key, value) in wants {
                assert_eq!(keys.get(key), value.as_ref(), "{key} of\n{text}");
            }
            assert_eq!((keys["network-type"], keys["output-tensor-meta"], keys["process-mode"]), ("100", "1", "1"));
            assert_eq!((keys["infer-dims"], keys["batch-size"], keys["network-mode"]), ("3;384;640", "8", "2"));
            assert_eq!(keys["model-engine-file"], "/data/engines/a.engine");
        };
        let (zero, one, whole) = ("[0.0, 0.0, 0.0]", "[1.0, 1.0, 1.0]", "[255.0, 255.0, 255.0]");
        let letterbox = |keep, centred| {
            [("maintain-aspect-ratio", Some(keep)), ("symmetric-padding", Some(centred)), ("offsets", None)]
        };
        // YOLOv8, 11, 26 and v10: RGB, 0 to 1, centred.
        let yolo = model("rgb", zero, whole, "centred");
        check(&yolo, &[("model-color-format", Some("0")), ("net-scale-factor", Some("0.00392156862745098"))]);
        check(&yolo, &letterbox("1", "1"));
        // YOLOX: BGR, 0 to 255, top left.
        let yolox = model("bgr", zero, one, "top_left");
        check(&yolox, &[("model-color-format", Some("1")), ("net-scale-factor", Some("1"))]);
        check(&yolox, &letterbox("1", "0"));
        // RT-DETR and D-FINE: RGB, 0 to 1, stretched.
        check(&model("rgb", zero, whole, "stretch"), &letterbox("0", "0"));
        // Means and one deviation.
        let mean = model("bgr", "[103.5, 116.25, 123.0]", "[58.0, 58.0, 58.0]", "centred");
        check(&mean, &[("offsets", Some("103.5;116.25;123"))]);
    }

    #[test]
    fn what_nvinfer_cannot_compute_is_refused_by_the_name_of_the_field() {
        let unequal = model("rgb", "[0.0, 0.0, 0.0]", "[58.4, 57.12, 57.38]", "centred");
        let error = nvinfer_config(&unequal, &settings()).unwrap_err().to_string();
        assert!(error.starts_with("input.std: nvinfer divides all channels by one number"), "{error}");
        let weights = Weights::Onnx("/data/a\nonnx-file=/evil".into());
        let yolox = model("bgr", "[0.0, 0.0, 0.0]", "[1.0, 1.0, 1.0]", "top_left");
        let error = nvinfer_config(&yolox, &InferenceSettings { weights, ..settings() }).unwrap_err();
        assert_eq!(error.field, "detection.model");
    }

    #[test]
    fn a_calibration_table_goes_with_int8_only() {
        let model = model("rgb", "[0.0, 0.0, 0.0]", "[255.0, 255.0, 255.0]", "centred");
        let with = |precision| {
            let calibration = Some("/data/table.txt".into());
            nvinfer_config(&model, &InferenceSettings { precision, calibration, ..settings() }).unwrap()
        };
        let int8 = with(Precision::Int8);
        assert_eq!((keys(&int8)["network-mode"], keys(&int8)["int8-calib-file"]), ("1", "/data/table.txt"));
        assert!(!keys(&with(Precision::Fp32)).contains_key("int8-calib-file"));
    }
}
