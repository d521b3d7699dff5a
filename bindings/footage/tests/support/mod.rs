//! Footage for tests: made up, or from real encoders.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

pub(crate) mod encoder;

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::UtcMillis;
use aivms_footage::{
    AudioTrack, Fragment, FragmentInfo, FragmentTable, Sample, SegmentAbout, Tracks, VideoCodec, VideoTrack,
    init_segment, write_fragment, write_tail,
};
use bytes::Bytes;

/// Wall time of the first picture of made-up footage.
pub(crate) const START: i64 = 1_795_352_700_250;

/// Tracks that no decoder would take.
pub(crate) fn tracks(sound: bool) -> Tracks {
    let config = Bytes::from_static(&[1, 0x4d, 0, 0x1f, 0xff, 0xe0, 0]);
    let video = VideoTrack { codec: VideoCodec::H264, frame: FrameSize { width: 320, height: 180 }, config };
    let audio = AudioTrack { sample_rate: 48_000, channels: 2, config: Bytes::from_static(&[0x11, 0x90]) };
    Tracks { video, audio: sound.then_some(audio) }
}

pub(crate) fn about() -> SegmentAbout {
    let (edge, camera) = (Some("edge_1".parse().unwrap()), "door".parse().unwrap());
    SegmentAbout { edge, camera, start: UtcMillis::from_millis(START) }
}

/// The `number`-th fragment of a segment of `pictures` pictures each, at 25 per second; every second begins with a key.
pub(crate) fn fragment(number: u64, pictures: u64, sound: bool) -> Fragment {
    let sample = |at: u64| {
        let size = (at * 7 % 40) as u8 + 1;
        let mut data = vec![0, 0, 0, size];
        data.extend((0..size).map(|byte| byte.wrapping_mul(31).wrapping_add(at as u8)));
        let composition = [0, 3600, -3600][(at % 3) as usize];
        Sample { dts: at * 3600, composition, duration: 3600, key: at.is_multiple_of(25), data: data.into() }
    };
    let video: Vec<Sample> = (number * pictures..(number + 1) * pictures).map(sample).collect();
    let heard =
        |at: u64| Sample { dts: at * 1024, composition: 0, duration: 1024, key: true, data: vec![at as u8; 9].into() };
    let audio = if sound { (number * 4..number * 4 + 4).map(heard).collect() } else { Vec::new() };
    let millis = video.iter().map(Sample::pts).min().unwrap() / 90;
    Fragment { wall: UtcMillis::from_millis(START + millis), video, audio }
}

/// A segment's file without its tail, and what is in it.
pub(crate) fn segment(count: u64, pictures: u64, sound: bool) -> (Vec<u8>, Vec<FragmentInfo>) {
    let mut file = init_segment(&tracks(sound), &about());
    let infos = (0..count).map(|number| {
        let offset = file.len() as u64;
        write_fragment(&fragment(number, pictures, sound), number as u32 + 1, offset, &mut file).unwrap()
    });
    let infos = infos.collect();
    (file, infos)
}

/// The same, closed.
pub(crate) fn closed_segment(count: u64, pictures: u64, sound: bool) -> (Vec<u8>, Vec<FragmentInfo>) {
    let (mut file, infos) = segment(count, pictures, sound);
    file.extend(write_tail(&FragmentTable { fragments: infos.clone() }));
    (file, infos)
}
