//! Lending ONNX Runtime's outputs to the decoders.

use std::borrow::Cow;

use aivms_appliance_core::decode::{DecodeError, OutputTensor};
use ort::session::SessionOutputs;
use ort::value::{DynValue, TensorElementType, ValueType};

use super::DetectError;

/// Hands every output to `decode`.
pub(super) fn read<T>(
    outputs: &SessionOutputs<'_>,
    decode: impl FnOnce(&[OutputTensor<'_>]) -> Result<T, DecodeError>,
) -> Result<T, DetectError> {
    let mut parts = Vec::with_capacity(outputs.len());
    for (index, name) in outputs.keys().enumerate() {
        let (shape, data) = numbers(&outputs[index])?;
        parts.push((name, shape, data));
    }
    let tensors: Vec<_> = parts.iter().map(|(name, shape, data)| OutputTensor { name, data, shape }).collect();
    Ok(decode(&tensors)?)
}

/// Shape and numbers of one output. Class numbers come as integers; they become what they are as floats.
fn numbers(output: &DynValue) -> Result<(Vec<usize>, Cow<'_, [f32]>), ort::Error> {
    let element = match output.dtype() {
        ValueType::Tensor { ty, .. } => Some(*ty),
        _ => None,
    };
    Ok(match element {
        Some(TensorElementType::Int64) => {
            let (shape, integers) = output.try_extract_tensor::<i64>()?;
            (shape_of(shape), integers.iter().map(|&integer| integer as f32).collect())
        }
        Some(TensorElementType::Int32) => {
            let (shape, integers) = output.try_extract_tensor::<i32>()?;
            (shape_of(shape), integers.iter().map(|&integer| integer as f32).collect())
        }
        _ => {
            let (shape, data) = output.try_extract_tensor::<f32>()?;
            (shape_of(shape), Cow::Borrowed(data))
        }
    })
}

fn shape_of(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|&side| usize::try_from(side).unwrap_or(0)).collect()
}
