//! Sound of a connection as AAC: passed through where the camera sends that, transcoded where it sends G.711.
//!
//! It goes its own way from the camera on. Whatever happens to it ends sound, never the pictures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aivms_contract::id::CameraId;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::broadcast;

use super::make;
use crate::pipeline::access_unit::{AudioFormat, AudioUnit};

/// Packets of G.711 that wait for the encoder: about ten seconds. Further ones are dropped.
const WAITING_PACKETS: u64 = 512;
/// Bits per second of AAC that is made of telephone sound.
const BITRATE: i32 = 32_000;

/// Where the sound of one connection goes, and whose it is.
#[derive(Clone)]
pub struct SoundOutput {
    sender: broadcast::Sender<AudioUnit>,
    notice: SoundNotice,
}

/// Tells why a camera's sound can't be taken: once for as long as the camera runs, over all its connections.
#[derive(Debug, Clone)]
pub struct SoundNotice {
    camera: CameraId,
    told: Arc<AtomicBool>,
}

impl SoundNotice {
    /// Nothing has been told of `camera` yet.
    #[must_use]
    pub fn of(camera: CameraId) -> Self {
        Self { camera, told: Arc::default() }
    }

    fn tell(&self, why: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(camera.id = %self.camera, "its sound is not recorded, its video is: {why}");
        }
    }
}

impl SoundOutput {
    /// Sound goes to `sender`; `notice` tells why it does not.
    #[must_use]
    pub fn new(sender: broadcast::Sender<AudioUnit>, notice: SoundNotice) -> Self {
        Self { sender, notice }
    }
}

/// How a camera encodes its sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// AAC, with its configuration.
    Aac,
    /// G.711, A-law.
    Pcma,
    /// G.711, µ-law.
    Pcmu,
}

impl Encoding {
    /// Understands the name of an RTP payload; tells when it is another one.
    pub(super) fn of_rtp(name: &str, output: &SoundOutput) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "mpeg4-generic" | "mp4a-latm" => Some(Self::Aac),
            "pcma" => Some(Self::Pcma),
            "pcmu" => Some(Self::Pcmu),
            other => {
                output.notice.tell(&format!("it is {other}; set the camera to AAC or G.711"));
                None
            }
        }
    }
}

/// Where one connection's sound goes.
pub(super) struct Sound {
    out: Published,
    transcoder: Option<Transcoder>,
}

impl Sound {
    /// Publishes to `output`. `None`, with a word in the log, when nothing here can transcode it.
    pub(super) fn new(encoding: Encoding, rate: u32, output: &SoundOutput) -> Option<Self> {
        let out = Published { sender: output.sender.clone(), format: None };
        let decoder = match encoding {
            Encoding::Aac => return Some(Self { out, transcoder: None }),
            Encoding::Pcma => ("alawdec", "audio/x-alaw"),
            Encoding::Pcmu => ("mulawdec", "audio/x-mulaw"),
        };
        let again = Published { sender: out.sender.clone(), format: None };
        match Transcoder::start(decoder, rate, again, output.notice.clone()) {
            Ok(transcoder) => Some(Self { out, transcoder: Some(transcoder) }),
            Err(reason) => {
                output.notice.tell(&reason);
                None
            }
        }
    }

    /// Takes one frame or packet; `config` is AAC's configuration.
    pub(super) fn take(&mut self, config: &[u8], at: MediaTime, data: &[u8]) {
        let mut buffer = gst::Buffer::from_slice(data.to_vec());
        if let Some(writable) = buffer.get_mut() {
            writable.set_pts(gst::ClockTime::from_nseconds(at.as_nanos()));
        }
        self.take_buffer(config, buffer);
    }

    /// Takes one frame or packet whose time is on the media timeline already.
    pub(super) fn take_buffer(&mut self, config: &[u8], buffer: gst::Buffer) {
        match &self.transcoder {
            None => self.out.publish(config, buffer),
            Some(transcoder) => transcoder.push(buffer),
        }
    }
}

/// The fan-out of sound, with the format last seen.
struct Published {
    sender: broadcast::Sender<AudioUnit>,
    format: Option<Arc<AudioFormat>>,
}

impl Published {
    fn publish(&mut self, config: &[u8], buffer: gst::Buffer) {
        let Some(at) = buffer.pts().or(buffer.dts()) else { return };
        let Some(format) = self.format_of(config) else { return };
        let unit = AudioUnit { format, at: MediaTime::from_nanos(at.nseconds()), buffer };
        // No receiver means that nobody records this camera at the moment.
        let _ = self.sender.send(unit);
    }

    fn format_of(&mut self, config: &[u8]) -> Option<Arc<AudioFormat>> {
        if let Some(format) = self.format.as_ref().filter(|format| format.config == config) {
            return Some(Arc::clone(format));
        }
        let format = Arc::new(AudioFormat::of_config(config)?);
        Some(Arc::clone(self.format.insert(format)))
    }
}

/// A pipeline that makes AAC of G.711.
struct Transcoder {
    source: gst_app::AppSrc,
    pipeline: gst::Pipeline,
}

impl Transcoder {
    fn start(
        (decoder, media_type): (&str, &str),
        rate: u32,
        out: Published,
        notice: SoundNotice,
    ) -> Result<Self, String> {
        let caps = gst::Caps::builder(media_type)
            .field("rate", i32::try_from(rate).unwrap_or(8000))
            .field("channels", 1)
            .build();
        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .stream_type(gst_app::AppStreamType::Stream)
            .max_buffers(WAITING_PACKETS)
            .max_bytes(0)
            .build();
        let make = |factory: &str| make(factory).map_err(|failure| failure.explain(&"sound"));
        let encoder = make("avenc_aac").map_err(|_| {
            "GStreamer's element avenc_aac, which makes AAC of it, is missing: install gstreamer1.0-libav".to_owned()
        })?;
        if encoder.find_property("bitrate").is_some_and(|property| property.value_type() == i32::static_type()) {
            encoder.set_property("bitrate", BITRATE);
        }
        let sink = aac_sink(out);
        let elements = [source.clone().upcast(), make(decoder)?, make("audioconvert")?, encoder, sink];
        let pipeline = gst::Pipeline::new();
        let built = pipeline.add_many(&elements).and_then(|()| gst::Element::link_many(&elements));
        built.map_err(|_| "its pipeline can't be built".to_owned())?;
        // What goes wrong there ends sound; nobody waits for its messages.
        if let Some(bus) = pipeline.bus() {
            bus.set_sync_handler(move |_, message| {
                if let gst::MessageView::Error(error) = message.view() {
                    notice.tell(&format!("it can't be transcoded: {}", error.error().message()));
                }
                gst::BusSyncReply::Drop
            });
        }
        pipeline.set_state(gst::State::Playing).map_err(|_| "its pipeline can't be started".to_owned())?;
        Ok(Self { source, pipeline })
    }

    /// Hands a packet over without waiting.
    fn push(&self, buffer: gst::Buffer) {
        if self.source.current_level_buffers() < WAITING_PACKETS {
            // A pipeline that takes nothing more has said why.
            let _ = self.source.push_buffer(buffer);
        }
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn aac_sink(mut out: Published) -> gst::Element {
    sound_sink(move |config, buffer| out.publish(config, buffer))
}

/// A sink that gives each sample, on the pipeline's running time, with the configuration in its caps; nothing that
/// happens here ends the stream.
pub(super) fn sound_sink(mut take: impl FnMut(&[u8], gst::Buffer) + Send + 'static) -> gst::Element {
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some((caps, buffer)) = super::publish::on_running_time(&sample) {
                take(&codec_data(&caps).unwrap_or_default(), buffer);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    gst_app::AppSink::builder().sync(false).async_(false).callbacks(callbacks).build().upcast()
}

/// The configuration in the caps of a stream, if there is one.
pub(super) fn codec_data(caps: &gst::CapsRef) -> Option<Vec<u8>> {
    let data = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    let map = data.map_readable().ok()?;
    Some(map.as_slice().to_vec())
}
