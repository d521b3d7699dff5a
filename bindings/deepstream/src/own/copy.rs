//! The deep copy of a batch.

use std::ptr;

use aivms_deepstream_sys::{NvDsBatchMeta, NvDsUserMeta};
use glib_sys::{GList, g_strdup, gpointer};

use super::{elements, layout};
use crate::abi::with_layout;

/// # Safety
/// `data` is a batch of this layout that lives and that nobody changes meanwhile.
pub(super) unsafe extern "C" fn copy_batch<const V: u8>(data: gpointer, _: gpointer) -> gpointer {
    let source = data.cast::<NvDsBatchMeta>();
    // SAFETY: as demanded; the copy is new and known only here.
    unsafe {
        let copy = elements::create_batch::<V>((*source).max_frames_in_batch);
        (*copy).base_meta.copy_func = (*source).base_meta.copy_func;
        (*copy).base_meta.release_func = (*source).base_meta.release_func;
        (*copy).misc_batch_info = (*source).misc_batch_info;
        each((*source).batch_user_meta_list, |user| {
            if let Some(user) = copy_user(copy, user.cast()) {
                elements::add_user_to_batch(copy, user);
            }
        });
        each((*source).frame_meta_list, |frame| copy_frame::<V>(copy, frame));
        copy.cast()
    }
}

unsafe fn each(list: *mut GList, mut visit: impl FnMut(gpointer)) {
    let mut node = list;
    while !node.is_null() {
        // SAFETY: an intact list that nobody changes meanwhile.
        unsafe {
            visit((*node).data);
            node = (*node).next;
        }
    }
}

unsafe fn copy_frame<const V: u8>(batch: *mut NvDsBatchMeta, source: gpointer) {
    with_layout!(layout(V), sys => {
        // SAFETY: a frame of this layout as source; the new one is as large and known only here. Its lists and counts
        // are its own.
        unsafe {
            let source = source.cast::<sys::NvDsFrameMeta>();
            let copy = elements::acquire_frame(batch).cast::<sys::NvDsFrameMeta>();
            ptr::copy_nonoverlapping(source, copy, 1);
            (*copy).base_meta.batch_meta = batch.cast();
            (*copy).num_obj_meta = 0;
            (*copy).obj_meta_list = ptr::null_mut();
            (*copy).display_meta_list = ptr::null_mut();
            (*copy).frame_user_meta_list = ptr::null_mut();
            each((*source).obj_meta_list, |object| copy_object::<V>(batch, copy.cast(), object));
            each((*source).frame_user_meta_list, |user| {
                if let Some(user) = copy_user(batch, user.cast()) {
                    elements::add_user_to_frame::<V>(copy.cast(), user);
                }
            });
            elements::add_frame(batch, copy.cast());
        }
    });
}

/// Copies an object without what classifiers and others hung on it, and without its parent: nothing here uses them.
unsafe fn copy_object<const V: u8>(batch: *mut NvDsBatchMeta, frame: gpointer, source: gpointer) {
    with_layout!(layout(V), sys => {
        // SAFETY: an object of this layout as source; the new one is as large and known only here. Its text and lists
        // are its own.
        unsafe {
            let source = source.cast::<sys::NvDsObjectMeta>();
            let copy = elements::acquire_object(batch).cast::<sys::NvDsObjectMeta>();
            ptr::copy_nonoverlapping(source, copy, 1);
            (*copy).base_meta.batch_meta = batch.cast();
            (*copy).text_params.display_text = g_strdup((*source).text_params.display_text);
            (*copy).classifier_meta_list = ptr::null_mut();
            (*copy).obj_user_meta_list = ptr::null_mut();
            elements::add_object::<V>(frame.cast(), copy.cast(), ptr::null_mut());
        }
    });
}

/// Copies user metadata by its own function; without one it stays behind.
unsafe fn copy_user(batch: *mut NvDsBatchMeta, source: *mut NvDsUserMeta) -> Option<*mut NvDsUserMeta> {
    // SAFETY: the source lives; the new one is known only here.
    unsafe {
        let copy_func = (*source).base_meta.copy_func?;
        let copy = elements::acquire_user(batch);
        (*copy).base_meta.meta_type = (*source).base_meta.meta_type;
        (*copy).base_meta.uContext = (*source).base_meta.uContext;
        (*copy).base_meta.copy_func = Some(copy_func);
        (*copy).base_meta.release_func = (*source).base_meta.release_func;
        (*copy).user_meta_data = copy_func(source.cast(), ptr::null_mut());
        Some(copy)
    }
}
