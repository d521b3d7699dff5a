//! The network as DeepStream takes it: the ONNX file, changed where nvinfer can't do what the description asks for.

use std::path::{Path, PathBuf};

use aivms_appliance_core::model::ModelDescription;
use sha2::{Digest as _, Sha256};

use super::error::DeepStreamError;
use super::nvinfer_config::has_common_deviation;
use super::onnx::{self, OnnxInput};
use crate::state::durable;

/// A network to be put to nvinfer.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// The ONNX file; one that was changed is there after [`place`](Self::place).
    pub(super) onnx: PathBuf,
    /// Its only input.
    pub(super) input: OnnxInput,
    /// What nvinfer is told; its deviations are one number.
    pub(super) model: ModelDescription,
    /// SHA-256 of the file, in hexadecimal digits.
    pub(super) digest: String,
    /// What the file is to hold when it is not the model's own.
    pub(super) changed: Option<Vec<u8>>,
}

/// Reads the model's file. nvinfer divides all channels by one number: where the description names three, the first
/// layer's weights are multiplied by the rest in a copy in `work_dir`, which computes the same to the last rounding.
pub(super) fn network(path: &Path, model: &ModelDescription, work_dir: &Path) -> Result<Network, DeepStreamError> {
    let refuse = |source| DeepStreamError::Onnx { path: path.to_owned(), source };
    let mut file = std::fs::read(path).map_err(|source| DeepStreamError::io(path, source))?;
    let input = onnx::input(&file).map_err(refuse)?;
    let (mut onnx, mut model, std) = (path.to_owned(), model.clone(), model.input.std);
    let is_changed = !has_common_deviation(std);
    if is_changed {
        onnx::scale_input(&mut file, std.map(|one| std[0] / one)).map_err(refuse)?;
        model.input.std = [std[0]; 3];
        let stem = path.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or("model");
        onnx = work_dir.join(format!("{stem}-one-deviation.onnx"));
    }
    let digest = hex::encode(Sha256::digest(&file));
    Ok(Network { onnx, input, model, digest, changed: is_changed.then_some(file) })
}

impl Network {
    /// Writes the file if it is not the model's own.
    pub(super) fn place(&self) -> Result<(), DeepStreamError> {
        self.changed.as_ref().map_or(Ok(()), |content| write(&self.onnx, content))
    }

    /// Most frames at once: what is wished, or one where the file fixes that.
    pub(super) fn batch(&self, wished: u32) -> u32 {
        if self.input.any_batch { wished } else { 1 }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(&self.onnx).map_or(0, |about| about.len())
    }
}

/// Puts a file in its place whole or not at all, also over a power cut.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), DeepStreamError> {
    let failed = |source| DeepStreamError::io(path, source);
    if std::fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    durable::make_dir(path.parent().unwrap_or(Path::new(".")))
        .and_then(|()| durable::replace(path, content))
        .map_err(failed)
}
