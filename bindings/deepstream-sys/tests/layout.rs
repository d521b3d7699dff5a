//! Our header against the numbers that were measured over the SDK's versions.

use std::collections::BTreeMap;

use aivms_deepstream_sys::layout::{ABI71, ABI90, Entry};
use aivms_deepstream_sys::{LABEL_SIZE, UNTRACKED_OBJECT_ID, abi90};

/// Name, and number for 7.1 and for 9.x.
type Row = (&'static str, i64, i64);

/// Sizes, as bindgen's assertions gave them over the headers of 7.1 and of 9.0 and 9.1.
const SIZES: &[Row] = &[
    ("NvDsBaseMeta", 40, 40),
    ("NvDsMetaPool", 56, 56),
    ("NvDsBatchMeta", 192, 192),
    ("NvDsMeta", 72, 72),
    ("NvDsUserMeta", 48, 48),
    ("NvDsComp_BboxInfo", 16, 16),
    ("NvBbox_Coords", 16, 16),
    ("NvOSD_TextParams", 104, 104),
    ("NvDsInferLayerInfo", 72, 72),
    ("NvDsInferDims", 40, 40),
    ("NvDsInferNetworkInfo", 12, 12),
    ("NvDsFrameMeta", 200, 232),
    ("NvOSD_RectParams", 104, 112),
    ("NvDsObjectMeta", 544, 552),
    ("NvDsInferTensorMeta", 72, 72),
    ("NvDsTargetMiscDataBatch", 24, 24),
    ("NvDsTargetMiscDataStream", 32, 32),
    ("NvDsTargetMiscDataObject", 160, 160),
    ("NvDsTargetMiscDataFrame", 128, 144),
];

/// Offsets, likewise.
const OFFSETS: &[(&str, &[Row])] = &[
    (
        "NvDsBaseMeta",
        &[
            ("batch_meta", 0, 0),
            ("meta_type", 8, 8),
            ("uContext", 16, 16),
            ("copy_func", 24, 24),
            ("release_func", 32, 32),
        ],
    ),
    (
        "NvDsMetaPool",
        &[
            ("max_elements_in_pool", 4, 4),
            ("element_size", 8, 8),
            ("num_empty_elements", 12, 12),
            ("num_full_elements", 16, 16),
            ("empty_list", 24, 24),
            ("full_list", 32, 32),
            ("copy_func", 40, 40),
            ("release_func", 48, 48),
        ],
    ),
    (
        "NvDsBatchMeta",
        &[
            ("max_frames_in_batch", 40, 40),
            ("num_frames_in_batch", 44, 44),
            ("frame_meta_pool", 48, 48),
            ("obj_meta_pool", 56, 56),
            ("classifier_meta_pool", 64, 64),
            ("display_meta_pool", 72, 72),
            ("user_meta_pool", 80, 80),
            ("label_info_meta_pool", 88, 88),
            ("frame_meta_list", 96, 96),
            ("batch_user_meta_list", 104, 104),
            ("meta_mutex", 112, 112),
            ("misc_batch_info", 128, 128),
            ("reserved", 160, 160),
        ],
    ),
    (
        "NvDsFrameMeta",
        &[
            ("pad_index", 40, 40),
            ("batch_id", 44, 44),
            ("frame_num", 48, 48),
            ("buf_pts", 56, 56),
            ("ntp_timestamp", 64, 64),
            ("source_id", 72, 72),
            ("num_surfaces_per_frame", 76, 76),
            ("source_frame_width", 80, 80),
            ("source_frame_height", 84, 84),
            ("surface_type", 88, 88),
            ("surface_index", 92, 92),
            ("num_obj_meta", 96, 96),
            ("bInferDone", 100, 100),
            ("obj_meta_list", 104, 104),
            ("display_meta_list", 112, 112),
            ("frame_user_meta_list", 120, 120),
            ("misc_frame_info", 128, 128),
            ("pipeline_width", 160, 160),
            ("pipeline_height", 164, 164),
            ("reserved", 168, 200),
        ],
    ),
    (
        "NvDsObjectMeta",
        &[
            ("parent", 40, 40),
            ("unique_component_id", 48, 48),
            ("class_id", 52, 52),
            ("object_id", 56, 56),
            ("detector_bbox_info", 64, 64),
            ("tracker_bbox_info", 80, 80),
            ("confidence", 96, 96),
            ("tracker_confidence", 100, 100),
            ("rect_params", 104, 104),
            ("mask_params", 208, 216),
            ("text_params", 232, 240),
            ("obj_label", 336, 344),
            ("classifier_meta_list", 464, 472),
            ("obj_user_meta_list", 472, 480),
            ("misc_obj_info", 480, 488),
            ("reserved", 512, 520),
        ],
    ),
    (
        "NvOSD_RectParams",
        &[
            ("left", 0, 0),
            ("top", 4, 4),
            ("width", 8, 8),
            ("height", 12, 12),
            ("border_width", 16, 16),
            ("border_color", 24, 24),
            ("has_bg_color", 56, 56),
            ("bg_color", 64, 64),
            ("has_color_info", 96, 96),
            ("color_id", 100, 100),
        ],
    ),
    (
        "NvDsInferTensorMeta",
        &[
            ("unique_id", 0, 0),
            ("num_output_layers", 4, 4),
            ("output_layers_info", 8, 8),
            ("out_buf_ptrs_host", 16, 16),
            ("out_buf_ptrs_dev", 24, 24),
            ("gpu_id", 32, 32),
            ("priv_data", 40, 40),
            ("network_info", 48, 48),
            ("maintain_aspect_ratio", 60, 60),
            ("symmetric_padding", 64, 64),
        ],
    ),
    (
        "NvDsInferLayerInfo",
        &[
            ("dataType", 0, 0),
            ("__bindgen_anon_1", 4, 4),
            ("bindingIndex", 44, 44),
            ("layerName", 48, 48),
            ("buffer", 56, 56),
            ("isInput", 64, 64),
        ],
    ),
    ("NvDsInferDims", &[("numDims", 0, 0), ("d", 4, 4), ("numElements", 36, 36)]),
    (
        "NvDsTargetMiscDataBatch",
        &[("list", 0, 0), ("numAllocated", 8, 8), ("numFilled", 12, 12), ("priv_data", 16, 16)],
    ),
    (
        "NvDsTargetMiscDataStream",
        &[
            ("list", 0, 0),
            ("streamID", 8, 8),
            ("surfaceStreamID", 16, 16),
            ("numAllocated", 24, 24),
            ("numFilled", 28, 28),
        ],
    ),
    (
        "NvDsTargetMiscDataObject",
        &[
            ("list", 0, 0),
            ("numObj", 8, 8),
            ("numAllocated", 12, 12),
            ("uniqueId", 16, 16),
            ("classId", 24, 24),
            ("objLabel", 26, 26),
        ],
    ),
    (
        "NvDsTargetMiscDataFrame",
        &[
            ("frameNum", 0, 0),
            ("tBbox", 8, 8),
            ("confidence", 112, 120),
            ("age", 116, 124),
            ("trackerState", 120, 128),
            ("visibility", 124, 132),
        ],
    ),
];

/// Numbers of kinds and types: the same in both.
const CONSTANTS: &[(&str, i64)] = &[
    ("NVDS_BATCH_META", 1),
    ("NVDS_FRAME_META", 2),
    ("NVDS_OBJ_META", 3),
    ("NVDS_USER_META", 7),
    ("NVDSINFER_TENSOR_OUTPUT_META", 12),
    ("NVDS_TRACKER_TERMINATED_LIST_META", 18),
    ("NVDS_BATCH_GST_META", 4097),
    ("FLOAT", 0),
    ("HALF", 1),
    ("INT8", 2),
    ("INT32", 3),
];

fn check(ours: &[Entry], column: impl Fn(&Row) -> i64) {
    let ours: BTreeMap<&str, i64> = ours.iter().copied().collect();
    let mut compared = 0;
    let mut expect = |name: &str, expected: i64| {
        assert_eq!(ours.get(name).copied(), Some(expected), "{name}");
        compared += 1;
    };
    for row in SIZES {
        expect(row.0, column(row));
    }
    for (name, fields) in OFFSETS {
        for row in *fields {
            expect(&format!("{name}.{}", row.0), column(row));
        }
    }
    for (name, value) in CONSTANTS {
        expect(name, *value);
    }
    assert!(compared > 130, "only {compared} numbers were compared");
}

#[test]
fn our_layout_for_7_1_has_the_measured_sizes_and_offsets() {
    check(ABI71, |row| row.1);
}

#[test]
fn our_layout_for_9_x_has_the_measured_sizes_and_offsets() {
    check(ABI90, |row| row.2);
}

#[test]
fn only_9_x_has_a_rotation_at_the_end_of_a_box_and_a_sensor_before_the_frame_s_reserve() {
    assert_eq!(std::mem::offset_of!(abi90::NvOSD_RectParams, rotation_angle), 104);
    assert_eq!(std::mem::offset_of!(abi90::NvDsFrameMeta, sensor_info), 168);
    assert_eq!(std::mem::offset_of!(abi90::NvDsTargetMiscDataFrame, ptWorldFeet), 136);
}

#[test]
fn what_is_used_without_asking_for_the_version_is_the_same_in_both() {
    let shared = |name: &str| {
        !["NvDsFrameMeta", "NvOSD_RectParams", "NvDsObjectMeta", "NvDsTargetMiscDataFrame"]
            .iter()
            .any(|differs| name.split('.').next() == Some(differs))
    };
    for (old, new) in ABI71.iter().zip(ABI90) {
        if shared(old.0) {
            assert_eq!(old, new);
        }
    }
}

#[test]
fn the_sentinel_of_an_untracked_object_is_all_ones_in_the_field_s_own_type() {
    let id: u64 = UNTRACKED_OBJECT_ID;
    assert_eq!(id, 0xFFFF_FFFF_FFFF_FFFF);
    // SAFETY: all fields of the struct may be zero: numbers, arrays, null pointers and absent functions.
    let object: abi90::NvDsObjectMeta = unsafe { std::mem::zeroed() };
    assert_eq!(object.obj_label.len(), LABEL_SIZE);
}

/// Compiled in only where the build found an SDK: `DEEPSTREAM_DIR=folder cargo test -p aivms-deepstream-sys`.
#[cfg(deepstream_sdk)]
#[test]
fn the_sdk_s_headers_agree_with_our_layout_of_their_version() {
    use aivms_deepstream_sys::layout::{EXPECTED, SDK, first_difference};
    println!("compared {} numbers with {:?}", SDK.len(), aivms_deepstream_sys::SDK);
    assert_eq!(first_difference(SDK, EXPECTED), None);
    let other = if std::ptr::eq(EXPECTED, ABI90) { ABI71 } else { ABI90 };
    assert!(first_difference(SDK, other).is_some(), "the comparison sees no difference where there is one");
}
