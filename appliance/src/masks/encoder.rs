//! The H.264 encoder: whichever works on this machine, the one that costs least first.

use std::sync::Arc;

use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::MaskError;
use super::picture::Picture;
use super::stage::{Stage, make};
use crate::pipeline::access_unit::{AccessUnit, StreamFormat};

/// The encoders known, hardware first; each with what stands before it.
const ENCODERS: [(&str, Option<&str>); 4] = [
    ("nvv4l2h264enc", Some("nvvidconv")),
    ("vah264enc", Some("videoconvert")),
    ("openh264enc", None),
    ("x264enc", None),
];
/// Least bits per second: below it small pictures fall apart.
const LEAST_BITRATE: u32 = 300_000;

/// How the masked video is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Bits per second: near those of the source.
    pub bitrate: u32,
    /// Pictures from one key picture to the next.
    pub key_every: u32,
}

impl Encoding {
    /// For video of `bytes` in `millis` of a camera, with a key picture every `key_every` pictures. What was H.265 needs
    /// more as H.264.
    #[must_use]
    pub fn like(bytes: u64, millis: u64, is_h265: bool, key_every: u32) -> Self {
        let bits = bytes.saturating_mul(8).saturating_mul(1000) / millis.max(1);
        let bits = if is_h265 { bits.saturating_mul(3) / 2 } else { bits };
        Self { bitrate: u32::try_from(bits).unwrap_or(u32::MAX).max(LEAST_BITRATE), key_every }
    }
}

/// The name of the encoder that would be used.
///
/// # Errors
/// None works here.
pub fn find_encoder() -> Result<&'static str, MaskError> {
    let (encoder, name, _) = open_encoder()?;
    // Whatever it says to that, it is not used.
    let _ = encoder.set_state(gst::State::Null);
    Ok(name)
}

fn open_encoder() -> Result<(gst::Element, &'static str, Option<&'static str>), MaskError> {
    let open = |(name, before): (&'static str, Option<&'static str>)| {
        let encoder = gst::ElementFactory::make(name).build().ok()?;
        // A hardware encoder is registered also where its device is missing or busy.
        encoder.set_state(gst::State::Ready).ok()?;
        Some((encoder, name, before))
    };
    ENCODERS.into_iter().find_map(open).ok_or(MaskError::NoEncoder)
}

/// Encodes pictures of one size as byte-stream H.264 with the parameter sets in front of every key picture.
pub(super) struct Encoder {
    stage: Stage,
    format: Option<Arc<StreamFormat>>,
}

impl Encoder {
    pub(super) fn start(picture: &Picture, encoding: Encoding) -> Result<Self, MaskError> {
        let (encoder, name, before) = open_encoder()?;
        set_up(&encoder, name, encoding);
        let parser = make("h264parse")?;
        parser.set_property("config-interval", -1i32);
        let mut between = before.map(make).transpose()?.into_iter().collect::<Vec<_>>();
        between.extend([encoder, parser]);
        let gives = gst::Caps::builder("video/x-h264").field("stream-format", "byte-stream").field("alignment", "au");
        Ok(Self { stage: Stage::start("encoding", &picture.caps()?, between, Some(&gives.build()))?, format: None })
    }

    pub(super) fn push(&mut self, picture: Picture) -> Result<Vec<AccessUnit>, MaskError> {
        let samples = self.stage.push(picture.into_buffer())?;
        Ok(samples.iter().filter_map(|sample| self.unit(sample)).collect())
    }

    pub(super) fn finish(mut self) -> Result<Vec<AccessUnit>, MaskError> {
        let samples = self.stage.finish()?;
        Ok(samples.iter().filter_map(|sample| self.unit(sample)).collect())
    }

    fn unit(&mut self, sample: &gst::Sample) -> Option<AccessUnit> {
        let (buffer, caps) = (sample.buffer_owned()?, sample.caps_owned()?);
        let format = match &self.format {
            Some(format) if format.caps == caps => Arc::clone(format),
            _ => Arc::clone(self.format.insert(Arc::new(StreamFormat::new(caps)))),
        };
        let at = MediaTime::from_nanos(buffer.pts()?.nseconds());
        Some(AccessUnit { format, at, key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT), buffer })
    }
}

/// Sets what the encoder has: names and units differ, and versions lack some.
fn set_up(encoder: &gst::Element, name: &str, Encoding { bitrate, key_every }: Encoding) {
    let set = |property: &str, value: &str| {
        if encoder.find_property(property).is_some() {
            encoder.set_property_from_str(property, value);
        }
    };
    let in_kilobits = matches!(name, "x264enc" | "vah264enc");
    set("bitrate", &(if in_kilobits { bitrate / 1000 } else { bitrate }).to_string());
    for period in ["gop-size", "key-int-max", "iframeinterval", "idrinterval"] {
        set(period, &key_every.to_string());
    }
    match name {
        "openh264enc" => {
            set("rate-control", "bitrate");
            set("enable-frame-skip", "false");
            set("multi-thread", "1");
        }
        "x264enc" => {
            set("tune", "zerolatency");
            set("speed-preset", "veryfast");
            set("bframes", "0");
            set("threads", "1");
        }
        "vah264enc" => set("b-frames", "0"),
        "nvv4l2h264enc" => set("insert-sps-pps", "true"),
        _ => {}
    }
}
