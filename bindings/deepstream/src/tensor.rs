//! Outputs of networks, attached to frames: reading NVIDIA's and ours alike, and making ours.

use std::ffi::{CStr, CString, c_uint, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aivms_deepstream_sys::abi90::NvDsInferLayerInfo__bindgen_ty_1 as LayerDims;
use aivms_deepstream_sys::{
    FLOAT, HALF, INT8, INT32, NVDSINFER_TENSOR_OUTPUT_META, NvDsInferDims, NvDsInferLayerInfo, NvDsInferNetworkInfo,
    NvDsInferTensorMeta, NvDsUserMeta,
};
use glib_sys::gpointer;

/// How many dimensions a layer may have, without that of the batch.
const MAX_DIMS: usize = 8;

/// Payloads that [`payload`] or a copy made and nobody has freed yet.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// How many tensor payloads of ours are alive in this process; 0 when no buffer with attached tensors is left.
pub fn tensors_alive() -> usize {
    ALIVE.load(Ordering::SeqCst)
}

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

/// The outputs of a network for one frame, to be attached to it. The values are shared: cloning costs little.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedTensors {
    /// Unique id of the inference element.
    pub unique_id: u32,
    /// Width and height of the network's input in pixels.
    pub network: (u32, u32),
    /// Whether the frame kept its proportions when it was scaled to the network's input.
    pub maintain_aspect_ratio: bool,
    /// Whether it was then put into the middle.
    pub symmetric_padding: bool,
    /// The outputs.
    pub layers: Vec<OwnedLayer>,
}

/// One output of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedLayer {
    /// Its name.
    pub name: String,
    /// Its shape without the batch dimension; at most 8.
    pub dims: Vec<u32>,
    /// Its values in row order.
    pub data: Arc<[f32]>,
}

/// What the user metadata points to. Readers, NVIDIA's among them, see the first field; the rest keeps alive what it
/// points to.
#[repr(C)]
pub(crate) struct Payload {
    meta: NvDsInferTensorMeta,
    infos: Box<[NvDsInferLayerInfo]>,
    hosts: Box<[*mut c_void]>,
    devices: Box<[*mut c_void]>,
    source: Arc<Source>,
}

/// What copies of a payload share.
struct Source {
    tensors: OwnedTensors,
    names: Vec<CString>,
}

/// Checks outputs and makes what can be handed over.
pub(crate) fn payload(tensors: OwnedTensors) -> Result<Box<Payload>, TensorError> {
    let mut names = Vec::with_capacity(tensors.layers.len());
    for OwnedLayer { name, dims, data } in &tensors.layers {
        if dims.len() > MAX_DIMS || elements(dims) != Some(data.len()) {
            return Err(TensorError::Shape { name: name.clone(), dims: dims.clone(), values: data.len() });
        }
        names.push(CString::new(name.as_str()).map_err(|_| TensorError::Name { name: name.clone() })?);
    }
    Ok(Payload::of(Arc::new(Source { tensors, names })))
}

impl Payload {
    fn of(source: Arc<Source>) -> Box<Payload> {
        let tensors = &source.tensors;
        let mut infos: Box<[_]> =
            tensors.layers.iter().zip(&source.names).map(|(layer, name)| info(layer, name)).collect();
        let mut hosts: Box<[_]> =
            tensors.layers.iter().map(|layer| layer.data.as_ptr().cast_mut().cast::<c_void>()).collect();
        let mut devices: Box<[_]> = vec![ptr::null_mut(); hosts.len()].into();
        let meta = NvDsInferTensorMeta {
            unique_id: tensors.unique_id,
            num_output_layers: infos.len() as c_uint,
            output_layers_info: infos.as_mut_ptr(),
            out_buf_ptrs_host: hosts.as_mut_ptr(),
            out_buf_ptrs_dev: devices.as_mut_ptr(),
            gpu_id: 0,
            priv_data: ptr::null_mut(),
            network_info: NvDsInferNetworkInfo { width: tensors.network.0, height: tensors.network.1, channels: 3 },
            maintain_aspect_ratio: i32::from(tensors.maintain_aspect_ratio),
            symmetric_padding: i32::from(tensors.symmetric_padding),
        };
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Box::new(Payload { meta, infos, hosts, devices, source })
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

fn info(layer: &OwnedLayer, name: &CStr) -> NvDsInferLayerInfo {
    let mut d = [0; MAX_DIMS];
    d[..layer.dims.len()].copy_from_slice(&layer.dims);
    let dims = NvDsInferDims { numDims: layer.dims.len() as c_uint, d, numElements: layer.data.len() as c_uint };
    NvDsInferLayerInfo {
        dataType: FLOAT,
        __bindgen_anon_1: LayerDims { inferDims: dims },
        bindingIndex: 0,
        layerName: name.as_ptr(),
        buffer: ptr::null_mut(),
        isInput: 0,
    }
}

/// Makes user metadata own a payload.
///
/// # Safety
/// The user metadata is new: taken from a pool and on no frame yet.
pub(crate) unsafe fn hand_over(payload: Box<Payload>, user: NonNull<NvDsUserMeta>) {
    let user = user.as_ptr();
    // SAFETY: it lives and is only known to the caller. `copy` and `release` fit what is put in here.
    unsafe {
        (*user).user_meta_data = Box::into_raw(payload).cast();
        (*user).base_meta.meta_type = NVDSINFER_TENSOR_OUTPUT_META;
        (*user).base_meta.copy_func = Some(copy);
        (*user).base_meta.release_func = Some(release);
    }
}

/// Called when a buffer is copied, on any thread: gives what the copy's user metadata shall point to.
unsafe extern "C" fn copy(data: gpointer, _: gpointer) -> gpointer {
    // SAFETY: the library passes the NvDsUserMeta that `hand_over` filled, alive for the call.
    let payload = unsafe { (*data.cast::<NvDsUserMeta>()).user_meta_data.cast::<Payload>() };
    if payload.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: not null, so it is what `hand_over` or an earlier copy put there, not freed before its `release`.
    let source = unsafe { Arc::clone(&(*payload).source) };
    catch_unwind(AssertUnwindSafe(|| Box::into_raw(Payload::of(source)).cast())).unwrap_or(ptr::null_mut())
}

/// Called when the metadata is removed or its buffer freed, on any thread.
unsafe extern "C" fn release(data: gpointer, _: gpointer) {
    let user = data.cast::<NvDsUserMeta>();
    // SAFETY: the library passes the NvDsUserMeta that holds the payload, alive for the call. It is taken out, so that a
    // second call finds nothing.
    let payload = unsafe { std::mem::replace(&mut (*user).user_meta_data, ptr::null_mut()) }.cast::<Payload>();
    if !payload.is_null() {
        // SAFETY: made by Box::into_raw in `hand_over` or `copy`, and freed once.
        let payload = unsafe { Box::from_raw(payload) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(dims: &[u32], values: usize) -> OwnedTensors {
        let data = (0..values).map(|value| value as f32).collect();
        let layers = vec![OwnedLayer { name: "boxes".to_owned(), dims: dims.to_vec(), data }];
        OwnedTensors {
            unique_id: 1,
            network: (640, 384),
            maintain_aspect_ratio: true,
            symmetric_padding: false,
            layers,
        }
    }

    fn output(payload: &Payload) -> TensorOutput<'_> {
        TensorOutput { raw: NonNull::from(&payload.meta), borrow: PhantomData }
    }

    #[test]
    fn outputs_whose_shape_contradicts_their_values_are_refused_by_name() {
        for (dims, values) in [(&[2, 3][..], 5), (&[u32::MAX, u32::MAX, u32::MAX], 1), (&[1; 9], 1)] {
            let error = payload(layer(dims, values)).err().unwrap();
            assert!(matches!(&error, TensorError::Shape { name, .. } if name == "boxes"), "{error}");
        }
    }

    #[test]
    fn what_an_element_left_on_the_device_or_in_another_type_is_refused_with_the_setting_to_change() {
        let mut payload = payload(layer(&[2, 3], 6)).unwrap();
        assert_eq!(output(&payload).layer("boxes").unwrap().data().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        payload.infos[0].dataType = HALF;
        let error = output(&payload).layer("boxes").unwrap().data().unwrap_err();
        assert!(error.to_string().contains("F16") && error.to_string().contains("output-io-formats"), "{error}");
        payload.infos[0].dataType = FLOAT;
        payload.hosts[0] = ptr::null_mut();
        let error = output(&payload).layer("boxes").unwrap().data().unwrap_err();
        assert!(error.to_string().contains("disable-output-host-copy"), "{error}");
    }

    #[test]
    fn an_output_that_says_more_values_than_its_shape_has_is_not_read() {
        let mut payload = payload(layer(&[2, 3], 6)).unwrap();
        payload.infos[0].__bindgen_anon_1.inferDims.numElements = 600;
        assert!(matches!(output(&payload).layer("boxes").unwrap().data(), Err(TensorError::Shape { .. })));
        payload.infos[0].__bindgen_anon_1.inferDims.numDims = 2000;
        assert!(matches!(output(&payload).layer("boxes").unwrap().data(), Err(TensorError::Shape { .. })));
    }

    #[test]
    fn a_missing_output_is_named_together_with_those_there_are() {
        let payload = payload(layer(&[1], 1)).unwrap();
        let error = output(&payload).layer("scores").unwrap_err();
        assert_eq!(error.to_string(), r#"the network has no output "scores"; it has boxes"#);
    }
}
