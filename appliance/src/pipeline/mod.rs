//! One camera: source, decode, detect, track, under its own supervision.

pub mod access_unit;
pub mod camera;
pub mod decode;
pub mod engine;
pub mod frame;
pub mod infer;
pub mod source;
