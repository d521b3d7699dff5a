//! The whole way from a picture to boxes against a reference in Python, which feeds and reads each model as the model's
//! own project does, on real frames.
//!
//! `tests/reference/reference.py` is the reference. It gets the very pictures that the model gets here, as the decoder
//! has scaled them: scalers differ between programs, and a picture is where both begin.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aivms_appliance::pipeline::decode::Decoder;
use aivms_appliance::pipeline::frame::Frame;
use aivms_appliance::pipeline::{Detector, DetectorSettings};
use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::model::{ColourOrder, ModelDescription};
use aivms_contract::geometry::FrameSize;
use serde_json::{Value, json};

use crate::video::{decode, first_units};
use crate::{cache, detector_settings};

/// What corners and confidences may differ by: pixels of the frame, and a thousandth.
const PIXELS: f32 = 1.0;
const CONFIDENCE: f32 = 1e-3;
/// Pictures per second of video, and how many of its pictures are decoded; ten are a second.
const FPS: f64 = 0.5;
const UNITS: usize = 160;
/// Size of the demo video's pictures.
const FRAME: FrameSize = FrameSize { width: 768, height: 576 };

/// Class, confidence and corners, as the reference writes a box.
type Row = (u16, f32, f32, f32, f32, f32);

/// A model, how it is described, and from which confidence on boxes are compared.
struct Case {
    model: PathBuf,
    /// Text of the description.
    description: String,
    threshold: f32,
    /// What a run must at least compare, so that it can't pass by seeing nothing.
    least_boxes: usize,
}

/// The Python that has what the reference needs. `make test` names it; elsewhere what `make setup` made is tried.
fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("AIVMS_REFERENCE_PYTHON") {
        return Some(named.into());
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/tools/bin/python");
    [kept, PathBuf::from("python3")].into_iter().find(|python| {
        let imports = Command::new(python).args(["-c", "import numpy, onnxruntime"]).stderr(Stdio::null()).status();
        imports.is_ok_and(|status| status.success())
    })
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.toml"));
    std::fs::read_to_string(path).unwrap()
}

/// Frames of the demo video as the product's own decoder scales them for the model.
fn frames_for(model: &ModelDescription) -> Vec<Frame> {
    let units = first_units(cache("video/vtest.avi"), UNITS);
    let decoder = Decoder::start(&units[0].format, &model.input, FPS).unwrap();
    units.iter().filter_map(|unit| decode(&decoder, unit)).collect()
}

/// Writes a picture without gaps between its lines and says what it is.
fn write_picture(folder: &Path, index: usize, frame: &Frame) -> Value {
    let path = folder.join(format!("{index}.raw"));
    let written = frame.with_image(|image| {
        let lines = image.data.chunks(image.stride).take(image.height as usize);
        let packed: Vec<u8> = lines.flat_map(|line| &line[..3 * image.width as usize]).copied().collect();
        std::fs::write(&path, packed).unwrap();
        let order = if image.colour == ColourOrder::Rgb { "rgb" } else { "bgr" };
        json!({ "path": path, "width": image.width, "height": image.height, "order": order })
    });
    written.unwrap()
}

/// Boxes of each frame, and how many second classes the reference left out.
fn ask_reference(
    python: &Path,
    case: &Case,
    model: &ModelDescription,
    pictures: &[Value],
) -> (Vec<Vec<Detected>>, Value) {
    let request = json!({
        "family": model.family.name(), "model": case.model, "side": model.input.width, "threshold": case.threshold,
        "nms_iou": model.nms_iou, "frame": [FRAME.width, FRAME.height], "pictures": pictures,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/reference.py");
    let mut process = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "the reference ended with {}", output.status);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames: Vec<Vec<Row>> = serde_json::from_value(answer["frames"].clone()).unwrap();
    let detected = |(class, confidence, x1, y1, x2, y2)| {
        let bbox = [x1, y1, x2, y2].try_into().unwrap();
        Detected { class, confidence, bbox }
    };
    let frames = frames.into_iter().map(|boxes| boxes.into_iter().map(detected).collect()).collect();
    (frames, answer["second_classes"].clone())
}

/// The largest differences of corners and confidences between boxes matched one to one.
///
/// What lies within the tolerance of the threshold may be on one side only.
fn compare(found: &[Detected], expected: &[Detected], threshold: f32) -> (f32, f32) {
    let mut left: Vec<&Detected> = expected.iter().collect();
    let (mut pixels, mut confidence) = (0.0f32, 0.0f32);
    for ours in found {
        let apart = |theirs: &Detected| {
            let corners = ours.bbox.corners().into_iter().zip(theirs.bbox.corners());
            corners.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let fits = |theirs: &&Detected| {
            theirs.class == ours.class
                && apart(theirs) <= PIXELS
                && (theirs.confidence - ours.confidence).abs() <= CONFIDENCE
        };
        let Some(at) = left.iter().position(fits) else {
            assert!(ours.confidence < threshold + CONFIDENCE, "{ours:?} is not among {left:?}");
            continue;
        };
        let theirs = left.swap_remove(at);
        pixels = pixels.max(apart(theirs));
        confidence = confidence.max((theirs.confidence - ours.confidence).abs());
    }
    assert!(left.iter().all(|theirs| theirs.confidence < threshold + CONFIDENCE), "not found here: {left:?}");
    (pixels, confidence)
}

fn check(python: &Path, case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    let description = folder.path().join("model.toml");
    std::fs::write(&description, &case.description).unwrap();
    let settings = DetectorSettings { description: Some(description), ..detector_settings(&case.model) };
    let detector = Detector::load(&settings).unwrap();
    let frames = frames_for(detector.model());
    assert!(frames.iter().all(|frame| frame.letterbox.frame() == FRAME));
    let pictures: Vec<_> =
        frames.iter().enumerate().map(|(at, frame)| write_picture(folder.path(), at, frame)).collect();
    let (expected, second_classes) = ask_reference(python, case, detector.model(), &pictures);
    let (mut eye, mut boxes, mut pixels, mut confidence) = (detector.eye(), 0, 0.0f32, 0.0f32);
    for (frame, expected) in frames.iter().zip(&expected) {
        let (found, _) = eye.look(frame, case.threshold).unwrap();
        let differences = compare(&found, expected, case.threshold);
        (pixels, confidence) = (pixels.max(differences.0), confidence.max(differences.1));
        boxes += expected.len();
    }
    let name = case.model.file_name().unwrap().display();
    eprintln!(
        "reference {name}: {} frames, {boxes} boxes, at most {pixels:.4} pixels and {confidence:.1e} apart, \
         {second_classes} second classes left out",
        frames.len()
    );
    assert!(boxes >= case.least_boxes, "{name}: only {boxes} boxes were compared");
}

#[test]
fn nanodet_gives_the_boxes_of_its_own_projects_processing_on_real_frames() {
    let Some(python) = python() else { return eprintln!("no Python with onnxruntime here: nothing compared") };
    let (model, description) = (cache("models/nanodet-g-416.onnx"), shipped("nanodet-g-416"));
    // The tracker asks from 0.1 on.
    check(&python, &Case { model, description, threshold: 0.1, least_boxes: 60 });
}

#[test]
fn yolox_gives_the_boxes_of_its_own_projects_processing_on_real_frames() {
    let Some(python) = python() else { return eprintln!("no Python with onnxruntime here: nothing compared") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../.cache/models", "../../shared/models", "../../../shared/models"];
    let found = places.iter().map(|place| root.join(place).join("yolox_nano.onnx")).find(|model| model.exists());
    let Some(model) = found else { return eprintln!("yolox_nano.onnx is not here: nothing compared") };
    check(&python, &Case { model, description: shipped("yolox-nano-416"), threshold: 0.1, least_boxes: 60 });
}

/// Compares exports that `tests/reference/families` leaves in the cache; set-up does not make them.
fn check_exports(side: u32, cases: &[(&str, &str, f32)]) {
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/reference/exports");
    let Some(python) = python() else { return eprintln!("no Python with onnxruntime here: nothing compared") };
    for &(name, description, threshold) in cases {
        let model = exports.join(format!("{name}.onnx"));
        if !model.exists() {
            eprintln!("{} is not here: nothing compared", model.display());
            continue;
        }
        let description = shipped(description).replace("= 640", &format!("= {side}"));
        check(&python, &Case { model, description, threshold, least_boxes: 60 });
    }
}

#[test]
fn exports_of_yolov8_and_yolo11_give_the_boxes_of_their_own_projects_processing() {
    check_exports(160, &[("yolov8n", "yolov8n-640", 0.7), ("yolo11n", "yolo11n-640", 0.7)]);
}

#[test]
fn exports_of_yolo26_and_yolov10_give_the_boxes_of_their_own_projects_processing() {
    check_exports(160, &[("yolo26n", "yolo26n-640", 0.5), ("yolov10n", "yolov10n-640", 0.5)]);
}

#[test]
fn exports_of_rt_detr_give_the_boxes_of_its_own_projects_processing() {
    check_exports(160, &[("rtdetr-r18", "rtdetr-r18-640", 0.6), ("rtdetr-resnet50", "rtdetr-r18-640", 0.6)]);
}

#[test]
fn exports_of_d_fine_give_the_boxes_of_its_own_projects_processing() {
    check_exports(320, &[("dfine-n", "dfine-n-640", 0.6), ("dfine-n-labelled", "dfine-n-640", 0.6)]);
}

/// The form of D-FINE's own export; `tests/reference/make_labelled.py` made the small networks.
#[test]
fn labels_that_are_integers_are_read_and_a_second_input_of_sizes_is_refused_with_the_remedy() {
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/fixtures").join(name);
    let folder = tempfile::tempdir().unwrap();
    let description = folder.path().join("model.toml");
    std::fs::write(&description, shipped("dfine-n-640").replace("= 640", "= 32")).unwrap();
    let load = |model: &str| {
        let description = Some(description.clone());
        Detector::load(&DetectorSettings { description, ..detector_settings(&fixture(model)) })
    };
    let refused = load("two-inputs.onnx").map(drop).unwrap_err().to_string();
    for part in
        ["two-inputs.onnx", "second input, orig_target_sizes", "without its post-processor", "docs/ref/models.md"]
    {
        assert!(refused.contains(part), "{refused}");
    }
    let detector = load("labelled.onnx").unwrap();
    let frames = frames_for(detector.model());
    let (found, _) = detector.eye().look(&frames[0], 0.5).unwrap();
    let boxes: Vec<_> = found.iter().map(|found| (found.class, found.bbox.corners())).collect();
    assert_eq!(boxes, [(0, [0.0, 0.0, 384.0, 288.0]), (7, [192.0, 288.0, 576.0, 576.0])]);
}
