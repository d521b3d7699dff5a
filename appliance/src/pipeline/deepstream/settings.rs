//! What is fixed about the DeepStream engine at start.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where NVIDIA's packages put the current version.
pub const DEFAULT_DIR: &str = "/opt/nvidia/deepstream/deepstream";
/// The low-level library of nvtracker, in [`DeepStreamSettings::libraries`].
const TRACKER: &str = "libnvds_nvmultiobjecttracker.so";

/// What to load and how to run it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepStreamSettings {
    /// The model's `.onnx` file.
    pub model: PathBuf,
    /// The model's description; absent for the `.toml` file beside the model, or the built-in one of its file name.
    pub description: Option<PathBuf>,
    /// Where DeepStream is installed; its libraries are in `lib`.
    pub dir: PathBuf,
    /// Where the generated files are put.
    pub work_dir: PathBuf,
    /// Where engines of TensorRT are kept.
    pub engines_dir: PathBuf,
    /// Numbers that the network computes with.
    pub precision: Precision,
    /// The calibration table for [`Precision::Int8`].
    pub calibration: Option<PathBuf>,
    /// Most frames inferred at once; one where the model's file fixes that.
    pub batch: u32,
    /// Batches that are tracked without inference after each that is inferred.
    pub interval: u32,
}

/// Numbers that a network computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point: twice as fast on Jetson, and detections hardly differ.
    #[default]
    Fp16,
    /// 8-bit integers; needs a calibration table made for the model.
    Int8,
}

impl DeepStreamSettings {
    /// The folder of DeepStream's libraries.
    #[must_use]
    pub fn libraries(&self) -> PathBuf {
        libraries(&self.dir)
    }

    /// nvtracker's low-level library.
    #[must_use]
    pub fn tracker(&self) -> PathBuf {
        tracker(&self.dir)
    }
}

/// The folder of the libraries of the DeepStream in `dir`.
#[must_use]
pub(super) fn libraries(dir: &Path) -> PathBuf {
    dir.join("lib")
}

/// nvtracker's low-level library of the DeepStream in `dir`.
#[must_use]
pub(super) fn tracker(dir: &Path) -> PathBuf {
    libraries(dir).join(TRACKER)
}

impl Precision {
    /// nvinfer's number for it.
    #[must_use]
    pub fn network_mode(self) -> u8 {
        match self {
            Self::Fp32 => 0,
            Self::Int8 => 1,
            Self::Fp16 => 2,
        }
    }

    /// As written in the settings and in names of files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}
