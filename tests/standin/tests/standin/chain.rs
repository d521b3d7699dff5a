//! All elements in a row on the real video, with each implementation of the metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use aivms_appliance_core::decode::{self, OutputTensor};
use aivms_appliance_core::letterbox::Letterbox;
use aivms_appliance_core::model::{LetterboxMode, ModelDescription};
use aivms_contract::geometry::FrameSize;
use aivms_deepstream::{Abi, FrameMut, Layer, Library, NewObject, Rect};
use aivms_standin::{Metadata, use_metadata};
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::{SOON, cache, init};

/// Size of the batches' pictures, and of the video's.
const SIZE: FrameSize = FrameSize { width: 768, height: 576 };
/// Batches looked at: four seconds of the video.
const BATCHES: usize = 40;

const NANODET: &str = include_str!("../../../../appliance/models/nanodet-g-416.toml");

/// Files that the elements are told to read.
struct Files(tempfile::TempDir);

impl Files {
    fn write(interval: u32, tracker: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "inference.txt",
            format!(
                "[property]\ngie-unique-id=3\nnetwork-type=100\nprocess-mode=1\noutput-tensor-meta=1\nonnx-file={}\n\
                 batch-size=1\nnetwork-mode=0\ninfer-dims=3;416;416\nnet-scale-factor=0.01735\n\
                 offsets=103.53;116.28;123.675\nmodel-color-format=1\nmaintain-aspect-ratio=1\nsymmetric-padding=1\n\
                 interval={interval}\n",
                cache("models/nanodet-g-416.onnx").display()
            ),
        );
        write(
            "tracker.yml",
            format!(
                "%YAML:1.0\nBaseConfig:\n  minDetectorConfidence: 0.3\nTargetManagement:\n  \
                 maxShadowTrackingAge: 20\nTrajectoryManagement:\n  useUniqueID: 1\nDataAssociator:\n  \
                 tentativeDetectorConfidence: 0.5\n{tracker}"
            ),
        );
        write("library.so", String::new());
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// What the last element gave for one frame: number and box of each object, and the detector's box.
type Seen = Vec<(u64, Rect, Option<Rect>)>;

fn pipeline(files: &Files) -> gst::Pipeline {
    init();
    aivms_appliance::pipeline::infer::runtime(Some(&cache("onnxruntime/libonnxruntime.so"))).unwrap();
    let launch = format!(
        "filesrc location={} ! avidemux ! avdec_msmpeg4 ! nvvideoconvert ! \
         video/x-raw(memory:NVMM),format=NV12 ! mux.sink_0 \
         nvstreammux name=mux width={} height={} batch-size=1 batched-push-timeout=33000 live-source=1 ! \
         nvinfer name=inference config-file-path={} ! \
         nvtracker name=tracker ll-lib-file={} ll-config-file={} tracker-width=960 tracker-height=544 ! \
         fakesink sync=false async=false",
        cache("video/vtest.avi").display(),
        SIZE.width,
        SIZE.height,
        files.path("inference.txt"),
        files.path("library.so"),
        files.path("tracker.yml"),
    );
    gst::parse::launch(&launch).unwrap().downcast().unwrap()
}

/// Runs the first seconds of the video, the boxes read by the edge's own decoder behind the inference.
fn watch(library: &Arc<Library>, files: &Files) -> Vec<Seen> {
    let pipeline = pipeline(files);
    let model: ModelDescription = toml::from_str(NANODET).unwrap();
    let element = |name| pipeline.by_name(name).unwrap().static_pad("src").unwrap();
    let decoding = Arc::clone(library);
    element("inference").add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let mut batch = decoding.batch(probe.buffer_mut().unwrap().make_mut()).unwrap().unwrap();
        batch.frames_mut().for_each(|mut frame| read_boxes(&model, &mut frame));
        gst::PadProbeReturn::Ok
    });
    let (said, heard) = channel();
    let (said, reading) = (Mutex::new(said), Arc::clone(library));
    element("tracker").add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let batch = reading.read_batch(probe.buffer().unwrap()).unwrap().unwrap();
        for frame in batch.frames() {
            let objects = frame.objects();
            let seen = objects.map(|object| (object.object_id().unwrap(), object.rect(), object.detector_box()));
            let _ = said.lock().unwrap().send(seen.collect::<Seen>());
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let seen = (0..BATCHES).map(|_| heard.recv_timeout(SOON).unwrap()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    seen
}

fn read_boxes(model: &ModelDescription, frame: &mut FrameMut<'_>) {
    let input = FrameSize { width: model.input.width, height: model.input.height };
    let letterbox = Letterbox::fit(SIZE, input, LetterboxMode::Centred).unwrap();
    let mut found = None;
    for tensors in frame.tensors() {
        assert_eq!((tensors.unique_id(), tensors.network()), (3, (416, 416)));
        let layers: Vec<_> = tensors.layers().collect();
        // The batch's own dimension, which nvinfer leaves out, goes in front.
        let shape = |layer: &Layer<'_>| std::iter::once(1).chain(layer.dims().iter().map(|&n| n as usize)).collect();
        let shapes: Vec<Vec<usize>> = layers.iter().map(shape).collect();
        let outputs: Vec<_> = (layers.iter().zip(&shapes))
            .map(|(layer, shape)| OutputTensor { name: layer.name(), data: layer.data().unwrap(), shape })
            .collect();
        found = Some(decode::detections(model, &letterbox, &outputs, 0.3).unwrap());
    }
    assert!(!frame.detected(), "nvinfer of network type 100 leaves that to others");
    let Some(found) = found else { return };
    frame.set_detected(true);
    for detected in found {
        let [left, top, right, bottom] = detected.bbox.corners();
        let rect = Rect { left, top, width: right - left, height: bottom - top };
        let (class_id, confidence) = (i32::from(detected.class), detected.confidence);
        frame.add_object(&NewObject { class_id, label: "thing", confidence, rect, component_id: 3 }).unwrap();
    }
}

fn lives(seen: &[Seen]) -> BTreeMap<u64, usize> {
    let mut lives = BTreeMap::new();
    for (id, ..) in seen.iter().flatten() {
        *lives.entry(*id).or_default() += 1;
    }
    lives
}

/// People walk through all of the first four seconds.
fn people_are_followed(choice: &Metadata, library: &Arc<Library>) {
    use_metadata(choice).unwrap();
    let seen = watch(library, &Files::write(0, ""));
    let lives = lives(&seen);
    assert!(lives.values().filter(|&&frames| frames >= BATCHES - 10).count() >= 3, "{lives:?}");
    assert!(lives.keys().all(|id| id >> 32 == 1), "numbers of the input have its mark: {lives:?}");
    assert!(seen.iter().flatten().all(|(_, _, detected)| detected.is_some()));
    assert_eq!(aivms_deepstream::tensors_alive(), 0, "tensors are freed with their buffers");
}

#[test]
fn people_are_followed_with_metadata_of_our_own_as_in_version_9() {
    people_are_followed(&Metadata::Own(Abi::V90), &Library::own(Abi::V90));
}

#[test]
fn people_are_followed_with_metadata_of_our_own_as_in_version_7_1() {
    people_are_followed(&Metadata::Own(Abi::V71), &Library::own(Abi::V71));
}

#[test]
fn people_are_followed_with_the_metadata_of_nvidias_libraries() {
    let Some(folder) = nvidias_libraries() else { return };
    people_are_followed(&Metadata::Folder(folder.clone()), &Library::open(Some(&folder)).unwrap());
}

/// NVIDIA's metadata libraries, where they could be had.
fn nvidias_libraries() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/deepstream/lib");
    let there = folder.join("libnvds_meta.so").exists();
    if !there {
        eprintln!("skipped: {} has no NVIDIA libraries; `make setup` gets them", folder.display());
    }
    there.then_some(folder)
}

const NVDCF: &str = "VisualTracker:\n  visualTrackerType: 1\n";

#[test]
fn frames_in_between_are_followed_where_the_tracker_looks_at_pixels() {
    let library = Library::own(Abi::V90);
    let seen = watch(&library, &Files::write(1, NVDCF));
    let (mut looked_at, mut between) = (0, 0);
    for (_, _, detected) in seen.iter().flatten() {
        *(if detected.is_some() { &mut looked_at } else { &mut between }) += 1;
    }
    assert!(looked_at > 50 && between > 50, "{looked_at} and {between}");
    let in_kind = |seen: &Seen| seen.iter().map(|(_, _, d)| d.is_some()).collect::<std::collections::BTreeSet<_>>();
    assert!(seen.iter().all(|seen| in_kind(seen).len() <= 1), "a frame is of one kind");
}

#[test]
fn frames_in_between_are_left_alone_where_it_does_not() {
    let seen = watch(&Library::own(Abi::V90), &Files::write(1, ""));
    assert!(seen.iter().skip(1).step_by(2).all(Vec::is_empty));
    assert!(lives(&seen).len() > 3);
}

/// What a pipeline's start is refused with.
fn refused(files: &Files) -> String {
    let pipeline = pipeline(files);
    let _ = pipeline.set_state(gst::State::Playing);
    let wait = gst::ClockTime::from_seconds(SOON.as_secs());
    let message = pipeline.bus().unwrap().timed_pop_filtered(wait, &[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else { panic!("{message:?}") };
    let said = error.error().message().to_owned();
    pipeline.set_state(gst::State::Null).unwrap();
    said
}

#[test]
fn a_key_that_the_engine_does_not_write_is_refused_by_its_name() {
    let files = Files::write(0, "  probation: 3\n");
    let said = refused(&files);
    assert!(said.contains("DataAssociator.probation: is an unknown key"), "{said}");
    let files = Files::write(0, "");
    let config = files.path("inference.txt");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("interval=0", "cluster-mode=4")).unwrap();
    let said = refused(&files);
    assert!(said.contains("cluster-mode: is an unknown key"), "{said}");
}

#[test]
fn a_missing_library_of_the_tracker_and_a_missing_network_are_refused() {
    let files = Files::write(0, "");
    std::fs::remove_file(files.path("library.so")).unwrap();
    assert!(refused(&files).contains("ll-lib-file: there is no "));
    let files = Files::write(0, "");
    let config = files.path("inference.txt");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap().replace(".onnx", "-not.onnx")).unwrap();
    assert!(refused(&files).contains("nanodet-g-416-not.onnx"));
}
