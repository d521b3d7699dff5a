//! Does once, many times over, everything that the bindings can do, for a tool that watches the memory: run by
//! `scripts/check-memory`.
//!
//! ```text
//! exercise own71 | own90 | FOLDER-OF-NVIDIA'S-LIBRARIES  [--leak]
//! ```
//!
//! `--leak` leaks a frame's outputs, to show that the tool would notice.
#![allow(clippy::print_stdout, reason = "says what it did")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a check that can't go on has failed")]

use std::path::Path;
use std::sync::Arc;
use std::thread;

use aivms_deepstream::{
    Abi, EndedTrack, EndedTrackFrame, FrameInfo, Library, NewObject, OwnedLayer, OwnedTensors, Rect, tensors_alive,
};
use gstreamer as gst;

const ROUNDS: u32 = 20;
const FRAMES: u32 = 4;
const OBJECTS: u32 = 12;

fn main() {
    gst::init().unwrap();
    let which = std::env::args().nth(1).unwrap_or_default();
    let library = match which.as_str() {
        "own71" => Library::own(Abi::V71),
        "own90" => Library::own(Abi::V90),
        folder => Library::open(Some(Path::new(folder))).unwrap(),
    };
    let other = if library.abi() == Abi::V71 { Abi::V90 } else { Abi::V71 };
    println!("refused: {}", library.clone().expecting(other).unwrap_err());
    let mut read = 0;
    for round in 0..ROUNDS {
        read += round_trip(&library, round);
    }
    thread::scope(|scope| {
        for worker in 0..4 {
            let library = &library;
            scope.spawn(move || round_trip(library, worker));
        }
    });
    if std::env::args().any(|argument| argument == "--leak") {
        std::mem::forget(std::hint::black_box(Box::new(outputs(1, 1))));
    }
    assert_eq!(tensors_alive(), 0, "tensor payloads that nobody freed");
    // Threads of GStreamer and its registry would show as reachable memory.
    // SAFETY: nothing of GStreamer's is alive or used any more.
    unsafe { gst::deinit() };
    println!("{}: {read} objects read, no tensor payload alive", library.name().display());
}

/// Makes a batch, writes and changes it, copies its buffer, frees the original and reads the copy.
fn round_trip(library: &Arc<Library>, round: u32) -> usize {
    let mut buffer = gst::Buffer::new();
    let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 2).unwrap();
    for source in 0..FRAMES {
        write_frame(&mut batch, source, round);
    }
    batch.attach_ended_tracks(&[ended(0, 3), ended(1, 0)]).unwrap();
    assert!(library.attach_batch(buffer.get_mut().unwrap(), 2).is_err());

    let mut copy = buffer.copy();
    let copy_of_copy = copy.copy();
    drop(buffer);
    let mut batch = library.batch(copy.get_mut().unwrap()).unwrap().unwrap();
    for mut frame in batch.frames_mut() {
        frame.retain_objects(|object| object.class_id() % 2 == 0);
        frame.remove_tensors(Some(2));
    }
    drop(copy);
    read(library, &copy_of_copy)
}

fn write_frame(batch: &mut aivms_deepstream::Batch<'_>, source: u32, round: u32) {
    let info = FrameInfo {
        source_id: source,
        pad_index: source,
        batch_id: source,
        frame_num: 1,
        pts: Some(u64::from(round)),
        source_size: (1920, 1080),
        pipeline_size: Some((1280, 720)),
    };
    let mut frame = batch.add_frame(&info).unwrap();
    for unique_id in [1, 2] {
        frame.attach_tensors(outputs(unique_id, round)).unwrap();
    }
    // One that is refused must leave nothing behind.
    let mut wrong = outputs(3, round);
    wrong.layers[0].dims = vec![7];
    assert!(frame.attach_tensors(wrong).is_err());
    let long = "ö".repeat(100);
    for object in 0..OBJECTS {
        let label = if object.is_multiple_of(3) { long.as_str() } else { "person" };
        let rect = Rect { left: object as f32, top: 1.0, width: 2.0, height: 3.0 };
        let new = NewObject { class_id: object as i32, label, confidence: 0.5, rect, component_id: 1 };
        frame.add_object(&new).unwrap().set_object_id(Some(u64::from(object)));
    }
    frame.set_detected(true);
    frame.retain_objects(|object| object.class_id() != 5);
    frame.remove_tensors(Some(1));
}

fn read(library: &Library, buffer: &gst::BufferRef) -> usize {
    let batch = library.read_batch(buffer).unwrap().unwrap();
    let _lock = batch.lock();
    assert_eq!(batch.ended_tracks(), [ended(0, 3), ended(1, 0)]);
    let mut objects = 0;
    for frame in batch.frames() {
        for output in frame.tensors() {
            let values = output.layer("scores").unwrap().data().unwrap();
            assert_eq!(values.iter().sum::<f32>(), values[0] * 64.0);
        }
        for object in frame.objects() {
            assert!(object.label().len() <= 127 && object.detector_box().is_some());
            objects += 1;
        }
    }
    assert_eq!(objects, (FRAMES * (OBJECTS - 1)) as usize);
    objects
}

fn outputs(unique_id: u32, round: u32) -> OwnedTensors {
    let layer = OwnedLayer { name: "scores".to_owned(), dims: vec![8, 8], data: [round as f32; 64].into() };
    OwnedTensors {
        unique_id,
        network: (640, 640),
        maintain_aspect_ratio: true,
        symmetric_padding: false,
        layers: vec![layer],
    }
}

fn ended(pad_index: u32, frames: u32) -> EndedTrack {
    let frame = |age| EndedTrackFrame { frame_num: age, rect: Rect::default(), confidence: None, age };
    EndedTrack {
        pad_index,
        object_id: 9,
        class_id: 1,
        label: "car".to_owned(),
        frames: (0..frames).map(frame).collect(),
    }
}
