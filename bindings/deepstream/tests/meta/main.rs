//! The metadata from outside, with every library there is on this machine.
//!
//! Our own implementation is always there, in both layouts; NVIDIA's libraries where `scripts/fetch-deepstream` could get
//! them. They share one process, as they may in the product's tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and say what they left out"
)]

mod ended;
mod guard;
mod properties;
mod round_trip;
mod same;
mod threads;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use aivms_deepstream::{Abi, FrameInfo, Library, NewObject, OwnedLayer, OwnedTensors, Rect};
use gstreamer as gst;

/// Where `scripts/fetch-deepstream` puts NVIDIA's libraries (DeepStream 9.0.2).
fn fetched() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/deepstream/lib"));
    folder.join("libnvds_meta.so").is_file().then_some(folder)
}

/// NVIDIA's own, if it is there; says so if not.
fn real() -> Option<Arc<Library>> {
    let folder = fetched();
    if folder.is_none() {
        println!("NVIDIA's libraries are not here (scripts/fetch-deepstream says why); this ran on our own alone");
    }
    folder.map(|folder| Library::open(Some(&folder)).unwrap())
}

fn libraries() -> Vec<Arc<Library>> {
    static GST: Once = Once::new();
    GST.call_once(|| gst::init().unwrap());
    [Library::own(Abi::V71), Library::own(Abi::V90)].into_iter().chain(real()).collect()
}

/// Held by every test that attaches tensors: their count is one for the whole process.
fn counted() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn frame_info(source: u32) -> FrameInfo {
    FrameInfo {
        source_id: source + 100,
        pad_index: source,
        batch_id: source,
        frame_num: 7,
        pts: Some(u64::from(source) * 40_000_000),
        source_size: (2592, 1944),
        pipeline_size: Some((1280, 720)),
    }
}

fn person(left: f32) -> NewObject<'static> {
    NewObject {
        class_id: 0,
        label: "person",
        confidence: 0.75,
        rect: Rect { left, top: 20.0, width: 30.0, height: 40.0 },
        component_id: 1,
    }
}

fn tensors(values: &[f32]) -> OwnedTensors {
    let layers = vec![
        OwnedLayer { name: "boxes".to_owned(), dims: vec![values.len() as u32, 1], data: values.into() },
        OwnedLayer { name: "empty".to_owned(), dims: vec![0], data: [].into() },
    ];
    OwnedTensors { unique_id: 3, network: (640, 384), maintain_aspect_ratio: true, symmetric_padding: true, layers }
}
