//! Names, properties and caps.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::init;

/// The properties that an element has of its own.
fn own_properties(factory: &str) -> Vec<String> {
    let element = gst::ElementFactory::make(factory).build().unwrap();
    let all = element.list_properties();
    let own = all.iter().filter(|spec| spec.owner_type() == element.type_());
    let mut names: Vec<_> = own.map(|spec| format!("{} {}", spec.name(), spec.value_type().name())).collect();
    names.sort();
    names
}

#[test]
fn each_element_has_the_properties_that_the_engine_sets_and_no_other() {
    init();
    assert_eq!(own_properties("nvv4l2decoder"), ["mjpeg gboolean", "num-extra-surfaces guint"]);
    assert_eq!(
        own_properties("nvstreammux"),
        [
            "batch-size guint",
            "batched-push-timeout gint",
            "enable-padding gboolean",
            "height guint",
            "live-source gboolean",
            "width guint"
        ]
    );
    assert_eq!(own_properties("nvinfer"), ["config-file-path gchararray"]);
    assert_eq!(
        own_properties("nvtracker"),
        [
            "display-tracking-id gboolean",
            "ll-config-file gchararray",
            "ll-lib-file gchararray",
            "tracker-height guint",
            "tracker-width guint"
        ]
    );
    assert_eq!(own_properties("nvvideoconvert"), [""; 0]);
    assert_eq!(own_properties("nvjpegenc"), ["quality gint"]);
}

#[test]
fn a_property_that_is_unknown_is_an_error() {
    init();
    for launch in ["nvstreammux sync-inputs=1", "nvinfer unique-id=1", "nvtracker gpu-id=0", "nvv4l2decoder x=1"] {
        let error = gst::parse::launch(launch).expect_err(launch);
        assert!(error.matches(gst::ParseError::NoSuchProperty), "{launch}: {error}");
    }
}

#[test]
fn pictures_in_ordinary_memory_do_not_link_where_the_real_elements_refuse_them() {
    init();
    for launch in [
        "videotestsrc ! video/x-raw,format=NV12 ! nvstreammux.sink_0 nvstreammux name=nvstreammux",
        "videotestsrc ! video/x-raw,format=NV12 ! nvinfer",
        "nvstreammux ! jpegenc",
        "nvv4l2decoder ! jpegenc",
    ] {
        let error = gst::parse::launch(launch).expect_err(launch);
        assert!(error.matches(gst::ParseError::Link), "{launch}: {error}");
    }
}

/// Runs a pipeline with an appsink called `out` and gives its samples.
fn samples(launch: &str) -> Vec<gst::Sample> {
    init();
    let pipeline = gst::parse::launch(launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gstreamer_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut samples = vec![];
    while let Ok(sample) = sink.pull_sample() {
        samples.push(sample);
    }
    let error = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(error.is_none(), "{error:?}");
    samples
}

#[test]
fn the_decoder_gives_every_picture_in_the_memory_of_the_gpu() {
    let pictures = samples(
        "videotestsrc num-buffers=10 ! video/x-raw,format=I420,width=64,height=48 ! openh264enc ! h264parse ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! nvv4l2decoder num-extra-surfaces=4 ! \
         appsink name=out sync=false",
    );
    assert_eq!(pictures.len(), 10);
    let caps = pictures[0].caps().unwrap();
    assert!(caps.features(0).unwrap().contains("memory:NVMM"), "{caps}");
    let structure = caps.structure(0).unwrap();
    assert_eq!(structure.get::<&str>("format"), Ok("NV12"));
    assert_eq!((structure.get("width"), structure.get("height")), (Ok(64), Ok(48)));
}

#[test]
fn a_snapshot_is_a_jpeg_of_the_pictures_size() {
    for (memory, format) in [("", "I420"), ("(memory:NVMM)", "NV12"), ("", "YUY2")] {
        let pictures = samples(&format!(
            "videotestsrc num-buffers=1 ! video/x-raw,width=64,height=48 ! nvvideoconvert ! \
             video/x-raw{memory},format={format} ! nvvideoconvert ! video/x-raw(memory:NVMM),format=I420 ! \
             nvjpegenc quality=85 ! appsink name=out sync=false",
        ));
        let [picture] = &pictures[..] else { panic!("{} pictures", pictures.len()) };
        let structure = picture.caps().unwrap().structure(0).unwrap();
        assert_eq!((structure.get("width"), structure.get("height")), (Ok(64), Ok(48)));
        let jpeg = picture.buffer().unwrap().map_readable().unwrap();
        assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
    }
}

#[test]
fn the_library_is_a_plugin_that_a_program_finds_by_its_path() {
    gst::init().unwrap();
    let tests = std::env::current_exe().unwrap();
    let folders = tests.ancestors().skip(1).take(2).map(|folder| folder.join("libaivms_standin.so"));
    let library = folders.into_iter().find(|file| file.exists()).expect("it is built with the tests");
    let plugin = gst::Plugin::load_file(&library).unwrap();
    let elements = gst::Registry::get().features_by_plugin(&plugin.plugin_name());
    assert_eq!(elements.len(), 6);
}
