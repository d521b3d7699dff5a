//! Short videos, encoded once by ffmpeg and held in memory picture by picture.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

/// Longest wait for the pictures of a file that has just been written.
const READ_WITHIN: gst::ClockTime = gst::ClockTime::from_seconds(30);
/// Rate of AAC in samples per second.
const AAC_RATE: u32 = 16_000;
/// The same for G.711, which has no other.
const G711_RATE: u32 = 8_000;

/// How pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// H.264.
    H264,
    /// H.265.
    H265,
}

/// How sound is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audio {
    /// AAC-LC, one channel.
    Aac,
    /// G.711, A-law.
    Pcma,
    /// G.711, µ-law.
    Pcmu,
}

/// What a clip is to be like.
#[derive(Debug, Clone, Copy)]
pub struct ClipSpec {
    /// How its pictures are encoded.
    pub codec: Codec,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Pictures per second.
    pub fps: u32,
    /// Length in whole seconds; each second begins with a key picture.
    pub seconds: u32,
    /// B-frames between two others.
    pub b_frames: u32,
    /// Noise in the picture, 0 to 100: the more, the more bits.
    pub noise: u32,
    /// Bits per second in thousands, whatever the picture needs; as many as it needs where none are given.
    pub kilobits: Option<u32>,
    /// How its sound is encoded, if it has any.
    pub audio: Option<Audio>,
}

impl Default for ClipSpec {
    fn default() -> Self {
        let (codec, size, fps, seconds) = (Codec::H264, (320, 240), 15, 4);
        Self { codec, size, fps, seconds, b_frames: 0, noise: 0, kilobits: None, audio: None }
    }
}

/// One encoded picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Byte-stream with parameter sets in front of a key picture.
    pub data: gst::Buffer,
    /// Time in the clip at which it is shown.
    pub pts: Duration,
    /// Time in the clip at which it is sent.
    pub due: Duration,
    /// Whether decoding can start here.
    pub key: bool,
}

/// A clip in memory.
#[derive(Debug)]
pub struct Clip {
    /// What it is like.
    pub spec: ClipSpec,
    /// Its pictures in decoding order.
    pub pictures: Vec<Picture>,
    pub(crate) caps: gst::Caps,
    /// Packets of sound of equal length.
    pub(crate) sound: Vec<gst::Buffer>,
    pub(crate) sound_caps: Option<gst::Caps>,
    pub(crate) packet: Duration,
}

impl Clip {
    /// Encodes a moving picture, and a tone where sound is wanted.
    ///
    /// # Errors
    /// ffmpeg, or a part of GStreamer, is missing or fails.
    pub fn encode(spec: ClipSpec) -> Result<Self> {
        gst::init()?;
        let folder = tempfile::tempdir()?;
        let video = folder.path().join("clip.mp4");
        encode_video(&spec, &video)?;
        let (caps, pictures) = read_video(&spec, &video)?;
        let wanted = usize::try_from(spec.fps * spec.seconds)?;
        ensure!(pictures.len() == wanted, "{} pictures of {wanted}", pictures.len());
        let (sound, sound_caps, packet) = match spec.audio {
            None => (Vec::new(), None, Duration::ZERO),
            Some(audio) => encode_sound(audio, spec.seconds, folder.path())?,
        };
        Ok(Self { spec, pictures, caps, sound, sound_caps, packet })
    }

    /// Its length.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_secs(self.spec.seconds.into())
    }

    /// The slices of each picture: what a client gets whatever it does with parameter sets.
    #[must_use]
    pub fn slices(&self) -> Vec<Vec<u8>> {
        let data = |picture: &Picture| picture.data.map_readable().map(|map| map.as_slice().to_vec());
        self.pictures
            .iter()
            .map(|one| data(one).map(|data| slices(&data, self.spec.codec)).unwrap_or_default())
            .collect()
    }
}

/// The slices of a picture in byte-stream form, without its parameter sets and other units, one after the other.
#[must_use]
pub fn slices(data: &[u8], codec: Codec) -> Vec<u8> {
    let is_slice = |unit: &[u8]| match (codec, unit.first()) {
        (_, None) => false,
        (Codec::H264, Some(head)) => matches!(head & 0x1f, 1..=5),
        (Codec::H265, Some(head)) => head >> 1 & 0x3f < 32,
    };
    let mut found = Vec::new();
    for unit in units(data).filter(|unit| is_slice(unit)) {
        found.extend_from_slice(unit);
    }
    found
}

/// The units between start codes.
fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts: Vec<usize> =
        data.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at + 3).collect();
    starts.push(data.len() + 3);
    let ends: Vec<_> = starts.iter().skip(1).map(|start| start - 3).collect();
    starts.into_iter().zip(ends).map(|(start, end)| {
        let unit = data.get(start..end).unwrap_or_default();
        // Zeros at the end belong to the next start code; a unit never ends with one.
        let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &unit[..length]
    })
}

fn encode_video(spec: &ClipSpec, to: &Path) -> Result<()> {
    let ClipSpec { size: (width, height), fps, seconds, b_frames, noise, .. } = spec;
    let source = format!("testsrc2=size={width}x{height}:rate={fps},noise=alls={noise}:allf=t,format=yuv420p");
    let gop = format!("keyint={fps}:min-keyint={fps}:scenecut=0:bframes={b_frames}:b-adapt=0");
    let encoder = match spec.codec {
        Codec::H264 => ["-c:v", "libx264", "-x264-params"],
        Codec::H265 => ["-c:v", "libx265", "-x265-params"],
    };
    let gop = if spec.codec == Codec::H265 { format!("{gop}:open-gop=0:log-level=error") } else { gop };
    let seconds = seconds.to_string();
    let rate = spec.kilobits.map(|kilobits| format!("{kilobits}k"));
    let rate = rate.as_deref().map_or_else(Vec::new, |rate| vec!["-b:v", rate, "-maxrate", rate, "-bufsize", rate]);
    ffmpeg(
        &["-f", "lavfi", "-i", &source, "-t", &seconds, "-preset", "ultrafast"],
        &encoder,
        &[&[gop.as_str(), "-bf", &b_frames.to_string()], &rate[..]].concat(),
        to,
    )
}

fn ffmpeg(input: &[&str], encoder: &[&str], options: &[&str], to: &Path) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y", "-threads", "1"]).args(input).args(encoder).args(options);
    let done = command.arg(to).output().context("ffmpeg can't be started: install it")?;
    ensure!(done.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn read_video(spec: &ClipSpec, from: &Path) -> Result<(gst::Caps, Vec<Picture>)> {
    let (parser, media) = match spec.codec {
        Codec::H264 => ("h264parse", "video/x-h264"),
        Codec::H265 => ("h265parse", "video/x-h265"),
    };
    let launch = format!(
        "filesrc location={} ! qtdemux ! {parser} config-interval=-1 ! {media},stream-format=byte-stream,alignment=au ! \
         appsink name=sink sync=false",
        from.display()
    );
    let pipeline = gst::parse::launch(&launch)?.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    let sink = pipeline.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()).context("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let (mut pictures, mut caps, mut first) = (Vec::new(), None, None);
    while let Some(sample) = sink.try_pull_sample(READ_WITHIN) {
        caps = caps.or_else(|| sample.caps_owned());
        let Some(data) = sample.buffer_owned() else { continue };
        let (Some(pts), Some(dts)) = (data.pts(), data.dts()) else { bail!("a picture without times") };
        let begin = *first.get_or_insert(dts);
        let (pts, due) = (pts.saturating_sub(begin).into(), dts.saturating_sub(begin).into());
        let key = !data.flags().contains(gst::BufferFlags::DELTA_UNIT);
        pictures.push(Picture { data, pts, due, key });
    }
    pipeline.set_state(gst::State::Null)?;
    Ok((caps.context("no pictures")?, pictures))
}

type Sound = (Vec<gst::Buffer>, Option<gst::Caps>, Duration);

fn encode_sound(audio: Audio, seconds: u32, folder: &Path) -> Result<Sound> {
    let (to, rate) = (folder.join("sound"), if audio == Audio::Aac { AAC_RATE } else { G711_RATE });
    let source = format!("sine=frequency=440:sample_rate={rate}:duration={seconds}");
    let form = match audio {
        Audio::Aac => ["-c:a", "aac", "-f", "adts"],
        Audio::Pcma => ["-c:a", "pcm_alaw", "-f", "alaw"],
        Audio::Pcmu => ["-c:a", "pcm_mulaw", "-f", "mulaw"],
    };
    ffmpeg(&["-f", "lavfi", "-i", &source], &form, &["-ac", "1"], &to)?;
    let bytes = std::fs::read(&to)?;
    if audio == Audio::Aac {
        return read_adts(&bytes);
    }
    // What cameras send: 20 ms a packet.
    let packets = bytes.chunks_exact(160).map(|packet| gst::Buffer::from_slice(packet.to_vec())).collect();
    let media = if audio == Audio::Pcma { "audio/x-alaw" } else { "audio/x-mulaw" };
    let caps = gst::Caps::builder(media).field("rate", i32::try_from(rate)?).field("channels", 1).build();
    Ok((packets, Some(caps), Duration::from_millis(20)))
}

/// The frames of an ADTS file without their headers.
fn read_adts(mut bytes: &[u8]) -> Result<Sound> {
    let mut frames = Vec::new();
    while let [_, _, _, high, middle, low, _, ..] = *bytes {
        let length = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
        let (frame, rest) = bytes.split_at_checked(length).context("a cut frame")?;
        frames.push(gst::Buffer::from_slice(frame[7..].to_vec()));
        bytes = rest;
    }
    // AAC-LC, 16 kHz, one channel.
    let config = gst::Buffer::from_slice([0x14_u8, 0x08]);
    let caps = gst::Caps::builder("audio/mpeg")
        .field("mpegversion", 4)
        .field("stream-format", "raw")
        .field("rate", i32::try_from(AAC_RATE)?)
        .field("channels", 1)
        .field("codec_data", config)
        .build();
    Ok((frames, Some(caps), Duration::from_secs(1) * 1024 / AAC_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_has_every_picture_with_its_times_and_key_pictures_each_second() {
        for (codec, b_frames) in [(Codec::H264, 0), (Codec::H264, 2), (Codec::H265, 0)] {
            let clip = Clip::encode(ClipSpec { codec, b_frames, seconds: 2, ..ClipSpec::default() }).expect("a clip");
            let keys: Vec<_> = clip.pictures.iter().enumerate().filter(|(_, one)| one.key).map(|(at, _)| at).collect();
            assert_eq!(keys, [0, 15]);
            let order: Vec<_> = clip.pictures.windows(2).map(|two| two[0].pts < two[1].pts).collect();
            assert_eq!(order.contains(&false), b_frames > 0);
            let slices = clip.slices();
            assert!(slices.iter().all(|slice| slice.len() > 20));
            assert!((1..slices.len()).all(|at| !slices[..at].contains(&slices[at])), "each picture is another one");
        }
    }
}
