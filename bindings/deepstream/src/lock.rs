//! The lock of a batch.

use std::marker::PhantomData;
use std::ptr::NonNull;

use aivms_deepstream_sys::NvDsBatchMeta;

use crate::Library;

/// Holds the batch's lock until it is dropped, against elements that change the same metadata on another thread (behind a
/// tee). It is recursive, belongs to the thread that took it, and is to be held briefly: NVIDIA's elements wait for it.
#[derive(Debug)]
#[must_use = "the lock is released at once if it is not kept"]
pub struct MetaLock<'b> {
    library: &'b Library,
    batch: NonNull<NvDsBatchMeta>,
    buffer: PhantomData<&'b ()>,
}

impl<'b> MetaLock<'b> {
    /// # Safety
    /// The batch is one of the library's and lives for `'b`.
    pub(crate) unsafe fn new(library: &'b Library, batch: NonNull<NvDsBatchMeta>) -> Self {
        // SAFETY: the batch lives, as demanded.
        unsafe { (library.functions().nvds_acquire_meta_lock)(batch.as_ptr()) };
        MetaLock { library, batch, buffer: PhantomData }
    }
}

impl Drop for MetaLock<'_> {
    fn drop(&mut self) {
        // SAFETY: the batch lives for 'b; the lock was taken in `new` and, as this type is not Send, on this thread.
        unsafe { (self.library.functions().nvds_release_meta_lock)(self.batch.as_ptr()) };
    }
}
