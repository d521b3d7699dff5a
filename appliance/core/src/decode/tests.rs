use std::collections::BTreeMap;

use aivms_contract::geometry::FrameSize;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

mod detr;
mod reference;

/// What a reference decoder in Python found in one real output; see `source` in the files.
#[derive(Deserialize)]
struct Golden {
    frame: FrameSize,
    threshold: f32,
    tensors: Vec<SparseTensor>,
    in_input: Vec<(u16, f32, f32, f32, f32, f32)>,
    in_frame: Vec<(u16, f32, f32, f32, f32, f32)>,
}

#[derive(Deserialize)]
struct SparseTensor {
    name: String,
    shape: Vec<usize>,
    rows: BTreeMap<usize, SparseRow>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SparseRow {
    Full(Vec<f32>),
    Cells(Vec<(usize, f32)>),
}

struct Tensor {
    name: String,
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl SparseTensor {
    fn fill(self) -> Tensor {
        let columns = *self.shape.last().unwrap();
        let mut data = vec![0.0; self.shape.iter().product()];
        for (row, cells) in self.rows {
            let row = &mut data[row * columns..(row + 1) * columns];
            match cells {
                SparseRow::Full(values) => row.copy_from_slice(&values),
                SparseRow::Cells(cells) => cells.into_iter().for_each(|(column, value)| row[column] = value),
            }
        }
        Tensor { name: self.name, shape: self.shape, data }
    }
}

fn borrow(tensors: &[Tensor]) -> Vec<OutputTensor<'_>> {
    tensors.iter().map(|t| OutputTensor { name: &t.name, data: &t.data, shape: &t.shape }).collect()
}

fn nanodet() -> ModelDescription {
    model("nanodet-g-416")
}

fn yolox() -> ModelDescription {
    model("yolox-nano-416")
}

const NAMES: [&str; 6] =
    ["nanodet-g-416", "yolox-nano-416", "yolov8n-640", "yolo26n-640", "rtdetr-r18-640", "dfine-n-640"];

/// One model of each family.
fn each_family() -> impl Iterator<Item = ModelDescription> {
    NAMES.into_iter().map(model)
}

/// A shipped description.
fn model(name: &str) -> ModelDescription {
    let path = format!("{}/../models/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A shipped description with these labels instead.
fn with_labels(name: &str, labels: &[&str]) -> ModelDescription {
    ModelDescription { labels: labels.iter().map(ToString::to_string).collect(), ..model(name) }
}

fn check_golden(model: &ModelDescription, golden: &str) {
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let mut tensors: Vec<_> = golden.tensors.into_iter().map(SparseTensor::fill).collect();
    let letterbox = Letterbox::new(golden.frame, &model.input).unwrap();
    // Exporters and engines give the outputs in any order and may strip the batch dimension.
    for _ in 0..2 {
        let found = decode(model, &borrow(&tensors), golden.threshold).unwrap();
        check_boxes(&found, &golden.in_input, 0.01);
        let found = detections(model, &letterbox, &borrow(&tensors), golden.threshold).unwrap();
        check_boxes(&found, &golden.in_frame, 0.02);
        tensors.reverse();
        tensors.iter_mut().for_each(|tensor| tensor.shape = tensor.shape.split_off(1));
    }
}

fn check_boxes(found: &[Detected], expected: &[(u16, f32, f32, f32, f32, f32)], pixels: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, &(class, confidence, x1, y1, x2, y2)) in found.iter().zip(expected) {
        assert_eq!(found.class, class);
        assert!((found.confidence - confidence).abs() < 1e-5, "{found:?} is not {confidence}");
        for (a, b) in found.bbox.corners().into_iter().zip([x1, y1, x2, y2]) {
            assert!((a - b).abs() < pixels, "{found:?} is not {:?}", [x1, y1, x2, y2]);
        }
    }
}

#[test]
fn a_real_nanodet_output_gives_the_boxes_of_the_reference_decoder() {
    check_golden(&nanodet(), include_str!("testdata/nanodet-vtest-400.json"));
}

#[test]
fn a_real_yolox_output_gives_the_boxes_of_the_reference_decoder() {
    check_golden(&yolox(), include_str!("testdata/yolox-vtest-400.json"));
}

/// Outputs of the right shapes that hold one number throughout.
fn filled(model: &ModelDescription, value: f32) -> Vec<Tensor> {
    let shapes: Vec<_> = match model.family {
        Family::Nanodet => [2704, 676, 169].into_iter().flat_map(|cells| [[1, cells, 80], [1, cells, 44]]).collect(),
        Family::Yolox => vec![[1, 3549, 85]],
        Family::Yolov8 => vec![[1, 84, 525]],
        Family::YoloEndToEnd => vec![[1, 300, 6]],
        Family::Rtdetr | Family::Dfine => vec![[1, 300, 80], [1, 300, 4]],
    };
    let fill = |(index, shape): (usize, [usize; 3])| tensor(&format!("output_{index}"), &shape, value);
    shapes.into_iter().enumerate().map(fill).collect()
}

fn tensor(name: &str, shape: &[usize], value: f32) -> Tensor {
    Tensor { name: name.to_owned(), shape: shape.to_vec(), data: vec![value; shape.iter().product()] }
}

fn detected(class: u16, confidence: f32, corners: [f32; 4]) -> Detected {
    Detected { class, confidence, bbox: corners.try_into().unwrap() }
}

#[test]
fn equal_bins_put_each_side_at_their_middle() {
    let mut tensors = filled(&nanodet(), 0.0);
    // Grid of stride 16: 26 cells per line, so cell 27 is the second of the second line.
    tensors[2].data[27 * 80 + 7] = 0.75;
    let found = decode(&nanodet(), &borrow(&tensors), 0.5).unwrap();
    let bbox = [24.0 - 80.0, 24.0 - 80.0, 24.0 + 80.0, 24.0 + 80.0].try_into().unwrap();
    assert_eq!(found, [Detected { class: 7, confidence: 0.75, bbox }]);
}

#[test]
fn outputs_without_finite_numbers_hold_no_boxes() {
    for model in each_family() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(decode(&model, &borrow(&filled(&model, value)), 0.01), Ok(vec![]), "{value}");
        }
    }
}

#[test]
fn a_box_without_finite_size_is_left_out_and_the_others_stay() {
    let model = yolox();
    let mut tensors = filled(&model, 0.0);
    for (row, log_width) in [(0, 200.0), (1, f32::NAN), (2, 0.0)] {
        let row = &mut tensors[0].data[row * 85..][..85];
        (row[2], row[4], row[5]) = (log_width, 0.9, 1.0);
    }
    let found = decode(&model, &borrow(&tensors), 0.5).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].bbox.corners(), [12.0, -4.0, 20.0, 4.0]);
}

#[test]
fn outputs_of_another_model_are_refused_with_their_shapes() {
    let error = decode(&nanodet(), &borrow(&filled(&yolox(), 0.0)), 0.5).unwrap_err().to_string();
    assert!(error.contains("[1, 2704, 80] (class scores)") && error.contains("output_0 [1, 3549, 85]"), "{error}");
    let error = decode(&yolox(), &[], 0.5).unwrap_err().to_string();
    assert!(error.contains("[1, 3549, 85]") && error.contains("no outputs"), "{error}");
    let mut twice = filled(&nanodet(), 0.0);
    twice.extend(filled(&nanodet(), 0.0));
    assert!(matches!(
        decode(&nanodet(), &borrow(&twice), 0.5),
        Err(DecodeError::Ambiguous { what: "class scores", .. })
    ));
    let mut short = filled(&yolox(), 0.0);
    short[0].data.pop();
    assert!(matches!(decode(&yolox(), &borrow(&short), 0.5), Err(DecodeError::Length { len: 301_664, .. })));
}

#[test]
fn scores_that_are_no_probabilities_tell_how_to_export() {
    let mut tensors = filled(&nanodet(), 0.0);
    tensors[0].data[0] = 4.0;
    let error = decode(&nanodet(), &borrow(&tensors), 0.5).unwrap_err().to_string();
    assert_eq!(error, "output output_0 holds the score 4, but scores are 0 to 1; export the model with its sigmoid");
}

#[test]
fn a_candidate_of_yolov8_is_a_column_of_all_planes() {
    let model = model("yolov8n-640");
    for (candidates, at) in [(8400, 0), (8400, 8399), (8400, 511), (8400, 512), (525, 524), (1, 0)] {
        let mut output = tensor("output0", &[1, 84, candidates], 0.0);
        for (plane, value) in [(0, 100.0), (1, 200.0), (2, 20.0), (3, 40.0), (4 + 79, 0.75), (4 + 7, 0.5)] {
            output.data[plane * candidates + at] = value;
        }
        let found = decode(&model, &borrow(&[output]), 0.3).unwrap();
        assert_eq!(found, [detected(79, 0.75, [90.0, 180.0, 110.0, 220.0])], "{at} of {candidates}");
    }
}

#[test]
fn a_row_of_an_end_to_end_export_is_an_object() {
    let mut output = tensor("output0", &[1, 300, 6], 0.0);
    output.data[..12].copy_from_slice(&[1.0, 2.0, 3.0, 5.0, 0.9, 2.0, 10.0, 2.0, 3.0, 5.0, 0.8, 2.0]);
    output.data[12..24].copy_from_slice(&[4.0, 2.0, 8.0, 5.0, 0.7, 79.0, 4.0, 2.0, 8.0, 5.0, 0.2, 80.0]);
    let found = decode(&model("yolo26n-640"), &borrow(std::slice::from_ref(&output)), 0.3).unwrap();
    let expected = [detected(2, 0.9, [1.0, 2.0, 3.0, 5.0]), detected(79, 0.7, [4.0, 2.0, 8.0, 5.0])];
    assert_eq!(found, expected, "the second row's corners are crossed, the last is below the threshold");
    let error = decode(&model("yolo26n-640"), &borrow(&[output]), 0.1).unwrap_err().to_string();
    assert_eq!(error, "output output0 names the class 80, but the model description has 80 labels");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_numbers_make_the_decoders_panic(numbers in prop::collection::vec(any::<f32>(), 1..200), threshold in 0.0f32..1.0) {
        for model in each_family() {
            let mut tensors = filled(&model, 0.0);
            for tensor in &mut tensors {
                tensor.data.iter_mut().zip(numbers.iter().cycle()).for_each(|(cell, number)| *cell = *number);
            }
            if let Ok(found) = decode(&model, &borrow(&tensors), threshold) {
                prop_assert!(found.iter().all(|f| f.confidence >= threshold && f.confidence <= 1.0 && f.class < 80));
            }
        }
    }

    #[test]
    fn the_best_score_is_that_of_a_plain_loop(scores in prop::collection::vec(any::<f32>(), 0..100)) {
        let plain = scores.iter().copied().filter(|score| !score.is_nan()).fold(0.0, f32::max);
        prop_assert_eq!(row::best_score(&scores), plain);
    }
}
