//! Encoded pictures and sound to feed a consumer with, without a camera: made once by ffmpeg, repeated for as long as
//! wanted.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use aivms_appliance::pipeline::access_unit::{AccessUnit, AudioFormat, AudioUnit, StreamFormat};
use aivms_contract::time::MediaTime;
use aivms_footage::AccessUnits;
use aivms_footage::track::VideoCodec;
use bytes::Bytes;
use gstreamer as gst;

/// What to encode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) codec: VideoCodec,
    pub(crate) size: (u32, u32),
    /// Pictures from one key picture to the next.
    pub(crate) gop: u32,
    pub(crate) b_pictures: u32,
    pub(crate) pictures: u32,
}

/// Pictures per second of all material.
pub(crate) const FPS: u64 = 25;

/// Small pictures with a key picture each second.
pub(crate) const SMALL: Recipe =
    Recipe { codec: VideoCodec::H264, size: (128, 96), gop: 25, b_pictures: 0, pictures: 50 };

/// Encoded pictures, one loop of them.
pub(crate) struct Material {
    format: Arc<StreamFormat>,
    pictures: Vec<Picture>,
}

struct Picture {
    stream: gst::Buffer,
    /// As it should lie in a file.
    stored: Bytes,
    key: bool,
    /// Place in the order of showing.
    shown: u64,
}

impl Material {
    /// Encodes in `dir`.
    pub(crate) fn new(dir: &Path, recipe: Recipe) -> Self {
        gst::init().unwrap();
        let (name, params) = match recipe.codec {
            VideoCodec::H264 => ("h264", "libx264"),
            VideoCodec::H265 => ("hevc", "libx265"),
        };
        let mp4 =
            dir.join(format!("{name}-{}-{}-{}-{}.mp4", recipe.size.0, recipe.gop, recipe.b_pictures, recipe.pictures));
        let stream = mp4.with_extension(name);
        if !stream.exists() {
            encode(recipe, (name, params), &mp4, &stream);
        }
        let bytes = std::fs::read(stream).unwrap();
        let order = showing_order(&mp4);
        let mut units = AccessUnits::new(recipe.codec);
        let pictures: Vec<_> = split(&bytes, recipe.codec)
            .into_iter()
            .zip(order)
            .map(|(unit, shown)| {
                let picture = units.take(unit).unwrap();
                let stream = gst::Buffer::from_slice(unit.to_vec());
                Picture { stream, stored: picture.data, key: picture.key, shown }
            })
            .collect();
        assert_eq!(pictures.len(), recipe.pictures as usize);
        let caps = match recipe.codec {
            VideoCodec::H264 => "video/x-h264, stream-format=byte-stream, alignment=au",
            VideoCodec::H265 => "video/x-h265, stream-format=byte-stream, alignment=au",
        };
        Self { format: Arc::new(StreamFormat::new(caps.parse().unwrap())), pictures }
    }

    /// The picture of this number in decoding order, of an endless repetition.
    pub(crate) fn unit(&self, number: u64) -> AccessUnit {
        let picture = self.picture(number);
        let count = self.pictures.len() as u64;
        let place = number / count * count + picture.shown;
        let at = MediaTime::from_millis(place * 1000 / FPS);
        AccessUnit { format: Arc::clone(&self.format), at, key: picture.key, buffer: picture.stream.clone() }
    }

    /// What a file should hold of the picture of this number.
    pub(crate) fn stored(&self, number: u64) -> &Bytes {
        &self.picture(number).stored
    }

    fn picture(&self, number: u64) -> &Picture {
        &self.pictures[usize::try_from(number % self.pictures.len() as u64).unwrap()]
    }
}

/// Encodes once; programs that a test starts find what the test has made.
fn encode(recipe: Recipe, (name, encoder): (&str, &str), mp4: &Path, stream: &Path) {
    let source = format!("testsrc2=size={}x{}:rate={FPS}", recipe.size.0, recipe.size.1);
    let (gop, count, b) = (recipe.gop.to_string(), recipe.pictures.to_string(), recipe.b_pictures.to_string());
    let x265 = format!("keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b}:open-gop=0:log-level=error:pools=1");
    let mut encode = Command::new("ffmpeg");
    encode.args(["-v", "error", "-y", "-f", "lavfi", "-i", &source, "-frames:v", &count, "-c:v", encoder]);
    encode.args(["-preset", "ultrafast", "-crf", "40", "-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0"]);
    encode.args(["-bf", &b, "-threads", "1", "-pix_fmt", "yuv420p"]);
    if recipe.codec == VideoCodec::H265 {
        encode.args(["-x265-params", &x265]);
    }
    run(encode.arg(mp4));
    let filter = format!("{name}_mp4toannexb,{name}_metadata=aud=insert");
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(mp4)
        .args(["-c", "copy", "-bsf:v", &filter])
        .arg(stream));
}

/// A frame of AAC of this number.
pub(crate) fn sound(number: u64) -> AudioUnit {
    const RATE: u32 = 16_000;
    let format = AudioFormat { sample_rate: RATE, channels: 1, config: vec![0x14, 0x08] };
    let at = MediaTime::from_nanos(number * 1024 * 1_000_000_000 / u64::from(RATE));
    // A silent frame: one channel element without any band, and the end.
    AudioUnit { format: Arc::new(format), at, buffer: gst::Buffer::from_slice([0, 0, 0, 7]) }
}

/// Places of the pictures in the order of showing, in decoding order; found out once, so that a machine without
/// ffprobe can feed what another one has made.
fn showing_order(mp4: &Path) -> Vec<u64> {
    let kept = mp4.with_extension("order");
    if let Ok(text) = std::fs::read_to_string(&kept) {
        return text.lines().map(|line| line.parse().unwrap()).collect();
    }
    let order = probed_order(mp4);
    let lines: Vec<String> = order.iter().map(u64::to_string).collect();
    std::fs::write(kept, lines.join("\n")).unwrap();
    order
}

fn probed_order(mp4: &Path) -> Vec<u64> {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0"])
        .arg(mp4)
        .output()
        .unwrap();
    let text = String::from_utf8(probe.stdout).unwrap();
    let times: Vec<i64> = text.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
    times.iter().map(|time| times.iter().filter(|other| *other < time).count() as u64).collect()
}

/// The access units of a byte stream with a delimiter in front of each.
fn split(stream: &[u8], codec: VideoCodec) -> Vec<&[u8]> {
    let is_delimiter = |nal: u8| match codec {
        VideoCodec::H264 => nal & 0x1f == 9,
        VideoCodec::H265 => nal >> 1 & 0x3f == 35,
    };
    let starts: Vec<usize> = (0..stream.len().saturating_sub(4))
        .filter(|at| stream[*at..].starts_with(&[0, 0, 0, 1]) && is_delimiter(stream[at + 4]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts.iter().zip(ends).map(|(start, end)| &stream[*start..end]).collect()
}

fn run(command: &mut Command) {
    let output = command.output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
