//! Objects: what a detector or tracker says is in a frame.

use std::borrow::Cow;
use std::ffi::c_char;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use aivms_deepstream_sys::{AnyObjectMeta, LABEL_SIZE, UNTRACKED_OBJECT_ID};

use crate::abi::with_layout;
use crate::{Abi, MetaError};

/// What NVIDIA's elements write for a confidence that they do not know; any negative number is read as such.
const NO_CONFIDENCE: f32 = -0.1;

/// A box in pixels of the muxer's output, from the top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    /// Pixels from the frame's left edge to the box's.
    pub left: f32,
    /// Pixels from the frame's top edge to the box's.
    pub top: f32,
    /// Pixels.
    pub width: f32,
    /// Pixels.
    pub height: f32,
}

/// What a detector found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewObject<'a> {
    /// Number of the class, as the detector counts.
    pub class_id: i32,
    /// Name of the class; what goes beyond 127 bytes is cut off.
    pub label: &'a str,
    /// From 0 to 1.
    pub confidence: f32,
    /// In pixels of the muxer's output, clipped to the frame: the tracker drops boxes outside.
    pub rect: Rect,
    /// The inference element's unique id.
    pub component_id: i32,
}

impl NewObject<'_> {
    pub(crate) fn check(&self) -> Result<(), MetaError> {
        let Rect { left, top, width, height } = self.rect;
        let numbers = [
            ("confidence", self.confidence),
            ("rect.left", left),
            ("rect.top", top),
            ("rect.width", width),
            ("rect.height", height),
        ];
        match numbers.into_iter().find(|(_, number)| !number.is_finite()) {
            Some((field, _)) => Err(MetaError::NotFinite { field }),
            None => Ok(()),
        }
    }
}

/// An object that may be read.
#[derive(Debug)]
pub struct Object<'a> {
    pub(crate) abi: Abi,
    pub(crate) raw: NonNull<AnyObjectMeta>,
    pub(crate) borrow: PhantomData<&'a ()>,
}

/// An object that may be changed, and read through what it derefs to.
#[derive(Debug)]
pub struct ObjectMut<'a>(pub(crate) Object<'a>);

/// Reads a field of an object in the layout at hand. Fields are numbers and structs of numbers, copied out.
macro_rules! get {
    ($object:expr, $($field:ident).+) => {
        with_layout!($object.abi, sys => {
            // SAFETY: the object lives for 'a and has the layout that the guard checked; it is changed only through a
            // &mut.
            unsafe { (*$object.raw.as_ptr().cast::<sys::NvDsObjectMeta>()).$($field).+ }
        })
    };
}

/// Writes fields of an object in the layout at hand.
macro_rules! set {
    ($object:expr, $($($field:ident).+ = $value:expr),+ $(,)?) => {
        with_layout!($object.abi, sys => {
            let object = $object.raw.as_ptr().cast::<sys::NvDsObjectMeta>();
            // SAFETY: as for reading, and the caller has the object to itself. No field has a destructor.
            unsafe { $((*object).$($field).+ = $value;)+ }
        })
    };
}

impl Object<'_> {
    /// Number of the class, as the detector counts.
    pub fn class_id(&self) -> i32 {
        get!(self, class_id)
    }

    /// Unique id of the element that found it.
    pub fn component_id(&self) -> i32 {
        get!(self, unique_component_id)
    }

    /// Number of the track; `None`: no tracker has seen it yet. It may use all 64 bits, so it must not become a float.
    pub fn object_id(&self) -> Option<u64> {
        Some(get!(self, object_id)).filter(|&id| id != UNTRACKED_OBJECT_ID)
    }

    /// The detector's, from 0 to 1; `None` where no detector saw the object in this frame.
    pub fn confidence(&self) -> Option<f32> {
        known(get!(self, confidence))
    }

    /// The tracker's, from 0 to 1; `None` where there is none.
    pub fn tracker_confidence(&self) -> Option<f32> {
        known(get!(self, tracker_confidence))
    }

    /// Where the object is: the tracker's box once there is one, else the detector's.
    pub fn rect(&self) -> Rect {
        Rect {
            left: get!(self, rect_params.left),
            top: get!(self, rect_params.top),
            width: get!(self, rect_params.width),
            height: get!(self, rect_params.height),
        }
    }

    /// The detector's box; `None` where the tracker added the object on a frame without detection.
    pub fn detector_box(&self) -> Option<Rect> {
        let rect = Rect {
            left: get!(self, detector_bbox_info.org_bbox_coords.left),
            top: get!(self, detector_bbox_info.org_bbox_coords.top),
            width: get!(self, detector_bbox_info.org_bbox_coords.width),
            height: get!(self, detector_bbox_info.org_bbox_coords.height),
        };
        (rect.width > 0.0 && rect.height > 0.0).then_some(rect)
    }

    /// Name of the class.
    pub fn label(&self) -> Cow<'_, str> {
        let label: *const c_char = with_layout!(self.abi, sys => {
            let object = self.raw.as_ptr().cast::<sys::NvDsObjectMeta>();
            // SAFETY: only the place is taken, of an object that lives for 'a.
            unsafe { ptr::addr_of!((*object).obj_label) }.cast()
        });
        // SAFETY: LABEL_SIZE bytes within the object, which nobody changes during the borrow of self.
        unsafe { label_at(label) }
    }
}

impl<'a> Deref for ObjectMut<'a> {
    type Target = Object<'a>;

    fn deref(&self) -> &Object<'a> {
        &self.0
    }
}

impl ObjectMut<'_> {
    /// Sets the number of the track.
    pub fn set_object_id(&mut self, id: Option<u64>) {
        set!(self, object_id = id.unwrap_or(UNTRACKED_OBJECT_ID));
    }

    /// Moves the object, and leaves the detector's box as it is.
    pub fn set_rect(&mut self, rect: Rect) {
        let Rect { left, top, width, height } = rect;
        set!(
            self,
            rect_params.left = left,
            rect_params.top = top,
            rect_params.width = width,
            rect_params.height = height,
        );
    }

    /// Sets the tracker's confidence, from 0 to 1.
    pub fn set_tracker_confidence(&mut self, confidence: Option<f32>) {
        set!(self, tracker_confidence = confidence.unwrap_or(NO_CONFIDENCE));
    }

    /// Sets the detector's box; `None` as for an object that a tracker added.
    pub fn set_detector_box(&mut self, rect: Option<Rect>) {
        let Rect { left, top, width, height } = rect.unwrap_or_default();
        set!(
            self,
            detector_bbox_info.org_bbox_coords.left = left,
            detector_bbox_info.org_bbox_coords.top = top,
            detector_bbox_info.org_bbox_coords.width = width,
            detector_bbox_info.org_bbox_coords.height = height,
        );
    }
}

/// Writes a detection into a new object. What is not written stays as the pool gives it: empty.
pub(crate) fn fill(object: &mut ObjectMut<'_>, new: &NewObject<'_>) {
    object.set_rect(new.rect);
    object.set_detector_box(Some(new.rect));
    object.set_object_id(None);
    object.set_tracker_confidence(None);
    // SAFETY: `label` is readable for its length. The copy ends with NUL, at the first one within if there is any. The
    // object's release function frees it with g_free.
    let text = unsafe { glib_sys::g_strndup(new.label.as_ptr().cast(), new.label.len()) };
    let label = label_bytes(new.label);
    set!(
        object,
        unique_component_id = new.component_id,
        class_id = new.class_id,
        confidence = new.confidence,
        text_params.display_text = text,
        obj_label = label,
    );
}

/// A label as the metadata holds it: always ended by NUL, cut between characters.
pub(crate) fn label_bytes(label: &str) -> [c_char; LABEL_SIZE] {
    let mut bytes = [0; LABEL_SIZE];
    let mut end = label.len().min(LABEL_SIZE - 1);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    for (place, byte) in bytes.iter_mut().zip(&label.as_bytes()[..end]) {
        // c_char is signed on some machines and unsigned on others.
        *place = *byte as c_char;
    }
    bytes
}

/// # Safety
/// `LABEL_SIZE` bytes are readable at `label` and stay as they are for `'a`.
pub(crate) unsafe fn label_at<'a>(label: *const c_char) -> Cow<'a, str> {
    // SAFETY: as demanded.
    let bytes = unsafe { std::slice::from_raw_parts(label.cast::<u8>(), LABEL_SIZE) };
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(LABEL_SIZE);
    String::from_utf8_lossy(&bytes[..end])
}

fn known(confidence: f32) -> Option<f32> {
    (confidence.is_finite() && confidence >= 0.0).then_some(confidence)
}
