//! Skeleton: the signatures that others code against; the bodies follow.
#![allow(clippy::todo, missing_docs, unused_variables, dead_code)]

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use gstreamer as gst;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    V71,
    V90,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("todo")]
    Todo,
}

#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    #[error("todo")]
    Todo,
}

#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    #[error("todo")]
    Todo,
}

#[derive(Debug)]
pub struct Library;

impl Library {
    pub fn open(dir: Option<&Path>) -> Result<Arc<Library>, OpenError> {
        todo!()
    }
    pub fn open_expecting(dir: Option<&Path>, abi: Abi) -> Result<Arc<Library>, OpenError> {
        todo!()
    }
    pub fn own(abi: Abi) -> Arc<Library> {
        todo!()
    }
    pub fn abi(&self) -> Abi {
        todo!()
    }
    /// The batch on a writable buffer, for reading and writing; `None`: there is none on it.
    pub fn batch<'b>(self: &'b Arc<Self>, buffer: &'b mut gst::BufferRef) -> Result<Option<Batch<'b>>, MetaError> {
        todo!()
    }
    /// The batch on a buffer that need not be writable, for reading only.
    pub fn read_batch<'b>(self: &'b Arc<Self>, buffer: &'b gst::BufferRef) -> Result<Option<BatchRef<'b>>, MetaError> {
        todo!()
    }
    pub fn attach_batch<'b>(
        self: &'b Arc<Self>,
        buffer: &'b mut gst::BufferRef,
        max_frames: u32,
    ) -> Result<Batch<'b>, MetaError> {
        todo!()
    }
}

/// Readable batch. What it hands out lives as long as the borrow of this value.
#[derive(Debug)]
pub struct BatchRef<'b>(PhantomData<(&'b (), *mut ())>);

impl<'b> BatchRef<'b> {
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        std::iter::from_fn(|| todo!())
    }
    /// Recursive lock of the batch, against other branches of the pipeline; take it briefly.
    pub fn lock(&self) -> MetaLock<'b> {
        todo!()
    }
    /// Tracks that ended with this batch, as nvtracker tells (user meta 18).
    pub fn ended_tracks(&self) -> Vec<EndedTrack> {
        todo!()
    }
}

/// Writable batch; all of `BatchRef` too.
#[derive(Debug)]
pub struct Batch<'b>(BatchRef<'b>);

impl<'b> Deref for Batch<'b> {
    type Target = BatchRef<'b>;
    fn deref(&self) -> &BatchRef<'b> {
        &self.0
    }
}

impl Batch<'_> {
    pub fn frames_mut(&mut self) -> impl Iterator<Item = FrameMut<'_>> {
        std::iter::from_fn(|| todo!())
    }
    pub fn add_frame(&mut self, info: &FrameInfo) -> Result<FrameMut<'_>, MetaError> {
        todo!()
    }
    /// For stand-ins of nvtracker.
    pub fn attach_ended_tracks(&mut self, tracks: &[EndedTrack]) -> Result<(), MetaError> {
        todo!()
    }
}

#[derive(Debug)]
pub struct MetaLock<'b>(PhantomData<(&'b (), *mut ())>);

#[derive(Debug, Clone, PartialEq)]
pub struct FrameInfo {
    pub source_id: u32,
    pub pad_index: u32,
    pub batch_id: u32,
    pub frame_num: i32,
    /// Nanoseconds of the buffer's stream.
    pub pts: Option<u64>,
    /// The camera's frame in pixels.
    pub source_size: (u32, u32),
    /// What the muxer scaled it to, in pixels.
    pub pipeline_size: Option<(u32, u32)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EndedTrack {
    pub pad_index: u32,
    pub object_id: u64,
    pub class_id: u16,
    pub label: String,
    pub frames: Vec<EndedTrackFrame>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EndedTrackFrame {
    pub frame_num: u32,
    pub rect: Rect,
    pub confidence: Option<f32>,
    pub age: u32,
}

#[derive(Debug)]
pub struct Frame<'a>(PhantomData<(&'a (), *mut ())>);

impl Frame<'_> {
    pub fn source_id(&self) -> u32 {
        todo!()
    }
    pub fn pad_index(&self) -> u32 {
        todo!()
    }
    pub fn batch_id(&self) -> u32 {
        todo!()
    }
    pub fn frame_num(&self) -> i32 {
        todo!()
    }
    pub fn pts(&self) -> Option<u64> {
        todo!()
    }
    pub fn source_size(&self) -> (u32, u32) {
        todo!()
    }
    pub fn pipeline_size(&self) -> Option<(u32, u32)> {
        todo!()
    }
    pub fn detected(&self) -> bool {
        todo!()
    }
    pub fn objects(&self) -> impl Iterator<Item = Object<'_>> {
        std::iter::from_fn(|| todo!())
    }
    pub fn tensors(&self) -> impl Iterator<Item = TensorOutput<'_>> {
        std::iter::from_fn(|| todo!())
    }
}

/// Writable frame; all of `Frame` too.
#[derive(Debug)]
pub struct FrameMut<'a>(Frame<'a>);

impl<'a> Deref for FrameMut<'a> {
    type Target = Frame<'a>;
    fn deref(&self) -> &Frame<'a> {
        &self.0
    }
}

impl FrameMut<'_> {
    pub fn set_detected(&mut self, detected: bool) {
        todo!()
    }
    pub fn objects_mut(&mut self) -> impl Iterator<Item = ObjectMut<'_>> {
        std::iter::from_fn(|| todo!())
    }
    pub fn add_object(&mut self, new: &NewObject<'_>) -> Result<ObjectMut<'_>, MetaError> {
        todo!()
    }
    /// Removes the objects for which `keep` says false; it may also change them.
    pub fn retain_objects(&mut self, keep: impl FnMut(&mut ObjectMut<'_>) -> bool) {
        todo!()
    }
    pub fn attach_tensors(&mut self, tensors: OwnedTensors) -> Result<(), MetaError> {
        todo!()
    }
    /// Removes the tensor outputs of one inference element (`unique_id`), or all; returns how many.
    pub fn remove_tensors(&mut self, unique_id: Option<u32>) -> usize {
        todo!()
    }
}

/// Pixels of the muxer's output.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewObject<'a> {
    pub class_id: i32,
    pub label: &'a str,
    pub confidence: f32,
    pub rect: Rect,
    pub component_id: i32,
}

#[derive(Debug)]
pub struct Object<'a>(PhantomData<(&'a (), *mut ())>);

impl Object<'_> {
    pub fn class_id(&self) -> i32 {
        todo!()
    }
    pub fn component_id(&self) -> i32 {
        todo!()
    }
    /// `None`: not tracked.
    pub fn object_id(&self) -> Option<u64> {
        todo!()
    }
    pub fn confidence(&self) -> Option<f32> {
        todo!()
    }
    pub fn tracker_confidence(&self) -> Option<f32> {
        todo!()
    }
    pub fn rect(&self) -> Rect {
        todo!()
    }
    /// `None`: the tracker added the object, no detector saw it in this frame.
    pub fn detector_box(&self) -> Option<Rect> {
        todo!()
    }
    pub fn label(&self) -> Cow<'_, str> {
        todo!()
    }
}

/// Writable object; all of `Object` too.
#[derive(Debug)]
pub struct ObjectMut<'a>(Object<'a>);

impl<'a> Deref for ObjectMut<'a> {
    type Target = Object<'a>;
    fn deref(&self) -> &Object<'a> {
        &self.0
    }
}

impl ObjectMut<'_> {
    pub fn set_object_id(&mut self, id: Option<u64>) {
        todo!()
    }
    pub fn set_rect(&mut self, rect: Rect) {
        todo!()
    }
    pub fn set_tracker_confidence(&mut self, confidence: Option<f32>) {
        todo!()
    }
    pub fn set_detector_box(&mut self, rect: Option<Rect>) {
        todo!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    F32,
    F16,
    I8,
    I32,
    Other(u32),
}

#[derive(Debug)]
pub struct TensorOutput<'a>(PhantomData<(&'a (), *mut ())>);

impl<'a> TensorOutput<'a> {
    pub fn unique_id(&self) -> u32 {
        todo!()
    }
    /// Width and height of the network's input in pixels.
    pub fn network(&self) -> (u32, u32) {
        todo!()
    }
    pub fn maintain_aspect_ratio(&self) -> bool {
        todo!()
    }
    pub fn symmetric_padding(&self) -> bool {
        todo!()
    }
    pub fn layers(&self) -> impl Iterator<Item = Layer<'a>> + use<'a> {
        std::iter::from_fn(|| todo!())
    }
    pub fn layer(&self, name: &str) -> Result<Layer<'a>, TensorError> {
        todo!()
    }
}

#[derive(Debug)]
pub struct Layer<'a>(PhantomData<(&'a (), *mut ())>);

impl<'a> Layer<'a> {
    pub fn name(&self) -> &'a str {
        todo!()
    }
    pub fn dims(&self) -> &'a [u32] {
        todo!()
    }
    pub fn data_type(&self) -> DataType {
        todo!()
    }
    pub fn data(&self) -> Result<&'a [f32], TensorError> {
        todo!()
    }
}

/// Output of a network for one frame, to be attached to it. Data is shared: cloning and copying buffers is cheap.
#[derive(Debug, Clone)]
pub struct OwnedTensors {
    pub unique_id: u32,
    pub network: (u32, u32),
    pub maintain_aspect_ratio: bool,
    pub symmetric_padding: bool,
    pub layers: Vec<OwnedLayer>,
}

#[derive(Debug, Clone)]
pub struct OwnedLayer {
    pub name: String,
    /// Without the batch dimension; at most 8.
    pub dims: Vec<u32>,
    pub data: Arc<[f32]>,
}

/// How many tensor payloads made by `attach_tensors` are alive in this process.
pub fn tensors_alive() -> usize {
    todo!()
}
