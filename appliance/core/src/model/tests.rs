use super::*;

const NANODET: &str = include_str!("../../../models/nanodet-g-416.toml");

fn parse(text: &str) -> Result<ModelDescription, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
}

#[test]
fn the_shipped_descriptions_are_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut families = std::collections::BTreeMap::new();
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")) {
        let model = parse(&std::fs::read_to_string(&file).unwrap()).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert_eq!((model.label(0), model.label(79), model.label(80)), (Some("person"), Some("toothbrush"), None));
        assert_eq!((model.class("truck"), model.class("unicorn")), (Some(7), None));
        let ModelInput { colour, letterbox, .. } = model.input;
        families.insert(model.family, (colour, letterbox, model.strides.is_empty(), model.nms_iou.is_some()));
    }
    let expected = [
        (Family::Nanodet, (ColourOrder::Bgr, LetterboxMode::Centred, false, true)),
        (Family::Yolox, (ColourOrder::Bgr, LetterboxMode::TopLeft, false, true)),
        (Family::Yolov8, (ColourOrder::Rgb, LetterboxMode::Centred, true, true)),
        (Family::YoloEndToEnd, (ColourOrder::Rgb, LetterboxMode::Centred, true, false)),
        (Family::Rtdetr, (ColourOrder::Rgb, LetterboxMode::Stretch, true, false)),
        (Family::Dfine, (ColourOrder::Rgb, LetterboxMode::Stretch, true, false)),
    ];
    assert_eq!(families, expected.into());
}

#[test]
fn a_key_that_a_family_lacks_or_has_no_use_for_is_named() {
    let yolo11 = include_str!("../../../models/yolo11n-640.toml");
    let rtdetr = include_str!("../../../models/rtdetr-r18-640.toml");
    let refused = |text: &str, from: &str, to: &str, said: &str| {
        assert!(text.contains(from));
        let error = parse(&text.replace(from, to)).unwrap_err();
        assert!(error.contains(said), "{error}");
    };
    let (strides, iou) = ("strides = [8, 16, 32]\n", "nms_iou = 0.5\n");
    refused(NANODET, strides, "", "strides: must be there for the family \"nanodet\", such as [8, 16, 32]");
    refused(NANODET, iou, "", "nms_iou: must be there for the family \"nanodet\", such as 0.5");
    let confidence = "confidence = 0.5\n";
    refused(yolo11, "nms_iou = 0.7\n", "", "nms_iou: must be there for the family \"yolov8\"");
    refused(yolo11, confidence, &[confidence, strides].concat(), "strides: has no meaning for the family \"yolov8\"");
    refused(rtdetr, confidence, &[confidence, iou].concat(), "nms_iou: has no meaning for the family \"rtdetr\"");
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
