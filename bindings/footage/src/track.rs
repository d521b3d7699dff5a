//! What a file holds: one track of video and at most one of sound, with what a decoder must know before the first picture.

use std::fmt::Write as _;

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use bytes::Bytes;

/// Ticks of video per second.
pub const VIDEO_TIMESCALE: u32 = 90_000;
/// Number of the video's track in every file.
pub(crate) const VIDEO_TRACK: u32 = 1;
/// Number of the sound's track in every file.
pub(crate) const AUDIO_TRACK: u32 = 2;
/// Samples in an AAC frame, which is one sample of the file.
pub const AAC_FRAME: u32 = 1024;

/// How pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// H.264, AVC.
    H264,
    /// H.265, HEVC.
    H265,
}

impl VideoCodec {
    /// The codec of GStreamer's media type; `None` for one that cannot be recorded.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "video/x-h264" => Some(Self::H264),
            "video/x-h265" => Some(Self::H265),
            _ => None,
        }
    }
}

/// A track of video. Two are equal when a decoder needs nothing new to go from one to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTrack {
    /// How pictures are encoded.
    pub codec: VideoCodec,
    /// Size of the pictures as shown, cropping done.
    pub frame: FrameSize,
    /// The AVCDecoderConfigurationRecord or HEVCDecoderConfigurationRecord of ISO/IEC 14496-15, which holds the
    /// parameter sets.
    pub config: Bytes,
}

impl VideoTrack {
    /// The codec in the form of RFC 6381, such as `avc1.64001f` or `hvc1.1.6.L93.B0`.
    #[must_use]
    pub fn codecs(&self) -> String {
        match self.codec {
            VideoCodec::H264 => self.config.get(1..4).map_or("avc1".into(), |id| format!("avc1.{}", hex::encode(id))),
            VideoCodec::H265 => crate::hevc::codecs(&self.config),
        }
    }

    /// How many pictures may come before one that is shown earlier, as far as the parameter sets say it.
    #[must_use]
    pub fn reorder(&self) -> Option<usize> {
        crate::parameters::reorder(self)
    }
}

/// A track of AAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// Samples per second and channel; also the track's ticks per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// The AudioSpecificConfig of ISO/IEC 14496-3.
    pub config: Bytes,
}

impl AudioTrack {
    /// The codec in the form of RFC 6381, such as `mp4a.40.2`.
    #[must_use]
    pub fn codecs(&self) -> String {
        let kind = self.config.first().map_or(2, |byte| byte >> 3);
        // 31 says that the kind follows in the next six bits.
        let extended = self.config.get(1).map_or(0, |next| (self.config[0] & 7) << 3 | next >> 5);
        format!("mp4a.40.{}", if kind == 31 { 32 + extended } else { kind })
    }
}

/// The tracks of a file. Two files whose tracks are equal can be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracks {
    /// The pictures.
    pub video: VideoTrack,
    /// The sound.
    pub audio: Option<AudioTrack>,
}

impl Tracks {
    /// The codecs in the form of RFC 6381, such as `avc1.64001f,mp4a.40.2`.
    #[must_use]
    pub fn codecs(&self) -> String {
        let mut codecs = self.video.codecs();
        if let Some(audio) = &self.audio {
            let _ = write!(codecs, ",{}", audio.codecs());
        }
        codecs
    }

    /// What a browser's `MediaSource.addSourceBuffer` wants to be told of segments with these tracks.
    #[must_use]
    pub fn mime(&self) -> String {
        format!("video/mp4; codecs=\"{}\"", self.codecs())
    }
}

/// `at` in ticks of `timescale` per second, to the nearest.
#[must_use]
pub fn ticks(at: MediaTime, timescale: u32) -> i64 {
    let ticks = (u128::from(at.as_nanos()) * u128::from(timescale) + 500_000_000) / 1_000_000_000;
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

/// Ticks of `timescale` per second in whole milliseconds, to the nearest.
#[must_use]
pub fn ticks_to_millis(ticks: u64, timescale: u32) -> u64 {
    let scale = u128::from(timescale.max(1));
    u64::try_from((u128::from(ticks) * 1000 + scale / 2) / scale).unwrap_or(u64::MAX)
}
