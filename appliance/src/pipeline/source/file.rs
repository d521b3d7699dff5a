//! Video files, played for ever and in real time, with their sound where it is AAC: for demos, tests and investigations.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aivms_appliance_core::supervise::Failure;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::end::{check_file, understand};
use super::publish::{Publisher, extend, normalise};
use super::sound::{Encoding, Sound, codec_data};
use super::{Running, SourceOutput, broken, make};

/// Access units read ahead of their time; reading waits when they are full.
const READ_AHEAD: u32 = 8;
/// Frames of sound that wait for the pictures of their time: what a file may have interleaved. The oldest go when
/// there are more, and no picture waits for them.
const SOUND_AHEAD: u32 = 512;
/// How often a waiting reader looks whether it is to stop or has failed.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// How long a reader waits for a word of its pipeline.
const BUS_POLL: gst::ClockTime = gst::ClockTime::from_mseconds(5);
/// A player further behind than this (a suspended machine) goes on from there instead of racing to catch up.
const MAX_LAG: Duration = Duration::from_secs(2);
/// Length of the last picture of a file that does not say it.
const DEFAULT_PICTURE: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// A thread that plays a file, until it is stopped.
pub(super) struct Playback(Option<Playing>);

struct Playing {
    thread: JoinHandle<()>,
    /// Dropped to stop the thread.
    stop: Sender<()>,
}

impl Running for Playback {}

impl Drop for Playback {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Playback {
    pub(super) fn start(path: &Path, output: SourceOutput) -> Result<Self, Failure> {
        check_file(path)?;
        let (stop, stopped) = channel();
        let sound = output.audio.as_ref().and_then(|to| Sound::new(Encoding::Aac, 0, to));
        let (path, publisher) = (path.to_owned(), Publisher::new(&output));
        let player = Player { path, publisher, sound, stopped, clock: None };
        let thread = std::thread::Builder::new().name("file-source".to_owned()).spawn(move || player.run(&output));
        let thread = thread.map_err(|error| Failure::Other(format!("no thread for the file: {error}")))?;
        Ok(Self(Some(Playing { thread, stop })))
    }

    /// Stops the thread and waits for it.
    fn stop(&mut self) {
        let Some(Playing { thread, stop }) = self.0.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("the thread of a file source panicked");
        }
    }
}

struct Player {
    path: PathBuf,
    publisher: Publisher,
    /// Where sound goes, when it is wanted.
    sound: Option<Sound>,
    stopped: Receiver<()>,
    /// When media time zero was, set by the first picture.
    clock: Option<Instant>,
}

/// Why a round through the file ended.
enum Round {
    /// At its end; the next round's timestamps start here.
    Finished(gst::ClockTime),
    Stopped,
}

impl Player {
    /// Plays rounds until told to stop; each starts where the last one ended on the timeline.
    fn run(mut self, output: &SourceOutput) {
        let mut start = gst::ClockTime::ZERO;
        loop {
            match self.play_once(start) {
                Ok(Round::Finished(end)) if end > start => start = end,
                Ok(Round::Finished(_)) => return output.end(Failure::NotVideo.into()),
                Ok(Round::Stopped) => return,
                Err(end) => return output.end(end.into()),
            }
        }
    }

    fn play_once(&mut self, start: gst::ClockTime) -> Result<Round, Failure> {
        let mut reader = Reader::open(&self.path, self.sound.is_some())?;
        let mut shift = Shift::new(start);
        loop {
            match reader.next()? {
                Next::Sample(sample) => {
                    let Some((caps, buffer, due)) = shift.apply(&sample) else { continue };
                    if !self.wait_until(due) {
                        return Ok(Round::Stopped);
                    }
                    self.publisher.publish(&caps, buffer);
                    if let Some(sound) = &mut self.sound {
                        reader.play_sound(&shift, sound);
                    }
                }
                Next::Nothing if self.is_stopped(Duration::ZERO) => return Ok(Round::Stopped),
                Next::Nothing => {}
                Next::End => return Ok(Round::Finished(shift.end)),
            }
        }
    }

    /// Waits until `media` is due; false when the player was stopped.
    fn wait_until(&mut self, media: gst::ClockTime) -> bool {
        let (now, media) = (Instant::now(), Duration::from(media));
        let zero = *self.clock.get_or_insert(now.checked_sub(media).unwrap_or(now));
        let due = zero + media;
        if now.saturating_duration_since(due) > MAX_LAG {
            self.clock = Some(zero + now.saturating_duration_since(due));
        }
        !self.is_stopped(due.saturating_duration_since(now))
    }

    fn is_stopped(&self, wait: Duration) -> bool {
        self.stopped.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Moves one round's timestamps to their place on the endless timeline.
struct Shift {
    start: gst::ClockTime,
    /// The file's own time of its first picture.
    first: Option<gst::ClockTime>,
    end: gst::ClockTime,
    last_due: gst::ClockTime,
}

impl Shift {
    fn new(start: gst::ClockTime) -> Self {
        Self { start, first: None, end: start, last_due: start }
    }

    /// The frame of sound with a new timestamp, once a picture has said where the file begins.
    fn apply_to_sound(&self, sample: &gst::Sample) -> Option<(gst::Caps, gst::Buffer, gst::ClockTime)> {
        let mut buffer = sample.buffer_owned()?;
        let at = self.start + buffer.pts()?.saturating_sub(self.first?);
        buffer.make_mut().set_pts(at);
        Some((sample.caps_owned()?, buffer, at))
    }

    /// The picture with new timestamps, and when it is due.
    fn apply(&mut self, sample: &gst::Sample) -> Option<(gst::Caps, gst::Buffer, gst::ClockTime)> {
        let mut buffer = sample.buffer_owned()?;
        let (pts, dts) = (buffer.pts(), buffer.dts());
        let first = *self.first.get_or_insert([pts, dts].into_iter().flatten().min()?);
        let start = self.start;
        let moved = |time: Option<gst::ClockTime>| time.map(|time| start + time.saturating_sub(first));
        let (pts, dts) = (moved(pts), moved(dts));
        let picture = buffer.duration().filter(|length| !length.is_zero()).unwrap_or(DEFAULT_PICTURE);
        self.end = self.end.max(pts.max(dts)? + picture);
        // Pictures come in decoding order, in which presentation times go back and forth.
        self.last_due = self.last_due.max(dts.or(pts)?);
        let writable = buffer.make_mut();
        writable.set_pts(pts);
        writable.set_dts(dts);
        Some((sample.caps_owned()?, buffer, self.last_due))
    }
}

/// Reads the pictures of one file once, as fast as they are taken.
struct Reader {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    sound: Option<gst_app::AppSink>,
    /// Sound that is not due yet.
    early: Option<gst::Sample>,
    /// What went wrong while the streams of the file were linked.
    faults: Receiver<Failure>,
}

enum Next {
    Sample(gst::Sample),
    Nothing,
    End,
}

impl Reader {
    fn open(path: &Path, wants_sound: bool) -> Result<Self, Failure> {
        let (source, parse) = (make("filesrc")?, make("parsebin")?);
        source.set_property("location", path);
        // Not waited for: a file whose sound comes first would wait for its first picture with that in its hands.
        let sink = gst_app::AppSink::builder().sync(false).async_(false).max_buffers(READ_AHEAD).build();
        let pipeline = gst::Pipeline::new();
        let built = pipeline.add_many([&source, &parse]).and_then(|()| source.link(&parse));
        built.map_err(|_| broken("built"))?;
        let sound = wants_sound.then(|| {
            // The end of the file does not wait until sound that is longer than the pictures has been taken.
            let sink = gst_app::AppSink::builder().sync(false).async_(false).wait_on_eos(false);
            sink.max_buffers(SOUND_AHEAD).drop(true).build()
        });
        let faults = link_streams(&pipeline, &parse, &sink, sound.as_ref());
        let reader = Self { pipeline, sink, sound, early: None, faults };
        // A failure is on the bus, with its reason, when the first picture is asked for.
        let _ = reader.pipeline.set_state(gst::State::Playing);
        Ok(reader)
    }

    /// Publishes the sound up to the picture that was shown last.
    fn play_sound(&mut self, shift: &Shift, sound: &mut Sound) {
        let Some(sink) = self.sound.as_ref().filter(|sink| sink.parent().is_some()) else { return };
        while let Some(sample) = self.early.take().or_else(|| sink.try_pull_sample(gst::ClockTime::ZERO)) {
            match shift.apply_to_sound(&sample) {
                Some((.., at)) if at > shift.last_due => {
                    self.early = Some(sample);
                    return;
                }
                Some((caps, buffer, _)) => sound.take_buffer(&codec_data(&caps).unwrap_or_default(), buffer),
                None => {}
            }
        }
    }

    fn next(&self) -> Result<Next, Failure> {
        if let Some(sample) = self.sink.try_pull_sample(POLL) {
            return Ok(Next::Sample(sample));
        }
        if let Ok(fault) = self.faults.try_recv() {
            return Err(fault);
        }
        // The sink does not wait, and calls itself ended, until it is linked: so the bus is asked, with a wait.
        let wanted = [gst::MessageType::Error, gst::MessageType::Eos];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(BUS_POLL, &wanted));
        match message.as_deref().map(gst::MessageRef::view) {
            Some(gst::MessageView::Error(error)) => Err(understand(error)),
            Some(_) => Ok(Next::End),
            None => Ok(Next::Nothing),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Sends the first video stream to `sink`, the first sound in AAC to `sound`, and throws the others away; what fails
/// comes out of the receiver.
fn link_streams(
    pipeline: &gst::Pipeline,
    parse: &gst::Element,
    sink: &gst_app::AppSink,
    sound: Option<&gst_app::AppSink>,
) -> Receiver<Failure> {
    let (fault, faults) = channel();
    let (weak, linked_sink, not_linked) = (pipeline.downgrade(), sink.clone(), fault.clone());
    let sound = sound.cloned();
    parse.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        if let Err(end) = link_stream(&pipeline, pad, &linked_sink, sound.as_ref()) {
            let _ = not_linked.send(end);
        }
    });
    let sink = sink.clone();
    parse.connect_no_more_pads(move |_| {
        if sink.parent().is_none() {
            let _ = fault.send(Failure::NotVideo);
        }
    });
    faults
}

fn link_stream(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    sink: &gst_app::AppSink,
    sound: Option<&gst_app::AppSink>,
) -> Result<(), Failure> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let media_type = caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default();
    if let Some(sound) = sound.filter(|sound| media_type == "audio/mpeg" && sound.parent().is_none())
        && codec_data(&caps).is_some()
    {
        return extend(pipeline, pad, &[sound.clone().upcast()]);
    }
    let is_video = media_type.starts_with("video/") || media_type.starts_with("image/");
    if !is_video || sink.parent().is_some() {
        let unused = make("fakesink")?;
        unused.set_property("async", false);
        return extend(pipeline, pad, &[unused]);
    }
    let mut elements = normalise(&media_type)?;
    elements.push(sink.clone().upcast());
    extend(pipeline, pad, &elements)
}
