//! Outputs of networks, attached to frames: reading NVIDIA's and ours alike. Making ours is in [`owned`].

mod owned;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use aivms_deepstream_sys::{
    FLOAT, HALF, INT8, INT32, NVDSINFER_TENSOR_OUTPUT_META, NvDsInferDims, NvDsInferLayerInfo, NvDsInferTensorMeta,
    NvDsUserMeta,
};

pub use owned::{OwnedLayer, OwnedTensors, tensors_alive};
pub(crate) use owned::{hand_over, payload};

/// How many dimensions a layer may have, without that of the batch.
const MAX_DIMS: usize = 8;

/// Why an output can't be read or attached.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TensorError {
    /// The model has no output of that name.
    #[error("the network has no output {name:?}; it has {present}")]
    NoLayer {
        /// What was asked for.
        name: String,
        /// What there is.
        present: String,
    },
    /// Something else than 32-bit floats: let the inference element give out fp32.
    #[error("output {name:?} holds {found:?}, not F32; set output-io-formats so that the network gives fp32")]
    NotF32 {
        /// Which output.
        name: String,
        /// What it holds.
        found: DataType,
    },
    /// The inference element left the data on the device.
    #[error("output {name:?} is not in host memory; set disable-output-host-copy=0")]
    NotOnHost {
        /// Which output.
        name: String,
    },
    /// Shape and number of values contradict each other.
    #[error("output {name:?} of shape {dims:?} can't hold {values} values")]
    Shape {
        /// Which output.
        name: String,
        /// Its shape without the batch dimension.
        dims: Vec<u32>,
        /// How many values there are or are said to be.
        values: usize,
    },
    /// A name that C can't hold.
    #[error("the name of output {name:?} has a NUL in it")]
    Name {
        /// Which output.
        name: String,
    },
}

/// What the values of a layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 8-bit integer.
    I8,
    /// 32-bit integer.
    I32,
    /// Another one, by NVIDIA's number.
    Other(u32),
}

/// All outputs of one network for one frame.
#[derive(Debug, Clone, Copy)]
pub struct TensorOutput<'a> {
    raw: NonNull<NvDsInferTensorMeta>,
    borrow: PhantomData<&'a ()>,
}

/// One output of a network.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    info: NonNull<NvDsInferLayerInfo>,
    host: *const c_void,
    borrow: PhantomData<&'a ()>,
}

/// What a user metadata points to, if it is of the kind that holds outputs.
///
/// # Safety
/// The user metadata lives and is not changed for `'a`.
pub(crate) unsafe fn of_user_meta<'a>(user: NonNull<NvDsUserMeta>) -> Option<TensorOutput<'a>> {
    // SAFETY: it lives, as demanded.
    let (kind, data) = unsafe { ((*user.as_ptr()).base_meta.meta_type, (*user.as_ptr()).user_meta_data) };
    // An element that can't copy its outputs leaves null in a copied buffer.
    let raw = NonNull::new(data.cast())?;
    (kind == NVDSINFER_TENSOR_OUTPUT_META).then_some(TensorOutput { raw, borrow: PhantomData })
}

impl<'a> TensorOutput<'a> {
    fn meta(&self) -> &'a NvDsInferTensorMeta {
        // SAFETY: user metadata of this kind points to this struct, which lives and stays as it is for 'a.
        unsafe { self.raw.as_ref() }
    }

    /// Unique id of the inference element.
    pub fn unique_id(&self) -> u32 {
        self.meta().unique_id
    }

    /// Width and height of the network's input in pixels.
    pub fn network(&self) -> (u32, u32) {
        (self.meta().network_info.width, self.meta().network_info.height)
    }

    /// Whether the frame kept its proportions when it was scaled to the network's input.
    pub fn maintain_aspect_ratio(&self) -> bool {
        self.meta().maintain_aspect_ratio != 0
    }

    /// Whether it was then put into the middle; else it is in the top left corner.
    pub fn symmetric_padding(&self) -> bool {
        self.meta().symmetric_padding != 0
    }

    /// The outputs. Their order is the network's and may change when it is built again: go by names.
    pub fn layers(&self) -> impl Iterator<Item = Layer<'a>> + use<'a> {
        let meta = self.meta();
        let (infos, hosts) = (meta.output_layers_info, meta.out_buf_ptrs_host);
        let count = if infos.is_null() { 0 } else { meta.num_output_layers as usize };
        (0..count).filter_map(move |index| {
            // SAFETY: both arrays, where there are any, have num_output_layers entries that live as long as the struct.
            let (info, host) = unsafe {
                let host = if hosts.is_null() { ptr::null_mut() } else { *hosts.add(index) };
                (infos.add(index), host)
            };
            Some(Layer { info: NonNull::new(info)?, host, borrow: PhantomData })
        })
    }

    /// The output of that name.
    pub fn layer(&self, name: &str) -> Result<Layer<'a>, TensorError> {
        self.layers().find(|layer| layer.name() == name).ok_or_else(|| TensorError::NoLayer {
            name: name.to_owned(),
            present: self.layers().map(|layer| layer.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl<'a> Layer<'a> {
    fn info(&self) -> &'a NvDsInferLayerInfo {
        // SAFETY: an entry of the array of a struct that lives and stays as it is for 'a.
        unsafe { self.info.as_ref() }
    }

    /// Its name; empty if it has none or one that is not text.
    pub fn name(&self) -> &'a str {
        let name = self.info().layerName;
        if name.is_null() {
            return "";
        }
        // SAFETY: names are ended by NUL and live as long as the struct.
        unsafe { CStr::from_ptr(name) }.to_str().unwrap_or("")
    }

    fn shape(&self) -> &'a NvDsInferDims {
        // SAFETY: the union has one view only.
        unsafe { &self.info().__bindgen_anon_1.inferDims }
    }

    /// Its shape without the batch dimension.
    pub fn dims(&self) -> &'a [u32] {
        let shape = self.shape();
        &shape.d[..(shape.numDims as usize).min(MAX_DIMS)]
    }

    /// What its values are.
    pub fn data_type(&self) -> DataType {
        match self.info().dataType {
            FLOAT => DataType::F32,
            HALF => DataType::F16,
            INT8 => DataType::I8,
            INT32 => DataType::I32,
            other => DataType::Other(other),
        }
    }

    /// Its values in row order, where they lie. NVIDIA's element lends them from a pool: do not keep the buffer for
    /// their sake.
    pub fn data(&self) -> Result<&'a [f32], TensorError> {
        let name = || self.name().to_owned();
        if self.data_type() != DataType::F32 {
            return Err(TensorError::NotF32 { name: name(), found: self.data_type() });
        }
        let said = self.shape().numElements as usize;
        if self.shape().numDims as usize > MAX_DIMS || elements(self.dims()) != Some(said) {
            return Err(TensorError::Shape { name: name(), dims: self.dims().to_vec(), values: said });
        }
        let host = self.host.cast::<f32>();
        if host.is_null() || !host.is_aligned() {
            return Err(TensorError::NotOnHost { name: name() });
        }
        // SAFETY: the element that attached the output promises that many values of that type at this place for as long
        // as the metadata lives; null, wrong alignment and a shape that contradicts itself were refused above.
        Ok(unsafe { std::slice::from_raw_parts(host, said) })
    }
}

/// How many values a shape holds; `None` if no memory could.
fn elements(dims: &[u32]) -> Option<usize> {
    let product = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim as usize))?;
    (product <= u32::MAX as usize).then_some(product)
}
