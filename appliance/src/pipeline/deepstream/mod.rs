//! The engine on NVIDIA's DeepStream: the accelerator decodes, infers and tracks; this project's code reads tensors,
//! judges boxes and takes the objects out.
//!
//! ```text
//! per camera                                          shared by cameras of one shape
//! units ─ appsrc ─ nvv4l2decoder ─ choose ─ tee ─ queue ─ nvstreammux ─ nvinfer ─ decoder probe
//!                                            └─ snapshots                           ─ nvtracker ─ reader probe
//! ```
//!
//! Nothing of NVIDIA's is linked: elements come from GStreamer's registry, metadata libraries are opened at run time,
//! so one program starts on every machine.

mod branch;
mod build;
mod cache;
mod check;
mod decoder_probe;
mod elements;
mod engine;
mod error;
mod lane;
mod machine;
pub mod model;
mod nvinfer_config;
mod onnx;
mod reader_probe;
mod settings;
mod shape;
mod shared;
mod tracker_config;
mod trial;
mod weights;

pub use self::cache::KnownEngine;
pub use self::check::open;
pub use self::engine::DeepStreamEngine;
pub use self::error::DeepStreamError;
pub use self::nvinfer_config::Unfit;
pub use self::onnx::OnnxError;
pub use self::settings::{DEFAULT_DIR, DeepStreamSettings, Precision};
