//! NVIDIA's functions, found at run time.

use core::ffi::{c_char, c_int, c_uint};
use std::path::{Path, PathBuf};

use glib_sys::{GType, gboolean, gpointer};
use gstreamer_sys::{GstBuffer, GstMetaInfo};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::abi90::{NvDsMetaCopyFunc, NvDsMetaReleaseFunc};
use crate::{NvDsBatchMeta, NvDsMeta, NvDsMetaType, NvDsUserMeta};

/// A frame's metadata in the layout that the library at hand has: `abi71` or `abi90`.
#[repr(C)]
#[derive(Debug)]
pub struct AnyFrameMeta {
    _opaque: [u8; 0],
}

/// An object's metadata in the layout that the library at hand has: `abi71` or `abi90`.
#[repr(C)]
#[derive(Debug)]
pub struct AnyObjectMeta {
    _opaque: [u8; 0],
}

/// Why the libraries could not be opened.
#[derive(Debug)]
pub struct LoadError {
    /// The file that was to be opened or searched.
    pub library: PathBuf,
    /// The function that is missing in it; `None`: it could not be opened at all.
    pub function: Option<&'static str>,
    /// What the system's loader said.
    pub source: libloading::Error,
}

/// The functions and where they came from.
#[derive(Debug)]
pub struct Loaded {
    /// The functions.
    pub functions: Functions,
    /// The library of the metadata itself (not of the buffer's side), as it was asked for.
    pub library: PathBuf,
}

macro_rules! functions {
    ($($library:literal as $place:ident { $($(#[$doc:meta])* fn $name:ident($($argument:ty),*) $(-> $result:ty)?;)* })*) => {
        /// The functions that AIVMS calls, of NVIDIA's libraries or of an implementation of our own. NVIDIA documents
        /// them in its headers; each is safe to call from any thread under the batch's lock.
        #[derive(Debug, Clone, Copy)]
        pub struct Functions {
            $($($(#[$doc])* pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*)*
        }

        impl Functions {
            /// Opens both libraries, in `folder` or by name through the system's loader, and keeps them for the rest
            /// of the process: they register types with GLib, which cannot be taken back.
            pub fn load(folder: Option<&Path>) -> Result<Loaded, LoadError> {
                $(let $place = open(folder, $library)?;)*
                let functions = Functions {
                    $($($name: {
                        // SAFETY: the signature is the one that the SDK declares for this name since 6.0.
                        let symbol = unsafe {
                            $place.1.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>(
                                concat!(stringify!($name), "\0").as_bytes(),
                            )
                        };
                        match symbol {
                            Ok(symbol) => *symbol,
                            Err(source) => {
                                return Err(LoadError { library: $place.0, function: Some(stringify!($name)), source });
                            }
                        }
                    },)*)*
                };
                let library = path_of(folder, "libnvds_meta.so");
                // Closing nothing is the point; the names may go.
                $(core::mem::forget($place.1);)*
                Ok(Loaded { functions, library })
            }
        }
    };
}

functions! {
    "libnvds_meta.so" as nvds_meta {
        /// Makes a batch with its pools.
        fn nvds_create_batch_meta(c_uint) -> *mut NvDsBatchMeta;
        /// Frees a batch that is on no buffer.
        fn nvds_destroy_batch_meta(*mut NvDsBatchMeta) -> gboolean;
        /// Copies a batch deeply; for `GstMeta` and base_meta.
        fn nvds_batch_meta_copy_func(gpointer, gpointer) -> gpointer;
        /// Frees a batch with all that hangs on it; for `GstMeta` and base_meta.
        fn nvds_batch_meta_release_func(gpointer, gpointer);
        /// Takes the batch's recursive lock.
        fn nvds_acquire_meta_lock(*mut NvDsBatchMeta);
        /// Gives it back, on the thread that took it.
        fn nvds_release_meta_lock(*mut NvDsBatchMeta);
        /// Takes an empty frame out of the batch's pool.
        fn nvds_acquire_frame_meta_from_pool(*mut NvDsBatchMeta) -> *mut AnyFrameMeta;
        /// Hangs it on the batch, behind the others.
        fn nvds_add_frame_meta_to_batch(*mut NvDsBatchMeta, *mut AnyFrameMeta);
        /// Takes an empty object out of the batch's pool.
        fn nvds_acquire_obj_meta_from_pool(*mut NvDsBatchMeta) -> *mut AnyObjectMeta;
        /// Hangs it on a frame, in front of the others; the third is its parent or null.
        fn nvds_add_obj_meta_to_frame(*mut AnyFrameMeta, *mut AnyObjectMeta, *mut AnyObjectMeta);
        /// Takes it off the frame and gives it back to the pool.
        fn nvds_remove_obj_meta_from_frame(*mut AnyFrameMeta, *mut AnyObjectMeta);
        /// Takes empty user metadata out of the batch's pool.
        fn nvds_acquire_user_meta_from_pool(*mut NvDsBatchMeta) -> *mut NvDsUserMeta;
        /// Hangs it on the batch.
        fn nvds_add_user_meta_to_batch(*mut NvDsBatchMeta, *mut NvDsUserMeta);
        /// Hangs it on a frame.
        fn nvds_add_user_meta_to_frame(*mut AnyFrameMeta, *mut NvDsUserMeta);
        /// Takes it off the frame, has it release what it points to, and gives it back to the pool.
        fn nvds_remove_user_meta_from_frame(*mut AnyFrameMeta, *mut NvDsUserMeta);
        /// A number for a name, the same for the whole process; from 8193 up.
        fn nvds_get_user_meta_type(*mut c_char) -> NvDsMetaType;
    }
    "libnvdsgst_meta.so" as nvdsgst_meta {
        /// Hangs metadata on a buffer; a batch has to be given its kind afterwards.
        fn gst_buffer_add_nvds_meta(
            *mut GstBuffer, gpointer, gpointer, NvDsMetaCopyFunc, NvDsMetaReleaseFunc
        ) -> *mut NvDsMeta;
        /// The batch on a buffer, or null. Changes nothing.
        fn gst_buffer_get_nvds_batch_meta(*mut GstBuffer) -> *mut NvDsBatchMeta;
        /// The type under which buffers carry it.
        fn nvds_meta_api_get_type() -> GType;
        /// What GStreamer knows about it.
        fn nvds_meta_get_info() -> *const GstMetaInfo;
    }
}

fn path_of(folder: Option<&Path>, name: &str) -> PathBuf {
    folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
}

fn open(folder: Option<&Path>, name: &str) -> Result<(PathBuf, Library), LoadError> {
    let file = path_of(folder, name);
    // RTLD_GLOBAL as for a program linked with them: the plugins that come later must meet the same copy.
    let flags: c_int = RTLD_NOW | RTLD_GLOBAL;
    // SAFETY: runs the libraries' initialisers. They are NVIDIA's, opened on purpose, and only set up their own state.
    match unsafe { Library::open(Some(&file), flags) } {
        Ok(library) => Ok((file, library)),
        Err(source) => Err(LoadError { library: file, function: None, source }),
    }
}
