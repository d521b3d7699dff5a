//! Batches: all frames that travel in one buffer.

use std::ffi::c_uint;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use aivms_deepstream_sys::{AnyFrameMeta, NVDS_BATCH_GST_META, NvDsBatchMeta};
use gstreamer as gst;

use crate::frame::{Frame, FrameInfo, FrameMut};
use crate::library::Sizes;
use crate::list::List;
use crate::tracks::{self, EndedTrack};
use crate::{Library, MetaLock, TensorError};

/// Why metadata could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The batch was made by something with another layout than this library's.
    #[error(
        "the batch on the buffer has another layout ({found}) than the library in use ({expected}); parts of two \
         DeepStream versions are mixed: leave only one installed"
    )]
    Layout {
        /// What the batch's pools say.
        found: Sizes,
        /// What the library has.
        expected: Sizes,
    },
    /// `attach_batch` on a buffer that has one.
    #[error("the buffer already has a batch")]
    AlreadyAttached,
    /// The library gave nothing when asked for new metadata.
    #[error("the metadata library could not make {what}")]
    Exhausted {
        /// What was asked for.
        what: &'static str,
    },
    /// A new object has a number that is none.
    #[error("{field} of a new object is not a finite number")]
    NotFinite {
        /// Which one.
        field: &'static str,
    },
    /// Tensors to be attached contradict themselves.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// A batch that may be read. What it hands out lives as long as the borrow of this value.
#[derive(Debug)]
pub struct BatchRef<'b> {
    pub(crate) library: &'b Library,
    pub(crate) raw: NonNull<NvDsBatchMeta>,
    buffer: PhantomData<&'b gst::BufferRef>,
}

/// A batch that may be changed, and read through what it derefs to.
#[derive(Debug)]
pub struct Batch<'b>(BatchRef<'b>);

impl Library {
    /// The batch on a writable buffer; `None` if there is none of this library's.
    pub fn batch<'b>(&'b self, buffer: &'b mut gst::BufferRef) -> Result<Option<Batch<'b>>, MetaError> {
        Ok(self.read_batch(buffer)?.map(Batch))
    }

    /// The batch on a buffer, for reading only. Where other branches of the pipeline may change it meanwhile, hold
    /// [`BatchRef::lock`] while reading.
    pub fn read_batch<'b>(&'b self, buffer: &'b gst::BufferRef) -> Result<Option<BatchRef<'b>>, MetaError> {
        let buffer = ptr::from_ref(buffer).cast_mut().cast();
        // SAFETY: a BufferRef is a GstBuffer, alive for 'b; the function only looks for a metadata on it.
        let Some(raw) = NonNull::new(unsafe { (self.functions().gst_buffer_get_nvds_batch_meta)(buffer) }) else {
            return Ok(None);
        };
        // SAFETY: the batch lives as long as its buffer.
        let found = unsafe { Sizes::of_batch(raw) };
        let expected = Sizes::of(self.abi());
        if found != expected {
            return Err(MetaError::Layout { found, expected });
        }
        Ok(Some(BatchRef { library: self, raw, buffer: PhantomData }))
    }

    /// Puts a new, empty batch on a buffer, as a muxer does. `max_frames` is what the pools start with, not a limit.
    pub fn attach_batch<'b>(&'b self, buffer: &'b mut gst::BufferRef, max_frames: u32) -> Result<Batch<'b>, MetaError> {
        if self.read_batch(buffer)?.is_some() {
            return Err(MetaError::AlreadyAttached);
        }
        let functions = self.functions();
        // SAFETY: takes a number and gives a new batch or null.
        let made = unsafe { (functions.nvds_create_batch_meta)(c_uint::max(max_frames, 1)) };
        let raw = NonNull::new(made).ok_or(MetaError::Exhausted { what: "a batch" })?;
        let (copy, release) = (functions.nvds_batch_meta_copy_func, functions.nvds_batch_meta_release_func);
        let batch = raw.as_ptr();
        // SAFETY: the batch is new and only known here. The fields are those that NVIDIA's muxer sets.
        unsafe {
            (*batch).base_meta.batch_meta = batch.cast();
            (*batch).base_meta.copy_func = Some(copy);
            (*batch).base_meta.release_func = Some(release);
            (*batch).max_frames_in_batch = max_frames;
        }
        // SAFETY: the buffer is writable, as only then there is a &mut to it. From here on it owns the batch.
        let meta = unsafe {
            (functions.gst_buffer_add_nvds_meta)(
                buffer.as_mut_ptr(),
                batch.cast(),
                ptr::null_mut(),
                Some(copy),
                Some(release),
            )
        };
        if meta.is_null() {
            // SAFETY: the buffer did not take it, so it is still ours alone.
            unsafe { (functions.nvds_destroy_batch_meta)(batch) };
            return Err(MetaError::Exhausted { what: "a buffer's metadata" });
        }
        // SAFETY: just made, and on a buffer that only we may change.
        unsafe { (*meta).meta_type = NVDS_BATCH_GST_META };
        Ok(Batch(BatchRef { library: self, raw, buffer: PhantomData }))
    }
}

impl<'b> BatchRef<'b> {
    /// The frames, in no order that means anything.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let library = self.library;
        let batch = self.raw;
        self.raw_frames().map(move |raw| Frame { library, batch, raw, borrow: PhantomData })
    }

    /// Takes the batch's lock until the result is dropped.
    pub fn lock(&self) -> MetaLock<'b> {
        // SAFETY: the batch is this library's and lives for 'b, as the buffer does.
        unsafe { MetaLock::new(self.library, self.raw) }
    }

    /// The tracks that ended with this batch, as NVIDIA's tracker tells if its settings ask for it. A camera that
    /// vanishes ends none: keep a time limit as well.
    pub fn ended_tracks(&self) -> Vec<EndedTrack> {
        // SAFETY: the batch lives, and its user metadata is only changed through a &mut.
        unsafe { tracks::read(self.library.abi(), (*self.raw.as_ptr()).batch_user_meta_list) }
    }

    fn raw_frames(&self) -> List<'_, AnyFrameMeta> {
        // SAFETY: the batch lives; its list holds frames and is only changed through a &mut to the batch.
        unsafe { List::new((*self.raw.as_ptr()).frame_meta_list) }
    }
}

impl<'b> Deref for Batch<'b> {
    type Target = BatchRef<'b>;

    fn deref(&self) -> &BatchRef<'b> {
        &self.0
    }
}

impl Batch<'_> {
    /// The frames, for changing them, in no order that means anything.
    pub fn frames_mut(&mut self) -> impl Iterator<Item = FrameMut<'_>> {
        let (library, batch) = (self.library, self.raw);
        self.raw_frames().map(move |raw| FrameMut(Frame { library, batch, raw, borrow: PhantomData }))
    }

    /// Adds a frame, as a muxer does: without objects, and not marked as detected.
    pub fn add_frame(&mut self, info: &FrameInfo) -> Result<FrameMut<'_>, MetaError> {
        let (library, batch) = (self.library, self.raw);
        let functions = library.functions();
        let _lock = self.lock();
        // SAFETY: the batch lives and is locked.
        let made = unsafe { (functions.nvds_acquire_frame_meta_from_pool)(batch.as_ptr()) };
        let raw = NonNull::new(made).ok_or(MetaError::Exhausted { what: "a frame" })?;
        let frame = FrameMut(Frame { library, batch, raw, borrow: PhantomData });
        frame.fill(info);
        // SAFETY: the frame comes from this batch's pool and is on no batch yet.
        unsafe { (functions.nvds_add_frame_meta_to_batch)(batch.as_ptr(), raw.as_ptr()) };
        Ok(frame)
    }

    /// Hangs a list of ended tracks on the batch, as NVIDIA's tracker does; for what stands in for it.
    pub fn attach_ended_tracks(&mut self, ended: &[EndedTrack]) -> Result<(), MetaError> {
        let _lock = self.lock();
        // SAFETY: the batch is this library's, lives, and is locked.
        unsafe { tracks::attach(self.library, self.raw, ended) }
    }
}
