//! Times the per-frame work of the CPU engine outside the network: run with `--release`.
//!
//! Prints one JSON line per figure, medians in microseconds, as `make bench` reads them.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; the library does not")]
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aivms_appliance_core::decode::{OutputTensor, decode};
use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::letterbox::{Letterbox, Normaliser, PackedImage};
use aivms_appliance_core::model::{ColourOrder, ModelDescription};
use aivms_appliance_core::nms;
use aivms_appliance_core::tracker::{Tracker, TrackerSettings};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;

/// Time given to each measurement.
const SPAN: Duration = Duration::from_millis(500);

fn main() {
    let nanodet: ModelDescription =
        toml::from_str(include_str!("../../models/nanodet-g-416.toml")).expect("the shipped description is right");
    let yolox: ModelDescription =
        toml::from_str(include_str!("../../models/yolox-nano-416.toml")).expect("the shipped description is right");
    bench_decoders(&nanodet, &yolox);
    bench_newer_decoders();
    for boxes in [50, 300, 1000] {
        let candidates = crowd(boxes, 0);
        bench(&format!("nms.{boxes}"), || nms::suppress(candidates.clone(), 0.5).len());
    }
    bench_normaliser(&nanodet);
    for boxes in [10, 50, 200] {
        bench_tracker(boxes);
    }
}

fn bench_decoders(nanodet: &ModelDescription, yolox: &ModelDescription) {
    let shapes: Vec<[usize; 3]> =
        [2704, 676, 169].into_iter().flat_map(|cells| [[1, cells, 80], [1, cells, 44]]).collect();
    let data: Vec<Vec<f32>> = shapes.iter().map(|shape| noise(shape.iter().product(), 80)).collect();
    let outputs: Vec<_> =
        shapes.iter().zip(&data).map(|(shape, data)| OutputTensor { name: "output", data, shape }).collect();
    bench_decode("nanodet", nanodet, &outputs);
    let data = noise(3549 * 85, 85);
    bench_decode("yolox", yolox, &[OutputTensor { name: "output", data: &data, shape: &[1, 3549, 85] }]);
}

/// The families whose exports have done their grids, at 640x640 with 80 classes.
fn bench_newer_decoders() {
    let read = |text| toml::from_str::<ModelDescription>(text).expect("the shipped description is right");
    let yolov8 = read(include_str!("../../models/yolov8n-640.toml"));
    let data = planes(84, 8400);
    bench_decode("yolov8", &yolov8, &[OutputTensor { name: "output0", data: &data, shape: &[1, 84, 8400] }]);
    let end_to_end = read(include_str!("../../models/yolo26n-640.toml"));
    let data: Vec<f32> = (0..300).flat_map(|i| [9.0, 9.0, 99.0, 199.0, 0.9 / (i + 1) as f32, 0.0]).collect();
    bench_decode("yolo-end-to-end", &end_to_end, &[OutputTensor { name: "output0", data: &data, shape: &[1, 300, 6] }]);
    let logits: Vec<f32> = (0..300 * 80).map(|i| if i % 800 == 7 { 1.5 } else { -4.0 - (i % 7) as f32 }).collect();
    let boxes: Vec<f32> = (0..300).flat_map(|i| [i as f32 / 300.0, 0.5, 0.1, 0.2]).collect();
    let outputs = [
        OutputTensor { name: "logits", data: &logits, shape: &[1, 300, 80] },
        OutputTensor { name: "pred_boxes", data: &boxes, shape: &[1, 300, 4] },
    ];
    bench_decode("rtdetr", &read(include_str!("../../models/rtdetr-r18-640.toml")), &outputs);
    bench_decode("dfine", &read(include_str!("../../models/dfine-n-640.toml")), &outputs);
}

/// Planes like YOLOv8's: four of boxes, then low scores with a hit in every hundredth column of one plane.
fn planes(planes: usize, columns: usize) -> Vec<f32> {
    let score = |plane: usize, column: usize| match plane {
        0..4 => 100.0 + (column % 400) as f32,
        7 if column.is_multiple_of(100) => 0.8,
        _ => ((plane * columns + column) * 7919 % 1000) as f32 * 5e-5,
    };
    (0..planes).flat_map(|plane| (0..columns).map(move |column| score(plane, column))).collect()
}

fn bench_decode(name: &str, model: &ModelDescription, outputs: &[OutputTensor<'_>]) {
    decode(model, outputs, 0.5).expect("the outputs have the model's shapes");
    bench(&format!("decode.{name}"), || decode(model, outputs, 0.5));
    // What the tracker's second stage asks for: about as many boxes as a crowded scene gives.
    bench(&format!("decode.{name}.low-threshold"), || decode(model, outputs, 0.1));
}

fn bench_normaliser(model: &ModelDescription) {
    let normaliser = Normaliser::new(&model.input);
    let mut tensor = vec![0.0; normaliser.tensor_len()];
    let pixels: Vec<u8> = (0..416 * 416 * 3).map(|i: u32| (i % 251) as u8).collect();
    for (name, frame) in [("square", (416, 416)), ("wide", (1920, 1080))] {
        let frame = FrameSize { width: frame.0, height: frame.1 };
        let content = Letterbox::new(frame, &model.input).expect("a frame with pixels").content();
        let (width, height) = (content.width, content.height);
        let image = PackedImage { data: &pixels, width, height, stride: 416 * 3, colour: ColourOrder::Rgb };
        bench(&format!("normalise.{name}"), || {
            normaliser.write(&image, content, &mut tensor).expect("the image has the content's size");
            tensor[0]
        });
    }
}

fn bench_tracker(boxes: usize) {
    let frame = FrameSize { width: 1920, height: 1080 };
    let mut tracker = Tracker::new(TrackerSettings::default());
    let frames: Vec<_> = (0..40).map(|step| crowd(boxes, step)).collect();
    let mut step = 0;
    bench(&format!("tracker.update.{boxes}"), || {
        step += 1;
        // There and back, so that every frame is near the one before.
        let at = if step / 40 % 2 == 0 { step % 40 } else { 39 - step % 40 };
        tracker.update(MediaTime::from_millis(200 * step as u64), frame, &frames[at]).len()
    });
}

/// Runs `work` over and over and prints the median.
fn bench<T>(name: &str, mut work: impl FnMut() -> T) {
    let mut samples = Vec::new();
    let end = Instant::now() + SPAN;
    while Instant::now() < end || samples.len() < 100 {
        let start = Instant::now();
        black_box(work());
        samples.push(start.elapsed().as_secs_f64() * 1e6);
    }
    samples.sort_by(f64::total_cmp);
    println!("{}", serde_json::json!({ "bench": name, "value": samples[samples.len() / 2], "unit": "µs" }));
}

/// Rows like a detector's: low scores everywhere, one row in a hundred with a hit.
fn noise(len: usize, columns: usize) -> Vec<f32> {
    let hit = |i: usize| (i / columns).is_multiple_of(100) && matches!(i % columns, 4 | 7);
    (0..len).map(|i| if hit(i) { 0.8 } else { ((i * 7919) % 1000) as f32 * 5e-5 }).collect()
}

/// Boxes of people spread over a 1920x1080 frame, each a few pixels further in every step.
fn crowd(boxes: usize, step: usize) -> Vec<Detected> {
    let place = |i: usize, step: usize| {
        let (x, y) = ((i * 389) % 1800 + step * 3, (i * 211) % 900 + step);
        PixelBox::new(x as f32, y as f32, x as f32 + 60.0, y as f32 + 150.0).expect("ordered corners")
    };
    (0..boxes).map(|i| Detected { class: 0, confidence: 0.5 + (i % 50) as f32 * 0.01, bbox: place(i, step) }).collect()
}
