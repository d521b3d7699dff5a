//! Network cameras.

use std::sync::OnceLock;

use aivms_appliance_core::supervise::Failure;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::address::RtspAddress;
use super::end::unsupported;
use super::publish::{extend, live_sink, normalise};
use super::sound::{Encoding, Sound, sound_sink};
use super::{SourceOutput, broken, make};

/// Jitter buffer in milliseconds: enough for a camera's key pictures over TCP, a tenth of rtspsrc's default.
const LATENCY_MS: u32 = 200;
/// Longest wait for a connection or an answer, in microseconds.
const TCP_TIMEOUT_US: u64 = 5_000_000;
/// Longest wait for the camera to take note of a goodbye, in nanoseconds.
const TEARDOWN_TIMEOUT_NS: u64 = 100_000_000;

/// Builds `rtspsrc ! depayloader ! parser ! appsink`; the part behind `rtspsrc` follows when the camera has said what
/// it sends.
pub(super) fn build(address: &RtspAddress, output: &SourceOutput) -> Result<gst::Pipeline, Failure> {
    let source = make("rtspsrc")?;
    source.set_property("location", &address.location);
    source.set_property("latency", LATENCY_MS);
    // Its buffer-mode stays as it is: that corrects times by when packets arrive, so a busy machine shifts them by as
    // much as it holds packets up. With "none" it gives nothing more once the camera's clock is set.
    source.set_property("tcp-timeout", TCP_TIMEOUT_US);
    source.set_property("teardown-timeout", TEARDOWN_TIMEOUT_NS);
    // UDP loses packets on a busy network, and firewalls drop it.
    source.set_property_from_str("protocols", if address.tls { "tcp+tls" } else { "tcp" });
    if let Some(credentials) = &address.credentials {
        source.set_property("user-id", &credentials.username);
        source.set_property("user-pw", &credentials.password);
    }
    select_streams(&source, output.wants_audio());
    let pipeline = gst::Pipeline::new();
    pipeline.add(&source).map_err(|_| broken("built"))?;
    on_streams(&pipeline, &source, output);
    Ok(pipeline)
}

/// Takes the first video, and the first sound where it is wanted; leaves out metadata and further ones, so that the
/// camera need not send them.
fn select_streams(source: &gst::Element, wants_audio: bool) {
    let (video, audio) = (OnceLock::new(), OnceLock::new());
    source.connect("select-stream", false, move |values| {
        let (number, caps) = (values.get(1)?.get::<u32>().ok()?, values.get(2)?.get::<gst::Caps>().ok()?);
        let first = |chosen: &OnceLock<u32>| *chosen.get_or_init(|| number) == number;
        let chosen = match media(&caps).as_deref() {
            Some("video") => first(&video),
            Some("audio") => wants_audio && first(&audio),
            _ => false,
        };
        Some(chosen.to_value())
    });
}

fn on_streams(pipeline: &gst::Pipeline, source: &gst::Element, output: &SourceOutput) {
    let (weak, linked_output) = (pipeline.downgrade(), output.clone());
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let linked = match media(&caps).as_deref() {
            Some("audio") => link_sound(&pipeline, pad, &caps, &linked_output),
            _ => link_stream(&pipeline, pad, &caps, &linked_output),
        };
        if let Err(end) = linked {
            linked_output.end(end.into());
        }
    });
    let output = output.clone();
    source.connect_no_more_pads(move |source| {
        let is_video = |pad: &gst::Pad| pad.current_caps().is_none_or(|caps| media(&caps).as_deref() != Some("audio"));
        if !source.src_pads().iter().any(is_video) {
            output.end(Failure::NoVideo.into());
        }
    });
}

/// Takes sound off the camera's pipeline as it comes, so that nothing that happens to it touches the pictures.
fn link_sound(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    caps: &gst::Caps,
    output: &SourceOutput,
) -> Result<(), Failure> {
    let rate = caps.structure(0).and_then(|s| u32::try_from(s.get::<i32>("clock-rate").ok()?).ok()).unwrap_or(8000);
    let name = encoding(caps).unwrap_or_default();
    let depayloader = match name.as_str() {
        "MPEG4-GENERIC" => "rtpmp4gdepay",
        "MP4A-LATM" => "rtpmp4adepay",
        "PCMA" => "rtppcmadepay",
        _ => "rtppcmudepay",
    };
    let audio = output.audio.as_ref();
    let sound = audio.and_then(|audio| Sound::new(Encoding::of_rtp(&name, audio)?, rate, audio));
    let Some(mut sound) = sound else {
        return extend(pipeline, pad, &[sound_sink(|_, _| {})]);
    };
    extend(pipeline, pad, &[make(depayloader)?, sound_sink(move |config, buffer| sound.take_buffer(config, buffer))])
}

fn link_stream(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    caps: &gst::Caps,
    output: &SourceOutput,
) -> Result<(), Failure> {
    let encoding = encoding(caps);
    let (depayloader, media_type) = match encoding.as_deref() {
        Some("H264") => ("rtph264depay", "video/x-h264"),
        Some("H265") => ("rtph265depay", "video/x-h265"),
        Some("JPEG") => ("rtpjpegdepay", "image/jpeg"),
        other => return Err(unsupported(other.unwrap_or("without a name"))),
    };
    let mut elements = vec![make(depayloader)?];
    elements.extend(normalise(media_type)?);
    elements.push(live_sink(output));
    extend(pipeline, pad, &elements)
}

fn media(caps: &gst::Caps) -> Option<String> {
    caps.structure(0)?.get("media").ok()
}

fn encoding(caps: &gst::Caps) -> Option<String> {
    caps.structure(0)?.get("encoding-name").ok()
}
