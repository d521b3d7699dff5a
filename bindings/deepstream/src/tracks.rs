//! Ended tracks: a tree of plain arrays that NVIDIA's tracker hangs on a batch.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use aivms_deepstream_sys::{
    NVDS_TRACKER_TERMINATED_LIST_META, NvDsBatchMeta, NvDsTargetMiscDataBatch, NvDsTargetMiscDataStream, NvDsUserMeta,
    abi71, abi90,
};
use glib_sys::{GList, gpointer};

use crate::abi::with_layout;
use crate::list::List;
use crate::object::{label_at, label_bytes};
use crate::{Abi, Library, MetaError, Rect};

/// A track that the tracker has given up.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedTrack {
    /// Number of the muxer's pad that the camera comes in by.
    pub pad_index: u32,
    /// Number of the track.
    pub object_id: u64,
    /// Number of the class, as the detector counts.
    pub class_id: u16,
    /// Name of the class.
    pub label: String,
    /// Its past frames, where the tracker kept them.
    pub frames: Vec<EndedTrackFrame>,
}

/// Where a track was in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedTrackFrame {
    /// Counts up per camera.
    pub frame_num: u32,
    /// In pixels of the muxer's output.
    pub rect: Rect,
    /// The tracker's, from 0 to 1; `None` where there is none.
    pub confidence: Option<f32>,
    /// How many frames the track had lived.
    pub age: u32,
}

/// An array that C describes by a pointer and a length.
///
/// # Safety
/// `list` is null or points to `length` values that live and stay as they are for `'a`.
unsafe fn array<'a, T>(list: *const T, length: u32) -> &'a [T] {
    if list.is_null() {
        return &[];
    }
    // SAFETY: as demanded.
    unsafe { std::slice::from_raw_parts(list, length as usize) }
}

/// Copies what user metadata of that kind holds.
///
/// # Safety
/// `users` is a batch's list of user metadata, made by a library of this layout; nobody changes it meanwhile.
pub(crate) unsafe fn read(abi: Abi, users: *mut GList) -> Vec<EndedTrack> {
    let mut ended = Vec::new();
    // SAFETY: as demanded; the list is only walked within this function.
    for user in unsafe { List::<NvDsUserMeta>::new(users) } {
        // SAFETY: entries of the list live.
        let (kind, data) = unsafe { ((*user.as_ptr()).base_meta.meta_type, (*user.as_ptr()).user_meta_data) };
        if kind != NVDS_TRACKER_TERMINATED_LIST_META || data.is_null() {
            continue;
        }
        // SAFETY: metadata of this kind points to this struct, and each of its arrays has as many filled entries as it
        // says, all alive as long as the batch.
        unsafe {
            let batch = &*data.cast::<NvDsTargetMiscDataBatch>();
            for stream in array(batch.list, batch.numFilled) {
                with_layout!(abi, sys => {
                    for object in array(stream.list.cast::<sys::NvDsTargetMiscDataObject>(), stream.numFilled) {
                        ended.push(EndedTrack {
                            pad_index: stream.streamID,
                            object_id: object.uniqueId,
                            class_id: object.classId,
                            label: label_at(object.objLabel.as_ptr()).into_owned(),
                            frames: array(object.list, object.numObj).iter().map(|frame| EndedTrackFrame {
                                frame_num: frame.frameNum,
                                rect: Rect {
                                    left: frame.tBbox.left,
                                    top: frame.tBbox.top,
                                    width: frame.tBbox.width,
                                    height: frame.tBbox.height,
                                },
                                confidence: Some(frame.confidence).filter(|value| *value >= 0.0),
                                age: frame.age,
                            }).collect(),
                        });
                    }
                });
            }
        }
    }
    ended
}

/// What the user metadata points to. Readers see the first field; the rest keeps alive what it points to.
#[repr(C)]
struct Payload {
    batch: NvDsTargetMiscDataBatch,
    streams: Vec<NvDsTargetMiscDataStream>,
    objects: Objects,
    source: Arc<[EndedTrack]>,
}

/// Objects per stream and, within them, frames per object.
#[allow(dead_code, reason = "owned for the pointers into it")]
enum Objects {
    V71(Vec<Vec<abi71::NvDsTargetMiscDataObject>>, Vec<Vec<abi71::NvDsTargetMiscDataFrame>>),
    V90(Vec<Vec<abi90::NvDsTargetMiscDataObject>>, Vec<Vec<abi90::NvDsTargetMiscDataFrame>>),
}

/// Builds the arrays of one stream after the other; `$variant` keeps them.
macro_rules! build {
    ($sys:ident, $variant:ident, $streams:expr) => {{
        let (mut all_objects, mut all_frames, mut heads) = (Vec::new(), Vec::new(), Vec::new());
        for (pad_index, tracks) in $streams {
            let mut objects = Vec::with_capacity(tracks.len());
            for track in tracks {
                let mut frames: Vec<$sys::NvDsTargetMiscDataFrame> = track
                    .frames
                    .iter()
                    .map(|frame| {
                        // SAFETY: the struct is made of numbers only, which may all be zero.
                        let mut raw: $sys::NvDsTargetMiscDataFrame = unsafe { std::mem::zeroed() };
                        raw.frameNum = frame.frame_num;
                        raw.tBbox.left = frame.rect.left;
                        raw.tBbox.top = frame.rect.top;
                        raw.tBbox.width = frame.rect.width;
                        raw.tBbox.height = frame.rect.height;
                        raw.confidence = frame.confidence.unwrap_or(-0.1);
                        raw.age = frame.age;
                        raw
                    })
                    .collect();
                objects.push($sys::NvDsTargetMiscDataObject {
                    list: frames.as_mut_ptr(),
                    numObj: frames.len() as u32,
                    numAllocated: frames.len() as u32,
                    uniqueId: track.object_id,
                    classId: track.class_id,
                    objLabel: label_bytes(&track.label),
                });
                all_frames.push(frames);
            }
            heads.push(NvDsTargetMiscDataStream {
                list: objects.as_mut_ptr().cast(),
                streamID: *pad_index,
                surfaceStreamID: u64::from(*pad_index),
                numAllocated: objects.len() as u32,
                numFilled: objects.len() as u32,
            });
            all_objects.push(objects);
        }
        (heads, Objects::$variant(all_objects, all_frames))
    }};
}

impl Payload {
    fn of(abi: Abi, source: Arc<[EndedTrack]>) -> Box<Payload> {
        let mut by_stream: BTreeMap<u32, Vec<&EndedTrack>> = BTreeMap::new();
        for track in source.iter() {
            by_stream.entry(track.pad_index).or_default().push(track);
        }
        let (mut streams, objects) = match abi {
            Abi::V71 => build!(abi71, V71, &by_stream),
            Abi::V90 => build!(abi90, V90, &by_stream),
        };
        let count = streams.len() as u32;
        let list = streams.as_mut_ptr();
        let batch = NvDsTargetMiscDataBatch { list, numAllocated: count, numFilled: count, priv_data: ptr::null_mut() };
        Box::new(Payload { batch, streams, objects, source })
    }

    fn abi(&self) -> Abi {
        match self.objects {
            Objects::V71(..) => Abi::V71,
            Objects::V90(..) => Abi::V90,
        }
    }
}

/// Hangs a list of ended tracks on a batch.
///
/// # Safety
/// The batch lives, was made by this library, and is locked or known to nobody else.
pub(crate) unsafe fn attach(
    library: &Library,
    batch: NonNull<NvDsBatchMeta>,
    ended: &[EndedTrack],
) -> Result<(), MetaError> {
    let functions = library.functions();
    // SAFETY: the batch lives.
    let made = unsafe { (functions.nvds_acquire_user_meta_from_pool)(batch.as_ptr()) };
    let user = NonNull::new(made).ok_or(MetaError::Exhausted { what: "user metadata" })?.as_ptr();
    // SAFETY: new and only known here; `copy` and `release` fit what is put in.
    unsafe {
        (*user).user_meta_data = Box::into_raw(Payload::of(library.abi(), ended.into())).cast();
        (*user).base_meta.meta_type = NVDS_TRACKER_TERMINATED_LIST_META;
        (*user).base_meta.copy_func = Some(copy);
        (*user).base_meta.release_func = Some(release);
        (functions.nvds_add_user_meta_to_batch)(batch.as_ptr(), user);
    }
    Ok(())
}

/// Called when a buffer is copied, on any thread.
unsafe extern "C" fn copy(data: gpointer, _: gpointer) -> gpointer {
    // SAFETY: the library passes the NvDsUserMeta that `attach` filled, alive for the call.
    let payload = unsafe { (*data.cast::<NvDsUserMeta>()).user_meta_data.cast::<Payload>() };
    if payload.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: not null, so it is what `attach` or an earlier copy put there, not freed before its `release`.
    let (abi, source) = unsafe { ((*payload).abi(), Arc::clone(&(*payload).source)) };
    catch_unwind(AssertUnwindSafe(|| Box::into_raw(Payload::of(abi, source)).cast())).unwrap_or(ptr::null_mut())
}

/// Called when the batch is freed, on any thread.
unsafe extern "C" fn release(data: gpointer, _: gpointer) {
    let user = data.cast::<NvDsUserMeta>();
    // SAFETY: the library passes the NvDsUserMeta that holds the payload, alive for the call. It is taken out, so that a
    // second call finds nothing.
    let payload = unsafe { std::mem::replace(&mut (*user).user_meta_data, ptr::null_mut()) }.cast::<Payload>();
    if !payload.is_null() {
        // SAFETY: made by Box::into_raw in `attach` or `copy`, and freed once.
        let payload = unsafe { Box::from_raw(payload) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}
