//! From encoded units to pictures of the model's size, across gaps and changes of the stream.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::pipeline::access_unit::{AccessUnit, StreamFormat};
use aivms_appliance::pipeline::decode::{DecodeError, Decoder};
use aivms_appliance::pipeline::frame::Frame;
use aivms_appliance_core::model::ModelInput;
use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use gstreamer as gst;

use crate::video::{decode, first_units, mp4};

const SMALL: FrameSize = FrameSize { width: 320, height: 240 };
const WIDE: FrameSize = FrameSize { width: 640, height: 320 };

fn input() -> ModelInput {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/yolox-nano-416.toml"));
    toml::from_str::<aivms_appliance_core::model::ModelDescription>(&text.unwrap()).unwrap().input
}

/// A second of video, its times moved by `shift`.
fn second_of(size: FrameSize, shift: Duration) -> Vec<AccessUnit> {
    let folder = tempfile::tempdir().unwrap();
    let mut units = first_units(mp4(folder.path(), 25, size), 25);
    for unit in &mut units {
        unit.at = unit.at + shift;
        let at = gst::ClockTime::from_nseconds(unit.at.as_nanos());
        let buffer = unit.buffer.make_mut();
        buffer.set_pts(at);
        buffer.set_dts(at);
    }
    units
}

fn decode_all(decoder: &Decoder, units: &[AccessUnit]) -> Vec<Frame> {
    units.iter().filter_map(|unit| decode(decoder, unit)).collect()
}

#[test]
fn pictures_come_in_the_models_size_and_at_the_wanted_rate() {
    let units = second_of(SMALL, Duration::ZERO);
    let decoder = Decoder::start(&units[0].format, &input(), 5.0).unwrap();
    let frames = decode_all(&decoder, &units);
    let times: Vec<_> = frames.iter().map(|frame| frame.at).collect();
    assert_eq!(times, [0, 200, 400, 600, 800].map(MediaTime::from_millis));
    for frame in &frames {
        assert_eq!(frame.letterbox.frame(), SMALL);
        let (width, height) = frame.with_image(|image| (image.width, image.height)).unwrap();
        assert_eq!((width, height), (416, 312));
    }
    assert_eq!((decoder.counters().decoded, decoder.counters().admitted), (25, 5));
}

#[test]
fn a_camera_that_changes_its_size_goes_on_with_boxes_in_the_new_size() {
    let (before, after) = (second_of(SMALL, Duration::ZERO), second_of(WIDE, Duration::from_secs(1)));
    let decoder = Decoder::start(&before[0].format, &input(), 5.0).unwrap();
    let frames = decode_all(&decoder, &[before, after].concat());
    let sizes: Vec<_> = frames.iter().map(|frame| frame.letterbox.frame()).collect();
    assert_eq!(sizes, [[SMALL; 5], [WIDE; 5]].concat());
    let images: Vec<_> = frames.iter().filter_map(|f| f.with_image(|image| image.height)).collect();
    assert_eq!(images, [[312; 5], [208; 5]].concat());
}

#[test]
fn after_a_gap_decoding_waits_for_a_key_picture() {
    let units = second_of(SMALL, Duration::ZERO);
    let again = second_of(SMALL, Duration::from_secs(1));
    let decoder = Decoder::start(&units[0].format, &input(), 25.0).unwrap();
    assert!(decode_all(&decoder, &units[1..5]).is_empty());
    assert_eq!((decoder.counters().units_dropped, decoder.counters().decoded), (4, 0));
    assert_eq!(decode_all(&decoder, &again).len(), 25);
}

#[test]
fn another_codec_asks_for_another_decoder_and_an_unknown_one_is_named() {
    let units = second_of(SMALL, Duration::ZERO);
    let decoder = Decoder::start(&units[0].format, &input(), 5.0).unwrap();
    let format = |caps: &str| Arc::new(StreamFormat::new(caps.parse().unwrap()));
    let other = AccessUnit { format: format("image/jpeg"), ..units[0].clone() };
    assert_eq!(decoder.push(&other), Err(DecodeError::FormatChanged));
    let unknown = Decoder::start(&format("video/x-unheard-of"), &input(), 5.0).map(drop);
    assert_eq!(unknown, Err(DecodeError::NoDecoder("video/x-unheard-of".to_owned())));
}
