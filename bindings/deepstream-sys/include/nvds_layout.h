/*
 * The metadata of NVIDIA DeepStream as it lies in memory on 64-bit Linux: names, order and sizes of what AIVMS reads and
 * writes, and padding for the rest. These are facts of an interface, written down from a table of sizes and offsets that
 * was measured over the SDK's versions (docs/design/0005-deepstream-bindings.md); tests/layout.rs holds that table and
 * checks this file against it. Nothing here was copied from the SDK.
 *
 * AIVMS_NVDS_ABI chooses the layout:
 *   71  DeepStream 7.1         (JetPack 6.2)
 *   90  DeepStream 9.0 and 9.1 (JetPack 7.2)
 *
 * It includes nothing, so that it can be read for any target with no C library at hand. Types of GLib and GStreamer are
 * declared here with their size only; the generated Rust uses those of glib-sys and gstreamer-sys instead.
 */
#if AIVMS_NVDS_ABI != 71 && AIVMS_NVDS_ABI != 90
#error "AIVMS_NVDS_ABI must be 71 or 90"
#endif

typedef __INT64_TYPE__ aivms_i64;
typedef __UINT64_TYPE__ aivms_u64;
typedef __UINT32_TYPE__ aivms_u32;
typedef __UINT16_TYPE__ aivms_u16;

typedef int gboolean;
typedef void *gpointer;
typedef struct _GList GList;
typedef struct _GRecMutex {
    void *p;
    unsigned int i[2];
} GRecMutex;
typedef struct _GstMeta {
    unsigned int flags;
    const void *info;
} GstMeta;

/* Kinds of metadata; the numbers up to 15 never changed, 18 means the same since 6.4. */
typedef enum {
    NVDS_INVALID_META = -1,
    NVDS_BATCH_META = 1,
    NVDS_FRAME_META = 2,
    NVDS_OBJ_META = 3,
    NVDS_USER_META = 7,
    NVDSINFER_TENSOR_OUTPUT_META = 12,
    NVDS_TRACKER_TERMINATED_LIST_META = 18,
} NvDsMetaType;

/* Kind of the buffer's metadata that carries a batch. */
typedef enum { NVDS_GST_INVALID_META = -1, NVDS_BATCH_GST_META = 4097 } GstNvDsMetaType;

/* Both get the metadata itself (for user metadata the NvDsUserMeta, not what it points to) and a second pointer. */
typedef gpointer (*NvDsMetaCopyFunc)(gpointer data, gpointer user_data);
typedef void (*NvDsMetaReleaseFunc)(gpointer data, gpointer user_data);

/* What every metadata begins with. 40 bytes. */
typedef struct {
    struct NvDsBatchMeta *batch_meta;
    NvDsMetaType meta_type;
    void *uContext;
    NvDsMetaCopyFunc copy_func;
    NvDsMetaReleaseFunc release_func;
} NvDsBaseMeta;

/* A store of elements of one kind. element_size tells which layout a library was built with. 56 bytes. */
typedef struct {
    NvDsMetaType meta_type;
    unsigned int max_elements_in_pool;
    unsigned int element_size;
    unsigned int num_empty_elements;
    unsigned int num_full_elements;
    GList *empty_list;
    GList *full_list;
    NvDsMetaCopyFunc copy_func;
    NvDsMetaReleaseFunc release_func;
} NvDsMetaPool;

/* All frames that travel in one buffer. 192 bytes. */
typedef struct NvDsBatchMeta {
    NvDsBaseMeta base_meta;
    unsigned int max_frames_in_batch;
    unsigned int num_frames_in_batch;
    NvDsMetaPool *frame_meta_pool;
    NvDsMetaPool *obj_meta_pool;
    NvDsMetaPool *classifier_meta_pool;
    NvDsMetaPool *display_meta_pool;
    NvDsMetaPool *user_meta_pool;
    NvDsMetaPool *label_info_meta_pool;
    GList *frame_meta_list;
    GList *batch_user_meta_list;
    GRecMutex meta_mutex;
    aivms_i64 misc_batch_info[4];
    aivms_i64 reserved[4];
} NvDsBatchMeta;

/* One camera's frame. 200 bytes; 232 since 8.0. */
typedef struct {
    NvDsBaseMeta base_meta;
    unsigned int pad_index;
    unsigned int batch_id;
    int frame_num;
    aivms_u64 buf_pts;
    aivms_u64 ntp_timestamp;
    unsigned int source_id;
    int num_surfaces_per_frame;
    unsigned int source_frame_width;
    unsigned int source_frame_height;
    unsigned int surface_type;
    unsigned int surface_index;
    unsigned int num_obj_meta;
    gboolean bInferDone;
    GList *obj_meta_list;
    GList *display_meta_list;
    GList *frame_user_meta_list;
    aivms_i64 misc_frame_info[4];
    unsigned int pipeline_width;
    unsigned int pipeline_height;
#if AIVMS_NVDS_ABI >= 90
    aivms_u64 sensor_info[4];
#endif
    aivms_i64 reserved[4];
} NvDsFrameMeta;

/* A box in pixels. 16 bytes. */
typedef struct {
    float left;
    float top;
    float width;
    float height;
} NvBbox_Coords;

/* The box that one component found, before anything was clipped. 16 bytes. */
typedef struct {
    NvBbox_Coords org_bbox_coords;
} NvDsComp_BboxInfo;

/* A box as it is drawn, which is also where trackers and readers look for it. 104 bytes; 112 since 9.0. */
typedef struct {
    float left;
    float top;
    float width;
    float height;
    unsigned int border_width;
    double border_color[4];
    unsigned int has_bg_color;
    double bg_color[4];
    int has_color_info;
    int color_id;
#if AIVMS_NVDS_ABI >= 90
    float rotation_angle;
#endif
} NvOSD_RectParams;

/* A text as it is drawn; the text belongs to the object and is freed with g_free. 104 bytes. */
typedef struct {
    char *display_text;
    aivms_u64 place_font_and_colors[12];
} NvOSD_TextParams;

/* One detected or tracked object. 544 bytes; 552 since 9.0. */
typedef struct NvDsObjectMeta {
    NvDsBaseMeta base_meta;
    struct NvDsObjectMeta *parent;
    int unique_component_id;
    int class_id;
    aivms_u64 object_id;
    NvDsComp_BboxInfo detector_bbox_info;
    NvDsComp_BboxInfo tracker_bbox_info;
    float confidence;
    float tracker_confidence;
    NvOSD_RectParams rect_params;
    aivms_u64 mask_params[3];
    NvOSD_TextParams text_params;
    char obj_label[128];
    GList *classifier_meta_list;
    GList *obj_user_meta_list;
    aivms_i64 misc_obj_info[4];
    aivms_i64 reserved[4];
} NvDsObjectMeta;

/* Metadata of any other kind, hung on a batch, frame or object. 48 bytes. */
typedef struct {
    NvDsBaseMeta base_meta;
    void *user_meta_data;
} NvDsUserMeta;

/* The buffer's own metadata, which points to the batch. 72 bytes. */
typedef struct {
    GstMeta meta;
    gpointer meta_data;
    gpointer user_data;
    int meta_type;
    NvDsMetaCopyFunc copyfunc;
    NvDsMetaReleaseFunc freefunc;
    NvDsMetaCopyFunc gst_to_nvds_meta_transform_func;
    NvDsMetaReleaseFunc gst_to_nvds_meta_release_func;
} NvDsMeta;

typedef enum { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3, INT64 = 4, UINT8 = 5 } NvDsInferDataType;

/* A tensor's shape without the batch dimension. 40 bytes. */
typedef struct {
    unsigned int numDims;
    unsigned int d[8];
    unsigned int numElements;
} NvDsInferDims;

/* One output of a network. 72 bytes. */
typedef struct {
    NvDsInferDataType dataType;
    union {
        NvDsInferDims inferDims;
    };
    int bindingIndex;
    const char *layerName;
    void *buffer;
    int isInput;
} NvDsInferLayerInfo;

/* Size of a network's input. 12 bytes. */
typedef struct {
    unsigned int width;
    unsigned int height;
    unsigned int channels;
} NvDsInferNetworkInfo;

/* What the user metadata of kind 12 points to. 72 bytes since 7.1. */
typedef struct {
    unsigned int unique_id;
    unsigned int num_output_layers;
    NvDsInferLayerInfo *output_layers_info;
    void **out_buf_ptrs_host;
    void **out_buf_ptrs_dev;
    int gpu_id;
    void *priv_data;
    NvDsInferNetworkInfo network_info;
    gboolean maintain_aspect_ratio;
    gboolean symmetric_padding;
} NvDsInferTensorMeta;

/* One past frame of a track. 128 bytes; 144 since 9.0. */
typedef struct {
    aivms_u32 frameNum;
    NvOSD_RectParams tBbox;
    float confidence;
    aivms_u32 age;
    aivms_u32 trackerState;
    float visibility;
#if AIVMS_NVDS_ABI >= 90
    float ptWorldFeet[2];
#endif
} NvDsTargetMiscDataFrame;

/* One track with its past frames. 160 bytes. */
typedef struct {
    NvDsTargetMiscDataFrame *list;
    aivms_u32 numObj;
    aivms_u32 numAllocated;
    aivms_u64 uniqueId;
    aivms_u16 classId;
    char objLabel[128];
} NvDsTargetMiscDataObject;

/* The tracks of one stream. 32 bytes. */
typedef struct {
    NvDsTargetMiscDataObject *list;
    aivms_u32 streamID;
    aivms_u64 surfaceStreamID;
    aivms_u32 numAllocated;
    aivms_u32 numFilled;
} NvDsTargetMiscDataStream;

/* What the batch's user metadata of kind 18 (ended tracks) points to. 24 bytes. */
typedef struct {
    NvDsTargetMiscDataStream *list;
    aivms_u32 numAllocated;
    aivms_u32 numFilled;
    void *priv_data;
} NvDsTargetMiscDataBatch;
