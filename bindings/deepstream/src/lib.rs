//! Safe reading and writing of the metadata that NVIDIA DeepStream attaches to buffers with batches of frames.
//!
//! A [`Library`] stands for NVIDIA's two metadata libraries, opened at run time and checked for the layout they were
//! built with, or for our own implementation of the same functions over the same structs, for machines without them.
//! Everything after it is the same: [`Batch`] → [`Frame`] → [`Object`] and [`TensorOutput`], all bound to the borrow of
//! the buffer, so that nothing outlives the metadata that it points to. What can change it needs `&mut`: `frames_mut`,
//! `objects_mut`.
//!
//! Sentinels of the C side become `Option` here: an id of all ones, a negative confidence, a time of all ones, a detector's
//! box of no size. Pointers never leave this crate.

mod abi;
mod batch;
mod frame;
mod library;
mod list;
mod lock;
mod object;
mod own;
mod tensor;
mod tracks;

pub use abi::Abi;
pub use batch::{Batch, BatchRef, MetaError};
pub use frame::{Frame, FrameInfo, FrameMut};
pub use library::{Library, OpenError, Sizes};
pub use lock::MetaLock;
pub use object::{NewObject, Object, ObjectMut, Rect};
pub use tensor::{DataType, Layer, OwnedLayer, OwnedTensors, TensorError, TensorOutput, tensors_alive};
pub use tracks::{EndedTrack, EndedTrackFrame};
