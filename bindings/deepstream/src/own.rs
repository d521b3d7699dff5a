//! Our own implementation of the functions, over the same structs.
//!
//! It exists so that everything that reads and writes metadata runs where NVIDIA's libraries can't be had, and under
//! tools that look for memory errors. It keeps to what the real ones do where that can be observed: elements come zeroed;
//! frames are appended to their list, all else is prepended, so that a copy, which is deep, turns the order of objects
//! round; user metadata is copied and released through its own functions with the `NvDsUserMeta` as argument. In one thing it is stricter: an element that is released goes back to
//! the allocator at once, so that use after release shows.

mod copy;
mod elements;
mod gst_meta;

use std::ffi::{CStr, c_char, c_uint};
use std::sync::Mutex;

use aivms_deepstream_sys::{Functions, NvDsBatchMeta, NvDsMetaType};

use crate::Abi;

/// Where numbers of named user metadata start.
const FIRST_USER_META: NvDsMetaType = 8193;

/// The functions for a layout.
pub(crate) fn functions(abi: Abi) -> Functions {
    match abi {
        Abi::V71 => of_layout::<71>(),
        Abi::V90 => of_layout::<90>(),
    }
}

/// The layout that the number in a function's type stands for.
const fn layout(number: u8) -> Abi {
    if number == 71 { Abi::V71 } else { Abi::V90 }
}

fn of_layout<const V: u8>() -> Functions {
    Functions {
        nvds_create_batch_meta: elements::create_batch::<V>,
        nvds_destroy_batch_meta: elements::destroy_batch::<V>,
        nvds_batch_meta_copy_func: copy::copy_batch::<V>,
        nvds_batch_meta_release_func: elements::release_batch::<V>,
        nvds_acquire_meta_lock: acquire_lock,
        nvds_release_meta_lock: release_lock,
        nvds_acquire_frame_meta_from_pool: elements::acquire_frame,
        nvds_add_frame_meta_to_batch: elements::add_frame,
        nvds_acquire_obj_meta_from_pool: elements::acquire_object,
        nvds_add_obj_meta_to_frame: elements::add_object::<V>,
        nvds_remove_obj_meta_from_frame: elements::remove_object::<V>,
        nvds_acquire_user_meta_from_pool: elements::acquire_user,
        nvds_add_user_meta_to_batch: elements::add_user_to_batch,
        nvds_add_user_meta_to_frame: elements::add_user_to_frame::<V>,
        nvds_remove_user_meta_from_frame: elements::remove_user_from_frame::<V>,
        nvds_get_user_meta_type: user_meta_type,
        gst_buffer_add_nvds_meta: gst_meta::add,
        gst_buffer_get_nvds_batch_meta: gst_meta::batch,
        nvds_meta_api_get_type: gst_meta::api_type,
        nvds_meta_get_info: gst_meta::info,
    }
}

/// # Safety
/// The batch lives.
unsafe extern "C" fn acquire_lock(batch: *mut NvDsBatchMeta) {
    // SAFETY: the lock was initialised with the batch.
    unsafe { glib_sys::g_rec_mutex_lock(&raw mut (*batch).meta_mutex) };
}

/// # Safety
/// The batch lives and this thread holds its lock.
unsafe extern "C" fn release_lock(batch: *mut NvDsBatchMeta) {
    // SAFETY: as demanded.
    unsafe { glib_sys::g_rec_mutex_unlock(&raw mut (*batch).meta_mutex) };
}

/// # Safety
/// `name` is a text ended by NUL.
unsafe extern "C" fn user_meta_type(name: *mut c_char) -> NvDsMetaType {
    static NAMES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    // SAFETY: as demanded.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let mut names = NAMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_vec());
        names.len() - 1
    });
    FIRST_USER_META + place as c_uint as NvDsMetaType
}
