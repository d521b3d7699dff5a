//! Every size and offset that AIVMS relies on, taken from a generated module, as one list that can be compared.

use core::mem::{offset_of, size_of};

/// A name such as `NvDsFrameMeta.buf_pts`, and its offset; or the name of a struct or constant, and its size or value.
pub type Entry = (&'static str, i64);

macro_rules! entries {
    ($module:ident: $($name:ident { $($field:ident),* })* ; $($constant:ident)*) => {
        [
            $(
                (stringify!($name), size_of::<crate::$module::$name>() as i64),
                $((concat!(stringify!($name), ".", stringify!($field)), offset_of!(crate::$module::$name, $field) as i64),)*
            )*
            $((stringify!($constant), crate::$module::$constant as i64),)*
        ]
    };
}

macro_rules! layout_of {
    ($module:ident) => {
        entries! { $module:
            NvDsBaseMeta { batch_meta, meta_type, uContext, copy_func, release_func }
            NvDsMetaPool {
                meta_type, max_elements_in_pool, element_size, num_empty_elements, num_full_elements, empty_list,
                full_list, copy_func, release_func
            }
            NvDsBatchMeta {
                base_meta, max_frames_in_batch, num_frames_in_batch, frame_meta_pool, obj_meta_pool,
                classifier_meta_pool, display_meta_pool, user_meta_pool, label_info_meta_pool, frame_meta_list,
                batch_user_meta_list, meta_mutex, misc_batch_info, reserved
            }
            NvDsFrameMeta {
                base_meta, pad_index, batch_id, frame_num, buf_pts, ntp_timestamp, source_id, num_surfaces_per_frame,
                source_frame_width, source_frame_height, surface_type, surface_index, num_obj_meta, bInferDone,
                obj_meta_list, display_meta_list, frame_user_meta_list, misc_frame_info, pipeline_width,
                pipeline_height, reserved
            }
            NvBbox_Coords { left, top, width, height }
            NvDsComp_BboxInfo { org_bbox_coords }
            NvOSD_RectParams {
                left, top, width, height, border_width, border_color, has_bg_color, bg_color, has_color_info, color_id
            }
            NvOSD_TextParams { display_text }
            NvDsObjectMeta {
                base_meta, parent, unique_component_id, class_id, object_id, detector_bbox_info, tracker_bbox_info,
                confidence, tracker_confidence, rect_params, mask_params, text_params, obj_label,
                classifier_meta_list, obj_user_meta_list, misc_obj_info, reserved
            }
            NvDsUserMeta { base_meta, user_meta_data }
            NvDsMeta {
                meta, meta_data, user_data, meta_type, copyfunc, freefunc, gst_to_nvds_meta_transform_func,
                gst_to_nvds_meta_release_func
            }
            NvDsInferDims { numDims, d, numElements }
            NvDsInferLayerInfo { dataType, __bindgen_anon_1, bindingIndex, layerName, buffer, isInput }
            NvDsInferNetworkInfo { width, height, channels }
            NvDsInferTensorMeta {
                unique_id, num_output_layers, output_layers_info, out_buf_ptrs_host, out_buf_ptrs_dev, gpu_id,
                priv_data, network_info, maintain_aspect_ratio, symmetric_padding
            }
            NvDsTargetMiscDataFrame { frameNum, tBbox, confidence, age, trackerState, visibility }
            NvDsTargetMiscDataObject { list, numObj, numAllocated, uniqueId, classId, objLabel }
            NvDsTargetMiscDataStream { list, streamID, surfaceStreamID, numAllocated, numFilled }
            NvDsTargetMiscDataBatch { list, numAllocated, numFilled, priv_data }
            ;
            NVDS_BATCH_META NVDS_FRAME_META NVDS_OBJ_META NVDS_USER_META NVDSINFER_TENSOR_OUTPUT_META
            NVDS_TRACKER_TERMINATED_LIST_META NVDS_BATCH_GST_META FLOAT HALF INT8 INT32
        }
    };
}

/// Ours, for DeepStream 7.1.
pub const ABI71: &[Entry] = &layout_of!(abi71);

/// Ours, for DeepStream 9.0 and 9.1.
pub const ABI90: &[Entry] = &layout_of!(abi90);

/// That of the SDK found at build time.
#[cfg(deepstream_sdk)]
pub const SDK: &[Entry] = &layout_of!(sdk);

/// Ours for the version of that SDK.
#[cfg(deepstream_sdk = "abi71")]
pub const EXPECTED: &[Entry] = ABI71;
/// Ours for the version of that SDK.
#[cfg(deepstream_sdk = "abi90")]
pub const EXPECTED: &[Entry] = ABI90;

/// The first entry in which two lists of one crate differ.
pub const fn first_difference(one: &[Entry], other: &[Entry]) -> Option<&'static str> {
    let mut index = 0;
    while index < one.len() {
        if one[index].1 != other[index].1 {
            return Some(one[index].0);
        }
        index += 1;
    }
    None
}

/// Stops the build of a program whose SDK disagrees with the layout that it would be read with.
#[cfg(deepstream_sdk)]
const _: () = {
    const DIFFERENCE: Option<&str> = first_difference(SDK, EXPECTED);
    const START: &str = "the headers of the DeepStream SDK have another layout than include/nvds_layout.h; first at ";
    const LENGTH: usize = START.len() + if let Some(name) = DIFFERENCE { name.len() } else { 0 };
    #[allow(clippy::panic, reason = "a compiler's message, never one at run time")]
    if let Some(name) = DIFFERENCE {
        let text = joined::<LENGTH>(START.as_bytes(), name.as_bytes());
        match core::str::from_utf8(&text) {
            Ok(text) => panic!("{}", text),
            Err(_) => panic!("{}", name),
        }
    }
};

/// Two texts in one, at compile time.
#[cfg(deepstream_sdk)]
const fn joined<const LENGTH: usize>(one: &[u8], other: &[u8]) -> [u8; LENGTH] {
    let mut all = [0; LENGTH];
    let mut index = 0;
    while index < LENGTH {
        all[index] = if index < one.len() { one[index] } else { other[index - one.len()] };
        index += 1;
    }
    all
}
