//! Small videos, encoded on the spot.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::access_unit::{AccessUnit, fan_out};
use aivms_appliance::pipeline::decode::Decoder;
use aivms_appliance::pipeline::frame::Frame;
use aivms_appliance::pipeline::source::address::Address;
use aivms_appliance::pipeline::source::{Source, SourceOutput};
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

/// The first units of a file.
pub(crate) fn first_units(file: PathBuf, wanted: usize) -> Vec<AccessUnit> {
    let (sender, mut received) = fan_out();
    let (output, _end) = SourceOutput::new(sender);
    let source = Source::start(&Address::File(file), output).unwrap();
    let units = (0..wanted).map(|_| received.blocking_recv().unwrap()).collect();
    source.stop();
    units
}

/// Hands over a unit and waits until it is decoded; gives the picture if it is to be analysed.
///
/// The decoders of the test videos give each picture at once.
pub(crate) fn decode(decoder: &Decoder, unit: &AccessUnit) -> Option<Frame> {
    let (start, before) = (Instant::now(), decoder.counters());
    decoder.push(unit).unwrap();
    if decoder.counters().units_dropped > before.units_dropped {
        return None;
    }
    while decoder.counters().decoded == before.decoded {
        assert!(start.elapsed() < Duration::from_secs(30), "the decoder hangs");
        std::thread::sleep(Duration::from_micros(200));
    }
    // Counted as decoded a moment before it is counted as admitted.
    let wait = gst::ClockTime::from_mseconds(50);
    match decoder.next_frame(wait).unwrap() {
        None if decoder.counters().admitted > before.admitted => {
            decoder.next_frame(gst::ClockTime::from_seconds(30)).unwrap()
        }
        frame => frame,
    }
}
