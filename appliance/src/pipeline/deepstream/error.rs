//! Why the DeepStream engine can't be used.

use std::path::{Path, PathBuf};

use aivms_deepstream::OpenError;

use super::nvinfer_config::Unfit;
use super::onnx::OnnxError;
use crate::pipeline::engine::EngineError;
use crate::pipeline::infer::DetectorError;

/// Says what keeps the DeepStream engine from being used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DeepStreamError {
    /// GStreamer itself can't be started.
    #[error("GStreamer can't be started: {0}")]
    Gstreamer(String),
    /// Elements are not installed.
    #[error(
        "GStreamer has no {}; install DeepStream, or set detection.engine = \"cpu\"", .0.join(", ")
    )]
    Elements(Vec<&'static str>),
    /// The metadata libraries can't be used.
    #[error(transparent)]
    Library(#[from] OpenError),
    /// The tracker's library is not there.
    #[error("nvtracker needs {}, which is not there; install DeepStream or correct detection.deepstream_dir", .0.display())]
    Tracker(PathBuf),
    /// The model's description can't be used.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// The model's file can't be used.
    #[error("the model {}: {source}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: OnnxError,
    },
    /// nvinfer can't do what a field asks for.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The precision needs a table.
    #[error(
        "detection.precision: int8 needs a calibration table made for this model; name it as detection.int8_calibration, or use fp16"
    )]
    NoCalibration,
    /// The network has not been built for this machine.
    #[error(
        "there is no TensorRT engine for {model} ({what}); build it with `aivms-appliance model build`, which takes minutes"
    )]
    NoEngine {
        /// The model's file.
        model: String,
        /// What it would be for.
        what: String,
    },
    /// An engine file is not what was built.
    #[error("the TensorRT engine {} {problem}; build it anew with `aivms-appliance model build`", path.display())]
    BadEngine {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What an engine would be built with or for can't be found out.
    #[error("{0}")]
    Machine(String),
    /// A build failed.
    #[error("building the TensorRT engine failed: {0}")]
    Build(String),
    /// A pipeline failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl DeepStreamError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
