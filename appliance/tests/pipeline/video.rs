//! Small videos, encoded on the spot.

use std::path::{Path, PathBuf};

use aivms_contract::geometry::FrameSize;
use gstreamer as gst;
use gstreamer::prelude::*;

/// Encodes `pictures` pictures of a moving ball as H.264 at 25 per second, with a key picture each second.
fn encoder(pictures: u32, size: FrameSize) -> String {
    format!(
        "videotestsrc pattern=ball num-buffers={pictures} ! \
         video/x-raw,format=I420,width={},height={},framerate=25/1 ! openh264enc gop-size=25 ! h264parse",
        size.width, size.height
    )
}

/// Writes an MP4 file into `folder`.
pub(crate) fn mp4(folder: &Path, pictures: u32, size: FrameSize) -> PathBuf {
    let path = folder.join("test.mp4");
    run(&format!("{} ! mp4mux ! filesink location={}", encoder(pictures, size), path.display()));
    path
}

/// Runs a pipeline to its end.
fn run(launch: &str) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(launch).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(matches!(end.unwrap().view(), gst::MessageView::Eos(_)), "{launch}");
}
