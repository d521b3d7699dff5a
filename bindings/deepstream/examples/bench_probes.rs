//! Times what the two DeepStream probes do with one batch of 16 frames: the first reads each frame's network output, turns
//! 30 rows of it into objects and marks the frame as detected; the second reads everything into owned values.
//!
//! ```text
//! cargo run --release -p aivms-deepstream --example bench_probes
//! ```
//!
//! It runs on NVIDIA's libraries where `scripts/fetch-deepstream` got them, and on our own; making and freeing the batch,
//! which the muxer and the buffer's end do, is a row of its own. Medians, as JSON lines for `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on has failed")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance_core::letterbox::Letterbox;
use aivms_appliance_core::model::LetterboxMode;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_deepstream::{Abi, Batch, BatchRef, FrameInfo, Library, NewObject, OwnedLayer, OwnedTensors, Rect};
use gstreamer as gst;

const FRAMES: u32 = 16;
const OBJECTS: usize = 30;
/// Rows that an end-to-end detector (YOLO26, YOLOv10) gives for a frame, each of corners, score and class.
const ROWS: usize = 300;
const COLUMNS: usize = 6;
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

fn main() {
    gst::init().unwrap();
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/deepstream/lib"));
    let nvidia = Library::open(Some(folder)).ok();
    let measured = nvidia.as_ref().map(|library| measure("nvidia", library));
    let own = measure("own", &Library::own(Abi::V90));
    // The promise is about NVIDIA's libraries; without them our own have to stand for them.
    print("deepstream.probes", measured.unwrap_or(own));
}

fn measure(name: &str, library: &Arc<Library>) -> f64 {
    let outputs = outputs();
    let (mut probes, mut rest) = (Vec::new(), Vec::new());
    let end = Instant::now() + SPAN;
    while Instant::now() < end || probes.len() < 100 {
        let made = Instant::now();
        let mut buffer = gst::Buffer::new();
        fill(&mut library.attach_batch(buffer.get_mut().unwrap(), FRAMES).unwrap(), &outputs);
        let start = Instant::now();
        decode(&mut library.batch(buffer.get_mut().unwrap()).unwrap().unwrap());
        let seen = read(&library.read_batch(&buffer).unwrap().unwrap());
        let done = Instant::now();
        assert!(seen.iter().all(|frame| frame.objects.len() == OBJECTS), "every frame has its objects");
        black_box(seen);
        let freeing = Instant::now();
        drop(buffer);
        probes.push((done - start).as_secs_f64() * 1e3);
        rest.push((start - made + freeing.elapsed()).as_secs_f64() * 1e3);
    }
    let probes = median(probes);
    print(&format!("deepstream.probes.{name}"), probes);
    print(&format!("deepstream.batch.{name}"), median(rest));
    probes
}

/// The muxer's and the inference element's part.
fn fill(batch: &mut Batch<'_>, outputs: &OwnedTensors) {
    for source in 0..FRAMES {
        let info = FrameInfo {
            source_id: source,
            pad_index: source,
            batch_id: source,
            frame_num: 1,
            pts: Some(40_000_000),
            source_size: (1920, 1080),
            pipeline_size: Some((PIPELINE.width, PIPELINE.height)),
        };
        batch.add_frame(&info).unwrap().attach_tensors(outputs.clone()).unwrap();
    }
}

/// The decoder probe.
fn decode(batch: &mut Batch<'_>) {
    for mut frame in batch.frames_mut() {
        let (width, height) = frame.pipeline_size().unwrap();
        let letterbox = Letterbox::fit(FrameSize { width, height }, NETWORK, LetterboxMode::Centred).unwrap();
        let found: Vec<_> = {
            let output = frame.tensors().find(|output| output.unique_id() == 1).unwrap();
            let rows = output.layer("output0").unwrap().data().unwrap();
            rows.chunks_exact(COLUMNS).filter_map(|row| detection(row, &letterbox)).collect()
        };
        frame.set_detected(true);
        for (class_id, confidence, rect) in found {
            let new = NewObject { class_id, label: "person", confidence, rect, component_id: 1 };
            frame.add_object(&new).unwrap();
        }
        frame.remove_tensors(Some(1));
    }
}

fn detection(row: &[f32], letterbox: &Letterbox) -> Option<(i32, f32, Rect)> {
    let &[x1, y1, x2, y2, score, class] = row else { return None };
    if score < 0.5 {
        return None;
    }
    let [left, top, right, bottom] = letterbox.to_frame(PixelBox::new(x1, y1, x2, y2).ok()?)?.corners();
    Some((class as i32, score, Rect { left, top, width: right - left, height: bottom - top }))
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

/// One frame's output: 30 rows of some score, spread over the input, and the others of nearly none.
fn outputs() -> OwnedTensors {
    let row = |place: usize| {
        let (x, y) = ((place * 37 % 560) as f32, (150 + place * 53 % 260) as f32);
        let score = if place.is_multiple_of(ROWS / OBJECTS) { 0.8 } else { 0.01 };
        [x, y, x + 40.0, y + 60.0, score, 0.0]
    };
    let data = (0..ROWS).flat_map(row).collect();
    OwnedTensors {
        unique_id: 1,
        network: (NETWORK.width, NETWORK.height),
        maintain_aspect_ratio: true,
        symmetric_padding: true,
        layers: vec![OwnedLayer { name: "output0".to_owned(), dims: vec![ROWS as u32, COLUMNS as u32], data }],
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn print(bench: &str, value: f64) {
    println!("{}", serde_json::json!({ "bench": bench, "value": value, "unit": "ms" }));
}
