//! What every source yields and every consumer of a camera takes: one encoded picture with its media time.

use std::sync::Arc;

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use tokio::sync::broadcast;

/// Access units kept for the slowest consumer of a camera: ten seconds at 25 pictures per second.
///
/// A consumer further behind loses the oldest ones and learns how many (`RecvError::Lagged`); it must then wait for
/// the next key picture. Units that every consumer has taken are freed at once.
const FAN_OUT_UNITS: usize = 256;

/// Frames of sound kept for the slowest consumer of a camera: ten seconds of AAC at 48 kHz. A consumer further behind
/// loses the oldest ones and learns how many.
const FAN_OUT_AUDIO: usize = 512;

/// Makes the bounded fan-out of one camera connection: sending never waits, each consumer reads at its own pace.
#[must_use]
pub fn fan_out() -> (broadcast::Sender<AccessUnit>, broadcast::Receiver<AccessUnit>) {
    broadcast::channel(FAN_OUT_UNITS)
}

/// Makes the bounded fan-out of one camera connection's sound.
#[must_use]
pub fn audio_fan_out() -> (broadcast::Sender<AudioUnit>, broadcast::Receiver<AudioUnit>) {
    broadcast::channel(FAN_OUT_AUDIO)
}

/// One picture as the camera encoded it, or one raw picture of a source that does not encode.
///
/// H.264 and H.265 come as byte-stream with the parameter sets in front of every key picture, so that a consumer can
/// start at any of them.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// How to read `buffer`; the same `Arc` until the format changes.
    pub format: Arc<StreamFormat>,
    /// Presentation time; decoding time where the container gives no other.
    pub at: MediaTime,
    /// Whether decoding can start here.
    pub key: bool,
    /// The bytes, shared and not copied; its timestamps are on the same timeline as `at`.
    pub buffer: gst::Buffer,
}

/// Sound of one AAC frame, on the timeline of the pictures of its connection.
#[derive(Debug, Clone)]
pub struct AudioUnit {
    /// How to read `buffer`; the same `Arc` until the format changes.
    pub format: Arc<AudioFormat>,
    /// Time of its first sample.
    pub at: MediaTime,
    /// One raw AAC frame, without ADTS.
    pub buffer: gst::Buffer,
}

/// How sound is to be read: AAC, as the camera sent it or transcoded from what browsers do not play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFormat {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// The AudioSpecificConfig of ISO/IEC 14496-3.
    pub config: Vec<u8>,
}

impl AudioFormat {
    /// Reads an AudioSpecificConfig; `None` when it is none.
    #[must_use]
    pub fn of_config(config: &[u8]) -> Option<Self> {
        const RATES: [u32; 13] =
            [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
        let bits = |from: usize, count: usize| {
            let bit = |at: usize| Some(u32::from(config.get(at / 8)? >> (7 - at % 8) & 1));
            (from..from + count).try_fold(0, |value, at| Some(value << 1 | bit(at)?))
        };
        // Types above 30 and rates without a number are escapes that cameras do not use, but files may.
        let start = if bits(0, 5)? == 31 { 11 } else { 5 };
        let index = bits(start, 4)?;
        let (sample_rate, after) = if index == 15 {
            (bits(start + 4, 24)?, start + 28)
        } else {
            (*RATES.get(usize::try_from(index).ok()?)?, start + 4)
        };
        let channels = match bits(after, 4)? {
            count @ 1..=6 => u8::try_from(count).ok()?,
            7 => 8,
            _ => return None,
        };
        (sample_rate > 0).then(|| Self { sample_rate, channels, config: config.to_vec() })
    }
}

/// How the bytes of a stream are to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamFormat {
    /// The format in GStreamer's terms.
    pub caps: gst::Caps,
    /// Size of the pictures, when the caps say it.
    pub frame: Option<FrameSize>,
    /// Nominal pictures per second, when the caps say it.
    pub fps: Option<f64>,
}

impl StreamFormat {
    /// Reads what `caps` say.
    #[must_use]
    pub fn new(caps: gst::Caps) -> Self {
        let structure = caps.structure(0);
        let number = |name| structure.and_then(|s| u32::try_from(s.get::<i32>(name).ok()?).ok());
        let frame = number("width").zip(number("height")).map(|(width, height)| FrameSize { width, height });
        let rate = structure.and_then(|s| s.get::<gst::Fraction>("framerate").ok()).filter(|rate| rate.numer() > 0);
        let fps = rate.map(|rate| f64::from(rate.numer()) / f64::from(rate.denom().max(1)));
        Self { frame, fps, caps }
    }

    /// GStreamer's name of the format, such as `video/x-h264`.
    #[must_use]
    pub fn media_type(&self) -> &str {
        self.caps.structure(0).map_or("unknown", |structure| structure.name().as_str())
    }

    /// What people call the format, such as `H.264`.
    #[must_use]
    pub fn codec(&self) -> &str {
        match self.media_type() {
            "video/x-h264" => "H.264",
            "video/x-h265" => "H.265",
            "video/x-raw" => "raw video",
            "image/jpeg" => "Motion JPEG",
            "video/mpeg" => "MPEG",
            "video/x-divx" | "video/x-msmpeg" => "MPEG-4 (Microsoft)",
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_tells_size_rate_and_codec_of_its_caps() {
        gst::init().unwrap();
        let caps: gst::Caps = "video/x-h264, width=1920, height=1080, framerate=25/2".parse().unwrap();
        let format = StreamFormat::new(caps);
        assert_eq!(format.frame, Some(FrameSize { width: 1920, height: 1080 }));
        assert_eq!((format.fps, format.codec()), (Some(12.5), "H.264"));
    }

    #[test]
    fn a_configuration_of_aac_tells_rate_and_channels_and_a_cut_one_nothing() {
        let of = |config: &[u8]| AudioFormat::of_config(config).map(|format| (format.sample_rate, format.channels));
        assert_eq!(of(&[0x11, 0x88]), Some((48_000, 1)));
        assert_eq!(of(&[0x12, 0x10]), Some((44_100, 2)));
        assert_eq!(of(&[0x15, 0x88]), Some((8_000, 1)));
        assert_eq!(of(&[0x17, 0x80, 0x0f, 0xa0, 0x08]), Some((8_000, 1)), "a rate in full");
        assert_eq!((of(&[0x11]), of(&[]), of(&[0x16, 0xf8])), (None, None, None));
    }

    #[test]
    fn a_variable_frame_rate_counts_as_unknown() {
        gst::init().unwrap();
        assert_eq!(StreamFormat::new("image/jpeg, framerate=0/1".parse().unwrap()).fps, None);
    }
}
