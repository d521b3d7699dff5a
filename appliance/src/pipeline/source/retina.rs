//! Network cameras through a client that costs a fraction of GStreamer's: plain TCP, no threads of its own.
//!
//! Silence is for the camera's task to judge, which waits for each picture anyway: a second timer for each packet would
//! cost more than the packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aivms_appliance_core::supervise::Failure;
use futures_util::StreamExt;
use gstreamer as gst;
use retina::client::{
    Demuxed, Described, InitialTimestampPolicy, PlayOptions, Session, SessionOptions, SetupOptions, TeardownPolicy,
};
use retina::codec::{AudioFrame, CodecItem, FrameFormat, ParametersRef, VideoFrame, VideoParameters};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use url::Url;

use super::address::RtspAddress;
use super::end::unsupported;
use super::publish::Publisher;
use super::sound::{Encoding, Sound};
use super::timeline::Timeline;
use super::{Running, SourceEnd, SourceOutput};

/// Longest wait for a connection or an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Byte-stream with the parameter sets in front of every key picture, and sound without ADTS: the forms of the fan-out.
const FORM: FrameFormat = FrameFormat { aac_framing: FrameFormat::MP4.aac_framing, ..FrameFormat::SIMPLE };

/// One connection as a task on the program's runtime; dropping it ends the task.
pub(super) struct Client {
    task: AbortHandle,
    answered: Arc<AtomicBool>,
}

impl Client {
    pub(super) fn start(address: &RtspAddress, output: SourceOutput) -> Result<Self, Failure> {
        let url = Url::parse(&address.location).map_err(|_| Failure::Other("its url is not a URL".to_owned()))?;
        let runtime = Handle::try_current().map_err(|_| Failure::Other("there is no runtime for it".to_owned()))?;
        let creds = address
            .credentials
            .as_ref()
            .map(|own| retina::client::Credentials { username: own.username.clone(), password: own.password.clone() });
        let options = SessionOptions::default()
            .creds(creds)
            .user_agent("aivms-appliance".to_owned())
            .teardown(TeardownPolicy::Auto);
        let answered = Arc::new(AtomicBool::new(false));
        let has_answered = Arc::clone(&answered);
        let task = runtime.spawn(async move {
            let end = match Play::begin(url, options, &output, &has_answered).await {
                Ok(play) => play.run().await,
                Err(failure) => failure.into(),
            };
            output.end(end);
        });
        Ok(Self { task: task.abort_handle(), answered })
    }
}

impl Running for Client {
    fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that plays.
struct Play {
    session: Demuxed,
    video: usize,
    publisher: Publisher,
    caps: Option<gst::Caps>,
    video_time: Timeline,
    /// Where sound goes, and its own way to the time of the pictures.
    sound: Option<(Sound, Timeline)>,
    /// When the first picture came: the zero of arrival times.
    began: Instant,
}

impl Play {
    async fn begin(
        url: Url,
        options: SessionOptions,
        output: &SourceOutput,
        answered: &AtomicBool,
    ) -> Result<Self, Failure> {
        let mut session = in_time(Session::describe(url, options)).await?;
        answered.store(true, Ordering::Relaxed);
        let (video, sound) = choose(&session, output)?;
        let setup = || SetupOptions::default().frame_format(FORM);
        in_time(session.setup(video, setup())).await?;
        if let Some((stream, _)) = &sound {
            in_time(session.setup(*stream, setup())).await?;
        }
        // A camera that does not say where its streams begin is believed that they begin together.
        let play = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
        let session = in_time(session.play(play)).await?.demuxed().map_err(|error| explain(&error))?;
        let (publisher, began) = (Publisher::new(output), Instant::now());
        let sound = sound.map(|(_, sound)| (sound, Timeline::default()));
        Ok(Self { session, video, publisher, caps: None, video_time: Timeline::default(), sound, began })
    }

    async fn run(mut self) -> SourceEnd {
        loop {
            match self.session.next().await {
                None => return SourceEnd::EndOfStream,
                Some(Err(error)) => return explain(&error).into(),
                Some(Ok(CodecItem::VideoFrame(frame))) => {
                    if let Err(failure) = self.on_picture(frame) {
                        return failure.into();
                    }
                }
                Some(Ok(CodecItem::AudioFrame(frame))) => self.on_sound(&frame),
                Some(Ok(_)) => {}
            }
        }
    }

    fn on_picture(&mut self, frame: VideoFrame) -> Result<(), Failure> {
        if frame.stream_id() != self.video {
            return Ok(());
        }
        let at = self.video_time.place(nanos(frame.timestamp()), self.began.elapsed());
        if frame.has_new_parameters() || self.caps.is_none() {
            let stream = &self.session.streams()[self.video];
            let Some(ParametersRef::Video(parameters)) = stream.parameters() else { return Ok(()) };
            self.caps = Some(caps(stream.encoding_name(), parameters)?);
        }
        let key = frame.is_random_access_point();
        let mut buffer = gst::Buffer::from_mut_slice(frame.into_data());
        if let Some(writable) = buffer.get_mut() {
            writable.set_pts(gst::ClockTime::from_nseconds(at.as_nanos()));
            if !key {
                writable.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        if let Some(caps) = &self.caps {
            self.publisher.publish(caps, buffer);
        }
        Ok(())
    }

    fn on_sound(&mut self, frame: &AudioFrame) {
        let Some((sound, time)) = &mut self.sound else { return };
        let at = time.place(nanos(frame.timestamp()), self.began.elapsed());
        let parameters = self.session.streams()[frame.stream_id()].parameters();
        let Some(ParametersRef::Audio(parameters)) = parameters else { return };
        sound.take(parameters.extra_data(), at, frame.data());
    }
}

/// The first video stream, and the first sound when there is anybody who wants it.
fn choose(session: &Session<Described>, output: &SourceOutput) -> Result<(usize, Option<(usize, Sound)>), Failure> {
    let find = |media: &str| session.streams().iter().position(|stream| stream.media() == media);
    let video = find("video").ok_or(Failure::NoVideo)?;
    match session.streams()[video].encoding_name() {
        "h264" | "h265" | "jpeg" => {}
        other => return Err(unsupported(&other.to_uppercase())),
    }
    let Some((to, audio)) = output.audio.as_ref().zip(find("audio")) else { return Ok((video, None)) };
    let stream = &session.streams()[audio];
    let sound = Encoding::of_rtp(stream.encoding_name(), to)
        .and_then(|encoding| Sound::new(encoding, stream.clock_rate_hz(), to));
    Ok((video, sound.map(|sound| (audio, sound))))
}

/// What the parameters say, in GStreamer's terms.
fn caps(encoding: &str, parameters: &VideoParameters) -> Result<gst::Caps, Failure> {
    let (width, height) = parameters.pixel_dimensions();
    let size = |number: u32| i32::try_from(number).map_err(|_| Failure::NotVideo);
    let stream = gst::Caps::builder(match encoding {
        "h264" => "video/x-h264",
        "h265" => "video/x-h265",
        _ => "image/jpeg",
    });
    let mut stream = stream.field("width", size(width)?).field("height", size(height)?).field("parsed", true);
    if encoding != "jpeg" {
        stream = stream.field("stream-format", "byte-stream").field("alignment", "au");
    }
    if let Some((duration, scale)) = parameters.frame_rate()
        && let (Ok(duration @ 1..), Ok(scale @ 1..)) = (i32::try_from(duration), i32::try_from(scale))
    {
        stream = stream.field("framerate", gst::Fraction::new(scale, duration));
    }
    Ok(stream.build())
}

/// Time since the start of the stream.
fn nanos(time: retina::Timestamp) -> i64 {
    let nanos = i128::from(time.elapsed()) * 1_000_000_000 / i128::from(time.clock_rate().get());
    i64::try_from(nanos).unwrap_or(0)
}

async fn in_time<T>(answer: impl Future<Output = Result<T, retina::Error>>) -> Result<T, Failure> {
    match timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer.map_err(|error| explain(&error)),
        Err(_) => Err(Failure::Stalled),
    }
}

/// Understands what the client says. Its errors have a text and no kinds; further lines are about packets.
fn explain(error: &retina::Error) -> Failure {
    if let Some(status) = error.status_code().filter(|status| *status >= 300) {
        return Failure::Refused(status);
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    match first {
        _ if first.starts_with("Unable to connect") => Failure::Unreachable,
        _ if first.starts_with("Error reading from RTSP peer") || first.starts_with("Error writing") => Failure::Ended,
        _ => Failure::other(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_stream_are_read_at_its_clock_rate() {
        let rate = std::num::NonZeroU32::new(90_000).unwrap();
        let time = |ticks| retina::Timestamp::new(ticks, rate, 90_000).unwrap();
        assert_eq!(nanos(time(90_000 + 3_600)), 40_000_000);
        assert_eq!(nanos(time(0)), -1_000_000_000);
    }
}
