//! Footage from real encoders, taken through our own writer.

use std::path::{Path, PathBuf};
use std::process::Command;

use aivms_contract::time::{MediaTime, UtcMillis};
use aivms_footage::{
    AccessUnits, AudioTrack, DecodeTimes, FragmentInfo, FragmentTable, Gather, SegmentAbout, Shot, Timed, Tracks,
    VideoCodec, init_segment, write_fragment, write_tail,
};
use bytes::Bytes;

/// What to encode.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) codec: VideoCodec,
    pub(crate) encoder: &'static [&'static str],
    /// Samples of sound per second, if it has any.
    pub(crate) sound: Option<u32>,
}

pub(crate) const BASELINE: Recipe =
    Recipe { codec: VideoCodec::H264, encoder: &["libx264", "-profile:v", "baseline", "-g", "25"], sound: None };
pub(crate) const B_PICTURES: Recipe = Recipe {
    codec: VideoCodec::H264,
    encoder: &["libx264", "-profile:v", "high", "-bf", "3", "-b_strategy", "0", "-g", "25"],
    sound: None,
};
pub(crate) const WITH_SOUND: Recipe = Recipe {
    codec: VideoCodec::H264,
    encoder: &["libx264", "-profile:v", "high", "-bf", "2", "-g", "25"],
    sound: Some(48_000),
};
/// Sound as it comes from a camera's G.711.
pub(crate) const WITH_TELEPHONE_SOUND: Recipe = Recipe { sound: Some(8_000), ..WITH_SOUND };
pub(crate) const H265: Recipe = Recipe {
    codec: VideoCodec::H265,
    encoder: &["libx265", "-x265-params", "keyint=25:min-keyint=25:open-gop=0:bframes=3:log-level=none"],
    sound: Some(48_000),
};

/// Key pictures that are no refresh: pictures behind one refer to pictures before it.
pub(crate) const OPEN_H264: Recipe = Recipe {
    codec: VideoCodec::H264,
    encoder: &[
        "libx264",
        "-bf",
        "2",
        "-b_strategy",
        "0",
        "-g",
        "25",
        "-x264-params",
        "open-gop=1:keyint=25:min-keyint=25",
    ],
    sound: None,
};
pub(crate) const OPEN_H265: Recipe = Recipe {
    codec: VideoCodec::H265,
    encoder: &["libx265", "-x265-params", "keyint=25:min-keyint=25:open-gop=1:bframes=3:log-level=none"],
    sound: None,
};

/// A written segment.
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) fragments: Vec<FragmentInfo>,
    pub(crate) tracks: Tracks,
    pub(crate) start: UtcMillis,
}

/// What an encoder made.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// Access units in decoding order with their times of showing in ticks since the first.
    pub(crate) units: Vec<(i64, Vec<u8>)>,
    pub(crate) sounds: Vec<Bytes>,
    pub(crate) audio: Option<AudioTrack>,
    pub(crate) codec: VideoCodec,
}

/// Runs a program to its end and gives what it printed; fails when it complained.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Encodes four seconds of 316x178 (so that cropping shows) at 25 pictures per second, and takes them apart.
pub(crate) fn encode(recipe: Recipe, directory: &Path) -> Source {
    let path = directory.join("source.mp4");
    let name = path.to_str().unwrap();
    let tone = format!("sine=440:r={}:d=4", recipe.sound.unwrap_or_default());
    let tone = ["-f", "lavfi", "-i", &tone];
    let mut args = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=316x178:r=25:d=4"];
    args.extend(if recipe.sound.is_some() { &tone[..] } else { &[] });
    args.extend(["-pix_fmt", "yuv420p", "-preset", "superfast", "-c:v"]);
    args.extend(recipe.encoder);
    args.extend(["-c:a", "aac", "-threads", "1", name]);
    run("ffmpeg", &args);
    let (form, file) = match recipe.codec {
        VideoCodec::H264 => ("h264", directory.join("stream.h264")),
        VideoCodec::H265 => ("hevc", directory.join("stream.h265")),
    };
    let stream = file.to_str().unwrap();
    run("ffmpeg", &["-v", "error", "-y", "-i", name, "-map", "0:v", "-c", "copy", "-f", form, stream]);
    let sizes = packets(stream, "v", "size");
    let times = packets(name, "v", "pts");
    assert_eq!(sizes.len(), times.len());
    let timescale: i64 = probe(name, "stream=time_base").trim().trim_start_matches("1/").parse().unwrap();
    let bytes = std::fs::read(file).unwrap();
    let mut at = 0;
    let units = sizes.iter().zip(&times).map(|(size, pts)| {
        let unit = bytes[at..at + *size as usize].to_vec();
        at += *size as usize;
        ((pts - times[0]) * 90_000 / timescale, unit)
    });
    let units = units.collect();
    let (sounds, audio) = recipe.sound.map_or((Vec::new(), None), |rate| adts(name, rate, directory));
    Source { path: path.clone(), units, sounds, audio, codec: recipe.codec }
}

fn probe(file: &str, entries: &str) -> String {
    run("ffprobe", &["-v", "error", "-select_streams", "v", "-show_entries", entries, "-of", "csv=p=0", file])
}

/// A number of each packet.
pub(crate) fn packets(file: &str, stream: &str, number: &str) -> Vec<i64> {
    let entries = format!("packet={number}");
    let text =
        run("ffprobe", &["-v", "error", "-select_streams", stream, "-show_entries", &entries, "-of", "csv=p=0", file]);
    text.split_whitespace().map(|line| line.trim_end_matches(',').parse().unwrap()).collect()
}

/// AAC frames without their headers.
fn adts(source: &str, sample_rate: u32, directory: &Path) -> (Vec<Bytes>, Option<AudioTrack>) {
    let file = directory.join("sound.aac");
    run("ffmpeg", &["-v", "error", "-y", "-i", source, "-map", "0:a", "-c", "copy", file.to_str().unwrap()]);
    let bytes = std::fs::read(file).unwrap();
    let (mut frames, mut rest) = (Vec::new(), bytes.as_slice());
    while let [0xff, _, _, b3, b4, b5, ..] = rest {
        let length = usize::from(b3 & 3) << 11 | usize::from(*b4) << 3 | usize::from(b5 >> 5);
        frames.push(Bytes::copy_from_slice(&rest[7..length]));
        rest = &rest[length..];
    }
    // AAC-LC, the rate by its number in the standard's table, one channel.
    let config = Bytes::from_static(if sample_rate == 8_000 { &[0x15, 0x88] } else { &[0x11, 0x88] });
    (frames, Some(AudioTrack { sample_rate, channels: 1, config }))
}

/// Writes segments of at least a second each, with fragments of at most `limit` ticks, as the recorder does.
pub(crate) fn record(source: &Source, limit: u32, directory: &Path) -> Vec<Segment> {
    let mut units = AccessUnits::new(source.codec);
    let mut times: Option<DecodeTimes<Shot>> = None;
    let mut timed = Vec::new();
    for (pts, unit) in &source.units {
        let picture = units.take(unit).unwrap();
        assert!(picture.changed == times.is_none(), "parameters change once, at the beginning");
        let reorder = units.track().unwrap().reorder();
        let wall = UtcMillis::from_millis(super::START + pts / 90);
        let shot = Shot { data: picture.data, key: picture.key, wall };
        times.get_or_insert_with(|| DecodeTimes::new(reorder)).push(*pts, picture.refresh, shot, &mut timed);
    }
    times.unwrap().flush(&mut timed);
    let tracks = Tracks { video: units.track().unwrap().clone(), audio: source.audio.clone() };
    let mut gather = Gather::new(limit, tracks.audio.as_ref().map(|audio| audio.sample_rate));
    let rate = source.audio.as_ref().map_or(1, |audio| u64::from(audio.sample_rate));
    for (at, sound) in source.sounds.iter().enumerate() {
        gather.sound(MediaTime::from_nanos(at as u64 * 1024 * 1_000_000_000 / rate), sound.clone());
    }
    write(timed, gather, &tracks, directory)
}

fn write(timed: Vec<Timed<Shot>>, mut gather: Gather, tracks: &Tracks, directory: &Path) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut file = Vec::new();
    let mut infos = Vec::new();
    let mut start = timed[0].item.wall;
    let add = |fragment: Option<aivms_footage::Fragment>, file: &mut Vec<u8>, infos: &mut Vec<FragmentInfo>| {
        let Some(fragment) = fragment else { return };
        let (number, offset) = (infos.len() as u32 + 1, file.len() as u64);
        infos.push(write_fragment(&fragment, number, offset, file).unwrap());
    };
    let mut close = |file: &mut Vec<u8>, infos: &mut Vec<FragmentInfo>, start| {
        let path = directory.join(format!("segment{}.mp4", segments.len()));
        let fragments = std::mem::take(infos);
        file.extend(write_tail(&FragmentTable { fragments: fragments.clone() }));
        std::fs::write(&path, std::mem::take(file)).unwrap();
        segments.push(Segment { path, fragments, tracks: tracks.clone(), start });
    };
    let front = |start| init_segment(tracks, &SegmentAbout { start, ..super::about() });
    file.extend(front(start));
    for picture in timed {
        if picture.item.key && gather.base().is_some_and(|base| picture.dts - base >= 90_000) {
            add(gather.cut(Some(picture.dts)), &mut file, &mut infos);
            close(&mut file, &mut infos, start);
            start = picture.item.wall;
            file.extend(front(start));
        }
        add(gather.picture(picture), &mut file, &mut infos);
    }
    add(gather.cut(None), &mut file, &mut infos);
    close(&mut file, &mut infos, start);
    segments
}
