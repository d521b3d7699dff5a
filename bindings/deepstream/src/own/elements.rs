//! Batches, their pools and what comes out of them.

use std::ffi::c_uint;
use std::ptr;

use aivms_deepstream_sys::{
    AnyFrameMeta, AnyObjectMeta, NVDS_BATCH_META, NVDS_FRAME_META, NVDS_OBJ_META, NVDS_USER_META, NvDsBaseMeta,
    NvDsBatchMeta, NvDsMetaPool, NvDsMetaType, NvDsUserMeta,
};
use glib_sys::{
    GFALSE, GList, GTRUE, g_free, g_list_append, g_list_prepend, g_list_remove, g_malloc0, gboolean, gpointer,
};

use super::layout;
use crate::abi::with_layout;
use crate::library::Sizes;

/// Allocates zeroed memory that `g_free` takes back.
pub(super) fn zeroed<T>() -> *mut T {
    // SAFETY: the size is that of the type, and g_malloc0 aligns for all of them; it ends the program rather than fail.
    unsafe { g_malloc0(size_of::<T>()).cast() }
}

fn pool(kind: NvDsMetaType, elements: c_uint, size: u32) -> *mut NvDsMetaPool {
    let pool = zeroed::<NvDsMetaPool>();
    // SAFETY: new, zeroed memory of that size, which is a valid value of the struct.
    unsafe {
        (*pool).meta_type = kind;
        (*pool).max_elements_in_pool = elements;
        (*pool).element_size = size;
    }
    pool
}

/// # Safety
/// None beyond being called from C; unsafe for its type.
pub(super) unsafe extern "C" fn create_batch<const V: u8>(size: c_uint) -> *mut NvDsBatchMeta {
    let sizes = Sizes::of(layout(V));
    let batch = zeroed::<NvDsBatchMeta>();
    // SAFETY: new, zeroed memory of that size, which is a valid value of the struct.
    unsafe {
        (*batch).base_meta.batch_meta = batch.cast();
        (*batch).base_meta.meta_type = NVDS_BATCH_META;
        (*batch).max_frames_in_batch = size;
        (*batch).frame_meta_pool = pool(NVDS_FRAME_META, size, sizes.frame);
        (*batch).obj_meta_pool = pool(NVDS_OBJ_META, size, sizes.object);
        (*batch).user_meta_pool = pool(NVDS_USER_META, size, sizes.user);
        glib_sys::g_rec_mutex_init(&raw mut (*batch).meta_mutex);
    }
    batch
}

/// # Safety
/// The batch came from `create_batch`, is on no buffer, and is used no more.
pub(super) unsafe extern "C" fn destroy_batch<const V: u8>(batch: *mut NvDsBatchMeta) -> gboolean {
    // SAFETY: as demanded; every element was made here and is on one list.
    unsafe {
        release_list((*batch).batch_user_meta_list, |user| release_user(batch, user.cast()));
        release_list((*batch).frame_meta_list, |frame| release_frame::<V>(batch, frame));
        let pools = [(*batch).frame_meta_pool, (*batch).obj_meta_pool, (*batch).user_meta_pool];
        let lost = pools.iter().any(|&pool| (*pool).num_full_elements > 0);
        for pool in pools {
            g_free(pool.cast());
        }
        glib_sys::g_rec_mutex_clear(&raw mut (*batch).meta_mutex);
        g_free(batch.cast());
        if lost { GFALSE } else { GTRUE }
    }
}

/// # Safety
/// As for `destroy_batch`.
pub(super) unsafe extern "C" fn release_batch<const V: u8>(data: gpointer, _: gpointer) {
    // SAFETY: as demanded.
    unsafe { destroy_batch::<V>(data.cast()) };
}

/// Gives every entry to `release` and frees the list.
unsafe fn release_list(list: *mut GList, mut release: impl FnMut(gpointer)) {
    let mut node = list;
    // SAFETY: an intact list whose entries are freed once.
    unsafe {
        while !node.is_null() {
            release((*node).data);
            node = (*node).next;
        }
        glib_sys::g_list_free(list);
    }
}

/// A new element of a pool, with what every metadata begins with.
unsafe fn acquire(batch: *mut NvDsBatchMeta, pool: *mut NvDsMetaPool) -> gpointer {
    // SAFETY: batch and pool live; every element is larger than its base.
    unsafe {
        let element = g_malloc0((*pool).element_size as usize);
        (*pool).num_full_elements += 1;
        let base = element.cast::<NvDsBaseMeta>();
        (*base).batch_meta = batch.cast();
        (*base).meta_type = (*pool).meta_type;
        element
    }
}

unsafe fn give_back(pool: *mut NvDsMetaPool, element: gpointer) {
    // SAFETY: the pool lives and the element came from it.
    unsafe {
        (*pool).num_full_elements -= 1;
        g_free(element);
    }
}

/// # Safety
/// The batch lives and is locked.
pub(super) unsafe extern "C" fn acquire_frame(batch: *mut NvDsBatchMeta) -> *mut AnyFrameMeta {
    // SAFETY: as demanded.
    unsafe { acquire(batch, (*batch).frame_meta_pool).cast() }
}

/// # Safety
/// The batch lives and is locked.
pub(super) unsafe extern "C" fn acquire_object(batch: *mut NvDsBatchMeta) -> *mut AnyObjectMeta {
    // SAFETY: as demanded.
    unsafe { acquire(batch, (*batch).obj_meta_pool).cast() }
}

/// # Safety
/// The batch lives and is locked.
pub(super) unsafe extern "C" fn acquire_user(batch: *mut NvDsBatchMeta) -> *mut NvDsUserMeta {
    // SAFETY: as demanded.
    unsafe { acquire(batch, (*batch).user_meta_pool).cast() }
}

/// # Safety
/// Both live, the batch is locked, the frame is on none.
pub(super) unsafe extern "C" fn add_frame(batch: *mut NvDsBatchMeta, frame: *mut AnyFrameMeta) {
    // SAFETY: as demanded.
    unsafe {
        (*batch).frame_meta_list = g_list_append((*batch).frame_meta_list, frame.cast());
        (*batch).num_frames_in_batch += 1;
    }
}

/// # Safety
/// Both live, their batch is locked, the object is on no frame.
pub(super) unsafe extern "C" fn add_object<const V: u8>(
    frame: *mut AnyFrameMeta,
    object: *mut AnyObjectMeta,
    parent: *mut AnyObjectMeta,
) {
    with_layout!(layout(V), sys => {
        let (frame, object) = (frame.cast::<sys::NvDsFrameMeta>(), object.cast::<sys::NvDsObjectMeta>());
        // SAFETY: as demanded; both have the layout that this instance is for.
        unsafe {
            (*object).parent = parent.cast();
            (*frame).obj_meta_list = g_list_prepend((*frame).obj_meta_list, object.cast());
            (*frame).num_obj_meta += 1;
        }
    });
}

/// # Safety
/// Both live, their batch is locked, the object is on the frame.
pub(super) unsafe extern "C" fn remove_object<const V: u8>(frame: *mut AnyFrameMeta, object: *mut AnyObjectMeta) {
    with_layout!(layout(V), sys => {
        let frame = frame.cast::<sys::NvDsFrameMeta>();
        // SAFETY: as demanded; both have the layout that this instance is for.
        unsafe {
            (*frame).obj_meta_list = g_list_remove((*frame).obj_meta_list, object.cast());
            (*frame).num_obj_meta -= 1;
            release_object::<V>(batch_of(frame.cast()), object.cast());
        }
    });
}

/// # Safety
/// Both live, the batch is locked, the user metadata is on nothing.
pub(super) unsafe extern "C" fn add_user_to_batch(batch: *mut NvDsBatchMeta, user: *mut NvDsUserMeta) {
    // SAFETY: as demanded.
    unsafe { (*batch).batch_user_meta_list = g_list_prepend((*batch).batch_user_meta_list, user.cast()) };
}

/// # Safety
/// Both live, their batch is locked, the user metadata is on nothing.
pub(super) unsafe extern "C" fn add_user_to_frame<const V: u8>(frame: *mut AnyFrameMeta, user: *mut NvDsUserMeta) {
    with_layout!(layout(V), sys => {
        let frame = frame.cast::<sys::NvDsFrameMeta>();
        // SAFETY: as demanded; the frame has the layout that this instance is for.
        unsafe { (*frame).frame_user_meta_list = g_list_prepend((*frame).frame_user_meta_list, user.cast()) };
    });
}

/// # Safety
/// Both live, their batch is locked, the user metadata is on the frame.
pub(super) unsafe extern "C" fn remove_user_from_frame<const V: u8>(frame: *mut AnyFrameMeta, user: *mut NvDsUserMeta) {
    with_layout!(layout(V), sys => {
        let frame = frame.cast::<sys::NvDsFrameMeta>();
        // SAFETY: as demanded; the frame has the layout that this instance is for.
        unsafe {
            (*frame).frame_user_meta_list = g_list_remove((*frame).frame_user_meta_list, user.cast());
            release_user(batch_of(frame.cast()), user);
        }
    });
}

unsafe fn batch_of(element: *mut NvDsBaseMeta) -> *mut NvDsBatchMeta {
    // SAFETY: elements live and were given their batch when they were acquired.
    unsafe { (*element).batch_meta.cast() }
}

unsafe fn release_frame<const V: u8>(batch: *mut NvDsBatchMeta, frame: gpointer) {
    with_layout!(layout(V), sys => {
        let raw = frame.cast::<sys::NvDsFrameMeta>();
        // SAFETY: a frame of this batch and layout, freed once with all that hangs on it.
        unsafe {
            release_list((*raw).frame_user_meta_list, |user| release_user(batch, user.cast()));
            release_list((*raw).obj_meta_list, |object| release_object::<V>(batch, object));
            give_back((*batch).frame_meta_pool, frame);
        }
    });
}

unsafe fn release_object<const V: u8>(batch: *mut NvDsBatchMeta, object: gpointer) {
    with_layout!(layout(V), sys => {
        let raw = object.cast::<sys::NvDsObjectMeta>();
        // SAFETY: an object of this batch and layout, freed once with its text and what hangs on it.
        unsafe {
            g_free((*raw).text_params.display_text.cast());
            release_list((*raw).obj_user_meta_list, |user| release_user(batch, user.cast()));
            give_back((*batch).obj_meta_pool, object);
        }
    });
}

unsafe fn release_user(batch: *mut NvDsBatchMeta, user: *mut NvDsUserMeta) {
    // SAFETY: user metadata of this batch, released once; its function gets the metadata, not what it points to.
    unsafe {
        if let Some(release) = (*user).base_meta.release_func {
            release(user.cast(), ptr::null_mut());
        }
        give_back((*batch).user_meta_pool, user.cast());
    }
}
