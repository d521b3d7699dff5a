//! Access units: of files, and encoded on the spot.

use std::path::Path;
use std::sync::Arc;

use aivms_appliance::pipeline::access_unit::{AccessUnit, StreamFormat};
use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

/// Every unit of the demo video, which no decoder of NVIDIA's takes.
pub(crate) fn demo(file: &Path, pictures: usize) -> Vec<AccessUnit> {
    units(&format!("filesrc location={} ! avidemux", file.display()), pictures)
}

/// A white square on black, as H.264 at 25 pictures a second with a key picture each second. With sides of an eighth
/// of the picture's longer one it covers exactly one cell of bright.onnx: the third from the left, the second from the
/// top.
pub(crate) fn light(pictures: usize, size: FrameSize) -> Vec<AccessUnit> {
    let FrameSize { width, height } = size;
    let side = width.max(height) / 8;
    let (left, top) = (2 * side, side);
    let (right, bottom) = (width - left - side, height - top - side);
    let made = format!(
        "videotestsrc pattern=white num-buffers={pictures} ! video/x-raw,format=I420,width={side},height={side},\
         framerate=25/1 ! videobox fill=black left=-{left} top=-{top} right=-{right} bottom=-{bottom} ! \
         openh264enc gop-size=25 ! h264parse config-interval=-1 ! \
         video/x-h264,stream-format=byte-stream,alignment=au"
    );
    units(&made, pictures)
}

fn units(launch: &str, most: usize) -> Vec<AccessUnit> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!("{launch} ! appsink name=sink sync=false")).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (mut units, mut format) = (vec![], None);
    while units.len() < most
        && let Ok(sample) = sink.pull_sample()
    {
        let buffer = sample.buffer_owned().unwrap();
        let format = format.get_or_insert_with(|| Arc::new(StreamFormat::new(sample.caps_owned().unwrap())));
        let at = buffer.pts().or(buffer.dts()).unwrap();
        units.push(AccessUnit {
            format: Arc::clone(format),
            at: MediaTime::from_nanos(at.nseconds()),
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            buffer,
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(units.len(), most, "{launch}");
    units
}
