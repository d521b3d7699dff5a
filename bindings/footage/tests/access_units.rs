//! Byte streams are taken apart rightly, whatever encoder they come from, and wrongly made ones are refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use aivms_contract::geometry::FrameSize;
use aivms_footage::access_unit::{ParameterError, UnitError};
use aivms_footage::{AccessUnits, VideoCodec};
use proptest::prelude::*;
use support::encoder::run;

/// One picture of an encoder, as a byte stream.
fn one_picture(encoder: &str, size: &str, format: &str, more: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let form = if encoder == "libx264" { "h264" } else { "hevc" };
    let path = directory.path().join(form);
    let input = format!("testsrc=s={size}:r=25");
    let mut args = vec!["-v", "error", "-f", "lavfi", "-i", &input, "-frames:v", "1", "-pix_fmt", format];
    args.extend(["-c:v", encoder, "-preset", "ultrafast", "-threads", "1"]);
    args.extend(if form == "hevc" { &["-x265-params", "log-level=none"][..] } else { &[] });
    args.extend(more);
    args.extend(["-f", form, path.to_str().unwrap()]);
    run("ffmpeg", &args);
    std::fs::read(path).unwrap()
}

#[test]
fn the_size_is_that_of_the_picture_without_what_is_cropped() {
    for (encoder, codec) in [("libx264", VideoCodec::H264), ("libx265", VideoCodec::H265)] {
        for (width, height, format) in
            [(1920, 1080, "yuv420p"), (322, 182, "yuv420p"), (322, 181, "yuv422p"), (321, 181, "yuv444p")]
        {
            let unit = one_picture(encoder, &format!("{width}x{height}"), format, &[]);
            let mut units = AccessUnits::new(codec);
            assert!(units.take(&unit).unwrap().key);
            assert_eq!(units.track().unwrap().frame, FrameSize { width, height }, "{encoder} {format}");
        }
    }
    let mut units = AccessUnits::new(VideoCodec::H264);
    units.take(&one_picture("libx264", "720x576", "yuv420p", &["-flags", "+ilme+ildct"])).unwrap();
    assert_eq!(units.track().unwrap().frame, FrameSize { width: 720, height: 576 });
}

#[test]
fn how_many_pictures_overtake_is_read_from_the_parameter_sets() {
    for (encoder, codec) in [("libx264", VideoCodec::H264), ("libx265", VideoCodec::H265)] {
        for (pictures, reorder) in [("0", 0), ("2", 1), ("3", 2)] {
            let strategy: &[&str] = if codec == VideoCodec::H264 { &["-b-pyramid", "normal"] } else { &[] };
            let params = format!("log-level=none:bframes={pictures}:b-pyramid=1");
            let hevc = ["-x265-params", params.as_str()];
            let more = if codec == VideoCodec::H264 { [&["-bf", pictures], strategy].concat() } else { hevc.to_vec() };
            let mut units = AccessUnits::new(codec);
            units.take(&one_picture(encoder, "64x64", "yuv420p", &more)).unwrap();
            let said = units.track().unwrap().reorder().unwrap();
            // With two B-pictures an encoder may use one of them as a reference, and then two overtake.
            assert!(said == reorder || pictures == "2" && said == 2, "{encoder} {pictures}: {said}");
        }
    }
}

/// NAL units of a byte stream, by the long start code.
fn joined(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
}

/// Sequence and picture parameter sets of a picture.
fn sets(stream: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut units = AccessUnits::new(VideoCodec::H264);
    units.take(stream).unwrap();
    let config = units.track().unwrap().config.clone();
    let length = usize::from(config[7]);
    let (sps, rest) = config[8..].split_at(length);
    (sps.to_vec(), rest[3..3 + usize::from(rest[2])].to_vec())
}

#[test]
fn delimiters_filler_and_parameter_sets_are_left_out_and_messages_kept() {
    let (sps, pps) = sets(&one_picture("libx264", "64x64", "yuv420p", &[]));
    let (sei, slice) = ([6, 5, 1, 9, 0x80], [0x65, 0x88, 0x80, 3]);
    let mut stream = joined(&[&[9, 0xf0], &sps, &pps, &sei, &slice]);
    // A short start code, and zeros behind a unit, are as good.
    stream.extend([&[0, 0, 1, 12, 0xff, 0x80][..], &[0, 0, 0, 0, 1, 0x65, 7, 0, 0]].concat());
    let picture = AccessUnits::new(VideoCodec::H264).take(&stream).unwrap();
    assert_eq!(picture.data, [&[0, 0, 0, 5][..], &sei, &[0, 0, 0, 4], &slice, &[0, 0, 0, 2, 0x65, 7]].concat());
    assert!(picture.key && picture.refresh && picture.changed);
}

#[test]
fn only_other_parameter_sets_change_the_track() {
    let (sps, pps) = sets(&one_picture("libx264", "64x64", "yuv420p", &[]));
    let (other, other_pps) = sets(&one_picture("libx264", "128x64", "yuv420p", &[]));
    let slice: &[u8] = &[0x65, 0x88];
    let mut units = AccessUnits::new(VideoCodec::H264);
    let mut changed = |unit: &[u8]| units.take(unit).unwrap().changed;
    assert!(changed(&joined(&[&sps, &pps, slice])));
    assert!(!changed(&joined(&[&sps, &pps, slice])));
    assert!(!changed(&joined(&[&[0x41, 0x9a]])));
    assert!(changed(&joined(&[&other, &other_pps, slice])));
    assert!(!changed(&joined(&[&other_pps, slice])));
    assert_eq!(units.track().unwrap().frame.width, 128);
}

#[test]
fn what_cannot_be_decoded_is_refused_with_the_reason() {
    let (sps, pps) = sets(&one_picture("libx264", "64x64", "yuv420p", &[]));
    let refused = |stream: &[u8]| AccessUnits::new(VideoCodec::H264).take(stream).unwrap_err();
    assert_eq!(refused(b""), UnitError::NoPicture);
    assert_eq!(refused(&joined(&[&sps, &pps])), UnitError::NoPicture);
    assert_eq!(refused(&joined(&[&[0x65, 1]])), UnitError::Parameters(ParameterError::Missing("sequence")));
    assert_eq!(refused(&joined(&[&sps, &[0x65, 1]])), UnitError::Parameters(ParameterError::Missing("picture")));
    let broken = refused(&joined(&[&sps[..3], &pps, &[0x65, 1]]));
    assert!(broken.to_string().contains("sequence parameter set"), "{broken}");
}

#[test]
fn a_key_picture_by_its_recovery_point_counts_as_one_without_a_refresh() {
    let (sps, pps) = sets(&one_picture("libx264", "64x64", "yuv420p", &[]));
    let mut units = AccessUnits::new(VideoCodec::H264);
    let picture = units.take(&joined(&[&sps, &pps, &[6, 6, 1, 0xc4, 0x80], &[0x41, 0x88]])).unwrap();
    assert!(picture.key && !picture.refresh);
    assert!(!units.take(&joined(&[&[6, 6, 1, 0x44, 0x80], &[0x41, 0x88]])).unwrap().key);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(
        mut units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 0..6),
        kinds in prop::collection::vec(prop::sample::select(vec![7u8, 8, 5, 0x40, 0x42, 0x44, 0x26, 6]), 6),
        h265: bool,
    ) {
        for (unit, kind) in units.iter_mut().zip(&kinds) {
            unit[0] = *kind;
        }
        let stream = joined(&units.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let codec = if h265 { VideoCodec::H265 } else { VideoCodec::H264 };
        let mut units = AccessUnits::new(codec);
        let _ = units.take(&stream);
        if let Some(track) = units.track() {
            let _ = (track.codecs(), track.reorder());
        }
    }

    #[test]
    fn a_damaged_sequence_parameter_set_never_panics(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), h265: bool) {
        let (codec, front, sps): (_, &[&[u8]], &[u8]) = if h265 {
            (VideoCodec::H265, &[&[0x40, 1, 12], &[0x44, 1, 0xc1]], SPS_H265)
        } else {
            (VideoCodec::H264, &[&[8, 0xeb]], SPS_H264)
        };
        let mut sps = sps.to_vec();
        for (at, value) in flips {
            let at = 2 + at.index(sps.len() - 2);
            sps[at] = value;
        }
        let picture: &[u8] = if h265 { &[0x26, 1, 0xaf] } else { &[0x65, 0x88] };
        let mut units = AccessUnits::new(codec);
        if units.take(&joined(&[front, &[&sps, picture]].concat())).is_ok() {
            let track = units.track().unwrap();
            prop_assert!(track.frame.width > 0 && track.frame.height > 0);
            let _ = (track.codecs(), track.reorder());
        }
    }
}

/// Of libx264, 1920x1080, with everything that it says of timing.
const SPS_H264: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00,
    0x00, 0x03, 0x00, 0xca, 0x3c, 0x60, 0xc6, 0x58,
];
/// Of libx265, 316x178.
const SPS_H265: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3c, 0xa0,
    0x0a, 0x08, 0x05, 0xc6, 0x59, 0x65, 0x66, 0x92, 0x4c, 0xae, 0x6a, 0x02, 0x02, 0x02, 0x08,
];
