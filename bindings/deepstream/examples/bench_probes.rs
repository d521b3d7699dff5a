//! Times what the two DeepStream probes do with one batch of 16 frames: the first decodes each frame's network output to 30
//! objects and marks the frame as detected; the second reads everything into owned values.
//!
//! ```text
//! cargo run --release -p aivms-deepstream --example bench_probes
//! ```
//!
//! It runs on NVIDIA's libraries where `scripts/fetch-deepstream` got them, and on our own, with two families of network:
//! YOLO26, whose 300 rows per frame are what the promise is about, and YOLOv8, whose 84 planes of 8400 numbers cost a pass
//! over 2.8 MB per frame that no reading of metadata can hide. Each frame has numbers of its own. Making and freeing the
//! batch, which the muxer and the buffer's end do, is a row of its own. Medians, as JSON lines for `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on has failed")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance_core::decode::{self, OutputTensor};
use aivms_appliance_core::letterbox::Letterbox;
use aivms_appliance_core::model::{LetterboxMode, ModelDescription};
use aivms_contract::geometry::FrameSize;
use aivms_deepstream::{Abi, Batch, BatchRef, FrameInfo, Library, NewObject, OwnedLayer, OwnedTensors, Rect};
use gstreamer as gst;

const FRAMES: u32 = 16;
const OBJECTS: usize = 30;
const NETWORK: FrameSize = FrameSize { width: 640, height: 640 };
const PIPELINE: FrameSize = FrameSize { width: 1280, height: 720 };
/// Time given to each library.
const SPAN: Duration = Duration::from_millis(1500);

/// What leaves the reader probe.
struct Seen {
    _source: u32,
    _pts: Option<u64>,
    objects: Vec<(i32, Option<u64>, Option<f32>, Rect)>,
}

/// A network: how its outputs are read, and what it gives for each frame.
struct Network {
    model: ModelDescription,
    outputs: Vec<OwnedTensors>,
}

fn main() {
    gst::init().unwrap();
    let end_to_end = Network {
        model: toml::from_str(include_str!("../../../appliance/models/yolo26n-640.toml")).unwrap(),
        outputs: (0..FRAMES).map(|frame| tensors(&[300, 6], rows(frame))).collect(),
    };
    let dense = Network {
        model: toml::from_str(include_str!("../../../appliance/models/yolov8n-640.toml")).unwrap(),
        outputs: (0..FRAMES).map(|frame| tensors(&[84, 8400], planes(frame))).collect(),
    };
    let own = Library::own(Abi::V90);
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/deepstream/lib"));
    let nvidia = Library::open(Some(folder)).ok();
    let (probes, batch) = measure(&own, &end_to_end);
    print("deepstream.probes.own", probes);
    print("deepstream.batch.own", batch);
    let mut promised = probes;
    if let Some(nvidia) = &nvidia {
        let (probes, batch) = measure(nvidia, &end_to_end);
        print("deepstream.probes.nvidia", probes);
        print("deepstream.batch.nvidia", batch);
        promised = probes;
    }
    // The promise is about NVIDIA's libraries; without them our own have to stand for them.
    print("deepstream.probes", promised);
    print("deepstream.probes.yolov8", measure(nvidia.as_ref().unwrap_or(&own), &dense).0);
}

/// Milliseconds of both probes, and of making and freeing the batch.
fn measure(library: &Arc<Library>, network: &Network) -> (f64, f64) {
    let (mut probes, mut rest) = (Vec::new(), Vec::new());
    let end = Instant::now() + SPAN;
    while Instant::now() < end || probes.len() < 100 {
        let made = Instant::now();
        let mut buffer = gst::Buffer::new();
        fill(&mut library.attach_batch(buffer.get_mut().unwrap(), FRAMES).unwrap(), &network.outputs);
        let start = Instant::now();
        decode(&mut library.batch(buffer.get_mut().unwrap()).unwrap().unwrap(), &network.model);
        let seen = read(&library.read_batch(&buffer).unwrap().unwrap());
        let done = Instant::now();
        assert!(seen.iter().all(|frame| frame.objects.len() == OBJECTS), "every frame has its objects");
        black_box(seen);
        let freeing = Instant::now();
        drop(buffer);
        probes.push((done - start).as_secs_f64() * 1e3);
        rest.push((start - made + freeing.elapsed()).as_secs_f64() * 1e3);
    }
    (median(probes), median(rest))
}

/// The muxer's and the inference element's part.
fn fill(batch: &mut Batch<'_>, outputs: &[OwnedTensors]) {
    for (source, tensors) in (0..FRAMES).zip(outputs) {
        let info = FrameInfo {
            source_id: source,
            pad_index: source,
            batch_id: source,
            frame_num: 1,
            pts: Some(40_000_000),
            source_size: (1920, 1080),
            pipeline_size: Some((PIPELINE.width, PIPELINE.height)),
        };
        batch.add_frame(&info).unwrap().attach_tensors(tensors.clone()).unwrap();
    }
}

/// The decoder probe, as the appliance's.
fn decode(batch: &mut Batch<'_>, model: &ModelDescription) {
    for mut frame in batch.frames_mut() {
        let found = {
            let tensors = frame.tensors().find(|tensors| tensors.unique_id() == 1).unwrap();
            let (width, height) = frame.pipeline_size().unwrap();
            let letterbox = Letterbox::fit(FrameSize { width, height }, NETWORK, LetterboxMode::Centred).unwrap();
            let layer = tensors.layers().next().unwrap();
            let shape: Vec<_> = layer.dims().iter().map(|&side| side as usize).collect();
            let output = OutputTensor { name: layer.name(), data: layer.data().unwrap(), shape: &shape };
            decode::detections(model, &letterbox, &[output], 0.5).unwrap()
        };
        frame.remove_tensors(Some(1));
        frame.set_detected(true);
        for object in found {
            let [left, top, right, bottom] = object.bbox.corners();
            let new = NewObject {
                class_id: i32::from(object.class),
                label: model.label(object.class).unwrap(),
                confidence: object.confidence,
                rect: Rect { left, top, width: right - left, height: bottom - top },
                component_id: 1,
            };
            frame.add_object(&new).unwrap();
        }
    }
}

/// The reader probe.
fn read(batch: &BatchRef<'_>) -> Vec<Seen> {
    let _lock = batch.lock();
    let seen = |frame: aivms_deepstream::Frame<'_>| Seen {
        _source: frame.source_id(),
        _pts: frame.pts(),
        objects: frame
            .objects()
            .map(|object| (object.class_id(), object.object_id(), object.confidence(), object.rect()))
            .collect(),
    };
    batch.frames().map(seen).collect()
}

fn tensors(dims: &[u32], data: Vec<f32>) -> OwnedTensors {
    OwnedTensors {
        unique_id: 1,
        network: (NETWORK.width, NETWORK.height),
        maintain_aspect_ratio: true,
        symmetric_padding: true,
        layers: vec![OwnedLayer { name: "output0".to_owned(), dims: dims.to_vec(), data: data.into() }],
    }
}

/// Corner of the box of one object, all apart and within the picture's part of the input.
fn corner(object: usize, frame: u32) -> (f32, f32) {
    ((object % 10 * 60 + frame as usize) as f32, (160 + object / 10 * 100) as f32)
}

/// 300 rows of corners, score and class; every tenth is an object.
fn rows(frame: u32) -> Vec<f32> {
    let row = |place: usize| {
        let (x, y) = corner(place / 10, frame);
        [x, y, x + 40.0, y + 60.0, if place.is_multiple_of(10) { 0.8 } else { 0.01 }, 0.0]
    };
    (0..10 * OBJECTS).flat_map(row).collect()
}

/// Planes of centre, size and 80 scores for 8400 places; every 280th is an object.
fn planes(frame: u32) -> Vec<f32> {
    let mut data = vec![0.01; 84 * 8400];
    for object in 0..OBJECTS {
        let (x, y) = corner(object, frame);
        for (plane, value) in [x + 20.0, y + 30.0, 40.0, 60.0, 0.8].into_iter().enumerate() {
            data[plane * 8400 + object * 280] = value;
        }
    }
    data
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn print(bench: &str, value: f64) {
    println!("{}", serde_json::json!({ "bench": bench, "value": value, "unit": "ms" }));
}
