//! The forms of RT-DETR and D-FINE.

use super::*;

/// One object, a quarter from the top left corner, in every form that exporters give it.
fn forms_of_one_object(classes: usize, class: usize) -> [Vec<Tensor>; 4] {
    let (fraction, score) = ([0.25, 0.25, 0.5, 0.25], 0.75f32);
    let (mut boxes, mut logits) = (tensor("pred_boxes", &[1, 300, 4], 0.1), tensor("logits", &[1, 300, classes], -9.0));
    boxes.data[4..8].copy_from_slice(&fraction);
    logits.data[classes + class] = (score / (1.0 - score)).ln();
    let mut fused = tensor("output0", &[1, 300, 4 + classes], 0.001);
    fused.data[4 + classes..][..4].copy_from_slice(&fraction);
    fused.data[4 + classes + 4 + class] = score;
    let mut chosen = tensor("output0", &[1, 300, 6], 0.0);
    chosen.data[6..10].copy_from_slice(&fraction);
    chosen.data[10..12].copy_from_slice(&[score, class as f32]);
    let (mut labels, mut scores) = (tensor("labels", &[1, 300], 0.0), tensor("scores", &[1, 300], 0.0));
    let mut corners = tensor("boxes", &[1, 300, 4], 0.0);
    (labels.data[1], scores.data[1]) = (class as f32, score);
    corners.data[4..8].copy_from_slice(&[0.0, 80.0, 320.0, 240.0]);
    [vec![logits, boxes], vec![fused], vec![chosen], vec![labels, corners, scores]]
}

#[test]
fn every_form_of_rt_detr_and_d_fine_gives_the_same_object() {
    let expected = detected(1, 0.75, [0.0, 80.0, 320.0, 240.0]);
    let four: &[&str] = &["person", "car", "dog", "bus"];
    for labels in [None, Some(&four[..2]), Some(four)] {
        for (form, tensors) in forms_of_one_object(labels.map_or(80, <[_]>::len), 1).iter().enumerate() {
            for name in ["rtdetr-r18-640", "dfine-n-640"] {
                if name == "dfine-n-640" && tensors.len() == 1 {
                    continue;
                }
                let model = labels.map_or_else(|| model(name), |labels| with_labels(name, labels));
                let found = decode(&model, &borrow(tensors), 0.5);
                let found = found.unwrap_or_else(|error| panic!("{name} form {form} of {labels:?}: {error}"));
                let rounded =
                    found.iter().map(|found| Detected { confidence: (found.confidence * 1e6).round() / 1e6, ..*found });
                assert!(rounded.eq([expected]), "{name} form {form} of {labels:?}: {found:?}");
            }
        }
    }
}

#[test]
fn an_object_listed_under_two_classes_is_given_once() {
    let model = model("rtdetr-r18-640");
    let mut chosen = tensor("output0", &[1, 300, 6], 0.0);
    chosen.data[..12].copy_from_slice(&[0.5, 0.5, 0.1, 0.1, 0.6, 2.0, 0.5, 0.5, 0.1, 0.1, 0.8, 7.0]);
    let letterbox = Letterbox::new(FrameSize { width: 640, height: 640 }, &model.input).unwrap();
    let found = detections(&model, &letterbox, &borrow(&[chosen]), 0.5).unwrap();
    assert_eq!(found.iter().map(|found| found.class).collect::<Vec<_>>(), [7]);
}

#[test]
fn an_export_that_counts_or_scales_otherwise_tells_how_to_export() {
    let refusal = |tensors: &[Tensor]| decode(&model("rtdetr-r18-640"), &borrow(tensors), 0.5).unwrap_err().to_string();
    let [logits, fused, chosen, _] = forms_of_one_object(80, 1);
    let mut sigmoid_done = logits;
    sigmoid_done[0].data.iter_mut().for_each(|logit| *logit = logit.exp());
    assert!(refusal(&sigmoid_done).starts_with("output logits holds no negative number"));
    let mut in_pixels = chosen;
    in_pixels[0].data[6] = 160.0;
    assert_eq!(
        refusal(&in_pixels),
        "output output0 holds the coordinate 160, but boxes are fractions of the input, 0 to 1; export them so"
    );
    let mut no_sigmoid = fused;
    no_sigmoid[0].data[84 + 5] = 3.5;
    assert!(refusal(&no_sigmoid).contains("holds the score 3.5"));
    assert!(refusal(&filled(&model("yolov8n-640"), 0.0)).contains("[1, queries, 6] or [1, queries, 84]"));
}
