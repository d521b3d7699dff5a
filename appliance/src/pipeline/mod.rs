//! From cameras to messages: source, decode, detect, track and judge, each camera under its own supervision.
//!
//! ```text
//! source ─ access units ─┬─ (recorder, live view)
//!                        └─ engine: decode ─ detect ─ track ─ frame detections ─ analysis ─ bodies
//! ```
//!
//! [`camera`] owns one camera and outlives whatever its [`source`] does. An [`engine`] turns access units into tracked
//! objects; the one without special hardware is the [`Detector`] over [`decode`] and ONNX Runtime, the one for NVIDIA's
//! SDK is in [`deepstream`].

pub mod access_unit;
pub mod camera;
pub mod choice;
pub mod consumer;
mod cpu;
pub mod decode;
pub mod deepstream;
pub mod engine;
pub mod frame;
pub mod infer;
pub mod paced;
mod probe;
pub mod snapshot;
pub mod source;
mod unit_feed;

pub use self::camera::{CameraCounters, CameraHandle, CameraOutput, CameraSpec, SpecError, check_camera, spawn_camera};
pub use self::infer::{Detector, DetectorError, DetectorSettings};
pub use self::probe::{ProbeError, ProbeReport, probe, probe_camera};
