//! Frames: one camera's picture within a batch.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use aivms_deepstream_sys::{AnyFrameMeta, AnyObjectMeta, NvDsBatchMeta, NvDsUserMeta};
use glib_sys::GList;

use crate::abi::with_layout;
use crate::list::List;
use crate::object::{self, NewObject, Object, ObjectMut};
use crate::tensor::{self, OwnedTensors, TensorOutput};
use crate::{Library, MetaError, MetaLock};

/// The time that stands for "none".
const NO_TIME: u64 = u64::MAX;

/// What a muxer knows about a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameInfo {
    /// Number of the camera.
    pub source_id: u32,
    /// Number of the muxer's pad that the frame came in by.
    pub pad_index: u32,
    /// Place of the frame within the batch.
    pub batch_id: u32,
    /// Counts up per camera.
    pub frame_num: i32,
    /// Nanoseconds in the camera's stream.
    pub pts: Option<u64>,
    /// Width and height of the camera's picture in pixels.
    pub source_size: (u32, u32),
    /// Width and height in pixels of what the muxer made of it; boxes are in these.
    pub pipeline_size: Option<(u32, u32)>,
}

/// A frame that may be read.
#[derive(Debug)]
pub struct Frame<'a> {
    pub(crate) library: &'a Library,
    pub(crate) batch: NonNull<NvDsBatchMeta>,
    pub(crate) raw: NonNull<AnyFrameMeta>,
    pub(crate) borrow: PhantomData<&'a ()>,
}

/// A frame that may be changed, and read through what it derefs to.
#[derive(Debug)]
pub struct FrameMut<'a>(pub(crate) Frame<'a>);

/// Reads a field of a frame in the layout at hand. Fields are numbers and pointers, copied out.
macro_rules! get {
    ($frame:expr, $($field:ident).+) => {
        with_layout!($frame.library.abi(), sys => {
            // SAFETY: the frame lives for 'a and has the library's layout, which the guard checked; it is changed only
            // through a &mut.
            unsafe { (*$frame.raw.as_ptr().cast::<sys::NvDsFrameMeta>()).$($field).+ }
        })
    };
}

/// Writes fields of a frame in the layout at hand.
macro_rules! set {
    ($frame:expr, $($field:ident = $value:expr),+ $(,)?) => {
        with_layout!($frame.library.abi(), sys => {
            let frame = $frame.raw.as_ptr().cast::<sys::NvDsFrameMeta>();
            // SAFETY: as for reading, and the caller has the frame to itself.
            unsafe { $((*frame).$field = $value;)+ }
        })
    };
}

impl Frame<'_> {
    /// Number of the camera.
    pub fn source_id(&self) -> u32 {
        get!(self, source_id)
    }

    /// Number of the muxer's pad that the frame came in by.
    pub fn pad_index(&self) -> u32 {
        get!(self, pad_index)
    }

    /// Place of the frame within the batch.
    pub fn batch_id(&self) -> u32 {
        get!(self, batch_id)
    }

    /// Counts up per camera.
    pub fn frame_num(&self) -> i32 {
        get!(self, frame_num)
    }

    /// Nanoseconds in the camera's stream.
    pub fn pts(&self) -> Option<u64> {
        Some(get!(self, buf_pts)).filter(|&pts| pts != NO_TIME)
    }

    /// Width and height of the camera's picture in pixels.
    pub fn source_size(&self) -> (u32, u32) {
        (get!(self, source_frame_width), get!(self, source_frame_height))
    }

    /// Width and height in pixels of what the muxer made of it, which boxes are measured in; `None` if it did not say.
    pub fn pipeline_size(&self) -> Option<(u32, u32)> {
        let size = (get!(self, pipeline_width), get!(self, pipeline_height));
        (size.0 > 0 && size.1 > 0).then_some(size)
    }

    /// Whether a detector looked at this frame: an empty frame then means that nothing is there.
    pub fn detected(&self) -> bool {
        get!(self, bInferDone) != 0
    }

    /// The objects, in no order that means anything.
    pub fn objects(&self) -> impl Iterator<Item = Object<'_>> {
        let abi = self.library.abi();
        self.raw_objects().map(move |raw| Object { abi, raw, borrow: PhantomData })
    }

    /// The outputs of networks that are attached to this frame.
    pub fn tensors(&self) -> impl Iterator<Item = TensorOutput<'_>> {
        // SAFETY: the entries are user metadata, which lives as long as the frame and is only changed through a &mut.
        self.raw_users().filter_map(|user| unsafe { tensor::of_user_meta(user) })
    }

    fn raw_objects(&self) -> List<'_, AnyObjectMeta> {
        let head: *mut GList = get!(self, obj_meta_list);
        // SAFETY: the frame lives; its list holds objects and is only changed through a &mut to the frame.
        unsafe { List::new(head) }
    }

    fn raw_users(&self) -> List<'_, NvDsUserMeta> {
        let head: *mut GList = get!(self, frame_user_meta_list);
        // SAFETY: the frame lives; its list holds user metadata and is only changed through a &mut to the frame.
        unsafe { List::new(head) }
    }

    fn lock(&self) -> MetaLock<'_> {
        // SAFETY: the batch is this library's and lives at least as long as the frame.
        unsafe { MetaLock::new(self.library, self.batch) }
    }
}

impl<'a> Deref for FrameMut<'a> {
    type Target = Frame<'a>;

    fn deref(&self) -> &Frame<'a> {
        &self.0
    }
}

impl FrameMut<'_> {
    /// Says whether a detector looked at this frame. Must be set on every frame that was, also if it found nothing: the
    /// tracker reads it. NVIDIA's inference element does not do it when it only gives out tensors.
    pub fn set_detected(&mut self, detected: bool) {
        set!(self, bInferDone = i32::from(detected));
    }

    /// The objects, for changing them, in no order that means anything.
    pub fn objects_mut(&mut self) -> impl Iterator<Item = ObjectMut<'_>> {
        let abi = self.library.abi();
        self.raw_objects().map(move |raw| ObjectMut(Object { abi, raw, borrow: PhantomData }))
    }

    /// Adds a detected object: not tracked yet, its box both as the detector's and as the object's.
    pub fn add_object(&mut self, new: &NewObject<'_>) -> Result<ObjectMut<'_>, MetaError> {
        new.check()?;
        let functions = self.library.functions();
        let _lock = self.lock();
        // SAFETY: the batch lives and is locked.
        let made = unsafe { (functions.nvds_acquire_obj_meta_from_pool)(self.batch.as_ptr()) };
        let raw = NonNull::new(made).ok_or(MetaError::Exhausted { what: "an object" })?;
        let mut object = ObjectMut(Object { abi: self.library.abi(), raw, borrow: PhantomData });
        object::fill(&mut object, new);
        // SAFETY: the object comes from the pool of this frame's batch and is on no frame yet; it has no parent.
        unsafe { (functions.nvds_add_obj_meta_to_frame)(self.raw.as_ptr(), raw.as_ptr(), std::ptr::null_mut()) };
        Ok(object)
    }

    /// Removes the objects for which `keep`, which may change them, says no.
    pub fn retain_objects(&mut self, mut keep: impl FnMut(&mut ObjectMut<'_>) -> bool) {
        let abi = self.library.abi();
        let all: Vec<_> = self.raw_objects().collect();
        for raw in all {
            if !keep(&mut ObjectMut(Object { abi, raw, borrow: PhantomData })) {
                let _lock = self.lock();
                // SAFETY: the object is on this frame, once, and nobody holds it: objects borrow the frame.
                unsafe {
                    (self.library.functions().nvds_remove_obj_meta_from_frame)(self.raw.as_ptr(), raw.as_ptr());
                }
            }
        }
    }

    /// Hangs the outputs of a network on the frame, as NVIDIA's inference element does.
    pub fn attach_tensors(&mut self, tensors: OwnedTensors) -> Result<(), MetaError> {
        let payload = tensor::payload(tensors)?;
        let functions = self.library.functions();
        let _lock = self.lock();
        // SAFETY: the batch lives and is locked.
        let made = unsafe { (functions.nvds_acquire_user_meta_from_pool)(self.batch.as_ptr()) };
        let user = NonNull::new(made).ok_or(MetaError::Exhausted { what: "user metadata" })?;
        // SAFETY: it comes from the pool of this frame's batch and is on no frame yet; `hand_over` makes it own the
        // payload.
        unsafe {
            tensor::hand_over(payload, user);
            (functions.nvds_add_user_meta_to_frame)(self.raw.as_ptr(), user.as_ptr());
        }
        Ok(())
    }

    /// Removes the outputs of one inference element, or of all, and says how many. Elements that copy buffers need not
    /// copy them then, and NVIDIA's get their memory back.
    pub fn remove_tensors(&mut self, unique_id: Option<u32>) -> usize {
        let of_one = |user: &NonNull<NvDsUserMeta>| {
            // SAFETY: as in `tensors`.
            let output = unsafe { tensor::of_user_meta(*user) };
            output.is_some_and(|output| unique_id.is_none_or(|id| id == output.unique_id()))
        };
        let removed: Vec<_> = self.raw_users().filter(of_one).collect();
        let _lock = self.lock();
        for user in &removed {
            // SAFETY: it is on this frame, once, and nobody holds it: tensors borrow the frame.
            unsafe { (self.library.functions().nvds_remove_user_meta_from_frame)(self.raw.as_ptr(), user.as_ptr()) };
        }
        removed.len()
    }

    /// Writes what a muxer writes. The rest stays as the pool gives it: empty.
    pub(crate) fn fill(&self, info: &FrameInfo) {
        let (pipeline_width, pipeline_height) = info.pipeline_size.unwrap_or_default();
        set!(
            self,
            source_id = info.source_id,
            pad_index = info.pad_index,
            batch_id = info.batch_id,
            frame_num = info.frame_num,
            buf_pts = info.pts.unwrap_or(NO_TIME),
            ntp_timestamp = 0,
            num_surfaces_per_frame = 1,
            source_frame_width = info.source_size.0,
            source_frame_height = info.source_size.1,
            surface_type = 0,
            surface_index = 0,
            bInferDone = 0,
            pipeline_width = pipeline_width,
            pipeline_height = pipeline_height,
        );
    }
}
