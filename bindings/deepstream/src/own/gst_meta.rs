//! The metadata on GStreamer's buffers that carries a batch.

use std::ffi::c_char;
use std::ptr;
use std::sync::OnceLock;

use aivms_deepstream_sys::abi90::{NvDsMetaCopyFunc, NvDsMetaReleaseFunc};
use aivms_deepstream_sys::{NVDS_BATCH_GST_META, NvDsBatchMeta, NvDsMeta};
use glib_sys::{GFALSE, GTRUE, GType, gboolean, gpointer};
use gstreamer_sys as ffi;
use gstreamer_sys::{GstBuffer, GstMeta, GstMetaInfo, GstMetaTransformCopy};

unsafe extern "C" {
    /// The kind of a transformation that is a plain copy. libgstreamer has it; gstreamer-sys does not declare it.
    static _gst_meta_transform_copy: glib_sys::GQuark;
}

/// The type under which buffers carry it. It has a tag, which is why filters that do not know that drop it, as they drop
/// NVIDIA's. Name and tag differ from NVIDIA's, so that both may be registered in one process; its library takes whatever
/// has its tag for its own.
pub(super) unsafe extern "C" fn api_type() -> GType {
    static TYPE: OnceLock<GType> = OnceLock::new();
    *TYPE.get_or_init(|| {
        let mut tags: [*const c_char; 2] = [c"aivms-nvdsmeta".as_ptr(), ptr::null()];
        // SAFETY: a name and a list of tags ended by null; registered once.
        unsafe { ffi::gst_meta_api_type_register(c"AivmsNvDsMetaAPI".as_ptr(), tags.as_mut_ptr()) }
    })
}

pub(super) unsafe extern "C" fn info() -> *const GstMetaInfo {
    /// GStreamer's description of the type, which lives for the whole process and is never changed.
    struct Info(*const GstMetaInfo);
    // SAFETY: only the address is shared, of something that stays as it is.
    unsafe impl Send for Info {}
    // SAFETY: as for Send.
    unsafe impl Sync for Info {}
    static INFO: OnceLock<Info> = OnceLock::new();
    // SAFETY: registered once, with functions that fit the struct whose size is given.
    INFO.get_or_init(|| unsafe {
        Info(ffi::gst_meta_register(
            api_type(),
            c"AivmsNvDsMeta".as_ptr(),
            size_of::<NvDsMeta>(),
            Some(init),
            Some(free),
            Some(transform),
        ))
    })
    .0
}

/// # Safety
/// The buffer is writable; `data` fits the functions.
pub(super) unsafe extern "C" fn add(
    buffer: *mut GstBuffer,
    data: gpointer,
    user_data: gpointer,
    copy: NvDsMetaCopyFunc,
    release: NvDsMetaReleaseFunc,
) -> *mut NvDsMeta {
    // SAFETY: as demanded; what GStreamer makes has the size that was registered.
    unsafe {
        let meta = ffi::gst_buffer_add_meta(buffer, info(), ptr::null_mut()).cast::<NvDsMeta>();
        if !meta.is_null() {
            (*meta).meta_data = data;
            (*meta).user_data = user_data;
            (*meta).copyfunc = copy;
            (*meta).freefunc = release;
        }
        meta
    }
}

/// # Safety
/// The buffer lives.
pub(super) unsafe extern "C" fn batch(buffer: *mut GstBuffer) -> *mut NvDsBatchMeta {
    let mut state: gpointer = ptr::null_mut();
    // SAFETY: the buffer lives; metadata filtered by our type is our struct.
    unsafe {
        loop {
            let meta = ffi::gst_buffer_iterate_meta_filtered(buffer, &raw mut state, api_type()).cast::<NvDsMeta>();
            if meta.is_null() {
                return ptr::null_mut();
            }
            if (*meta).meta_type == NVDS_BATCH_GST_META {
                return (*meta).meta_data.cast();
            }
        }
    }
}

/// GStreamer does not zero the part of a metadata that is ours.
unsafe extern "C" fn init(meta: *mut GstMeta, _: gpointer, _: *mut GstBuffer) -> gboolean {
    let meta = meta.cast::<NvDsMeta>();
    // SAFETY: GStreamer passes a new metadata of the registered size.
    unsafe {
        (*meta).meta_data = ptr::null_mut();
        (*meta).user_data = ptr::null_mut();
        (*meta).meta_type = 0;
        (*meta).copyfunc = None;
        (*meta).freefunc = None;
        (*meta).gst_to_nvds_meta_transform_func = None;
        (*meta).gst_to_nvds_meta_release_func = None;
    }
    GTRUE
}

unsafe extern "C" fn free(meta: *mut GstMeta, _: *mut GstBuffer) {
    let meta = meta.cast::<NvDsMeta>();
    // SAFETY: GStreamer passes a metadata of ours, once; the function fits the data.
    unsafe {
        if let (Some(release), false) = ((*meta).freefunc, (*meta).meta_data.is_null()) {
            release((*meta).meta_data, (*meta).user_data);
        }
    }
}

/// Copies the batch with the buffer; other transformations leave it behind.
unsafe extern "C" fn transform(
    target: *mut GstBuffer,
    meta: *mut GstMeta,
    _: *mut GstBuffer,
    kind: glib_sys::GQuark,
    data: gpointer,
) -> gboolean {
    // SAFETY: GStreamer passes a metadata of ours and a writable target; `data` is the struct that the kind says.
    unsafe {
        if kind != _gst_meta_transform_copy || (*data.cast::<GstMetaTransformCopy>()).region != GFALSE {
            return GFALSE;
        }
        let meta = meta.cast::<NvDsMeta>();
        let Some(copy) = (*meta).copyfunc else { return GFALSE };
        let copied = copy((*meta).meta_data, (*meta).user_data);
        let new = add(target, copied, (*meta).user_data, (*meta).copyfunc, (*meta).freefunc);
        if new.is_null() {
            return GFALSE;
        }
        (*new).meta_type = (*meta).meta_type;
        (*new).gst_to_nvds_meta_transform_func = (*meta).gst_to_nvds_meta_transform_func;
        (*new).gst_to_nvds_meta_release_func = (*meta).gst_to_nvds_meta_release_func;
    }
    GTRUE
}
