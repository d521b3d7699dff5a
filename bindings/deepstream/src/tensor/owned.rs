//! Outputs that Rust owns and hands over to the metadata, which copies and frees them through the functions here.

use std::ffi::{CStr, CString, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aivms_deepstream_sys::abi90::NvDsInferLayerInfo__bindgen_ty_1 as LayerDims;
use aivms_deepstream_sys::{
    FLOAT, NVDSINFER_TENSOR_OUTPUT_META, NvDsInferDims, NvDsInferLayerInfo, NvDsInferNetworkInfo, NvDsInferTensorMeta,
    NvDsUserMeta,
};
use glib_sys::gpointer;

use super::{MAX_DIMS, TensorError, elements};

/// Payloads that [`payload`] or a copy made and nobody has freed yet.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// How many tensor payloads of ours are alive in this process; 0 when no buffer with attached tensors is left.
pub fn tensors_alive() -> usize {
    ALIVE.load(Ordering::SeqCst)
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
    pub(super) meta: NvDsInferTensorMeta,
    pub(super) infos: Box<[NvDsInferLayerInfo]>,
    pub(super) hosts: Box<[*mut c_void]>,
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
