//! Outputs of the real architectures with random weights, against boxes that Python read from the same numbers as each
//! model's own project does.
//!
//! `tests/reference/families` made the files of `tests/reference/fixtures`.

use std::path::{Path, PathBuf};

use super::*;

/// How far a corner may lie from the reference, in pixels of the frame, and a confidence.
const PIXELS: f32 = 1.0;
const CONFIDENCE: f32 = 1e-3;

#[derive(Deserialize)]
struct Recorded {
    /// The shipped description, whose size of input and limit of overlap are others here.
    description: String,
    side: u32,
    frame: FrameSize,
    threshold: f32,
    nms_iou: Option<f32>,
    outputs: Vec<Shape>,
    boxes: Vec<(u16, f32, f32, f32, f32, f32)>,
}

#[derive(Deserialize)]
struct Shape {
    name: String,
    shape: Vec<usize>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures").join(name)
}

/// The outputs one after the other, 32-bit floats, little-endian.
fn tensors_of(name: &str, shapes: Vec<Shape>) -> Vec<Tensor> {
    let bytes = std::fs::read(fixture(&format!("{name}.f32"))).unwrap();
    let mut numbers = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    let mut fill = |Shape { name, shape }| {
        let len = shape.iter().product();
        Tensor { name, data: numbers.by_ref().take(len).collect(), shape }
    };
    let tensors = shapes.into_iter().map(&mut fill).collect();
    assert_eq!(numbers.count(), 0, "{name}.f32 holds no more than its outputs");
    tensors
}

fn check(name: &str) {
    let recorded = std::fs::read_to_string(fixture(&format!("{name}.json"))).unwrap();
    let recorded: Recorded = serde_json::from_str(&recorded).unwrap();
    let mut model = model(&recorded.description);
    (model.input.width, model.input.height) = (recorded.side, recorded.side);
    model.nms_iou = recorded.nms_iou;
    let letterbox = Letterbox::new(recorded.frame, &model.input).unwrap();
    let tensors = tensors_of(name, recorded.outputs);
    let mut found = detections(&model, &letterbox, &borrow(&tensors), recorded.threshold).unwrap();
    assert_eq!(found.len(), recorded.boxes.len(), "{name}");
    for &(class, confidence, x1, y1, x2, y2) in &recorded.boxes {
        let is_it = |found: &Detected| {
            let near = found.bbox.corners().iter().zip([x1, y1, x2, y2]).all(|(a, b)| (a - b).abs() <= PIXELS);
            found.class == class && (found.confidence - confidence).abs() <= CONFIDENCE && near
        };
        let at = found.iter().position(is_it);
        let at = at.unwrap_or_else(|| panic!("{name}: no box of {class} {confidence} {:?}", [x1, y1, x2, y2]));
        found.swap_remove(at);
    }
}

#[test]
fn yolo11_gives_the_boxes_of_the_reference() {
    check("yolo11n");
}

#[test]
fn yolo26_and_yolov10_end_to_end_give_the_boxes_of_the_reference() {
    check("yolo26n");
    check("yolov10n");
}

#[test]
fn rt_detr_gives_the_boxes_of_the_reference_from_both_exporters() {
    check("rtdetr-r18");
    check("rtdetr-resnet50");
}

#[test]
fn d_fine_gives_the_boxes_of_the_reference_in_both_forms() {
    check("dfine-n");
    check("dfine-n-labelled");
}
