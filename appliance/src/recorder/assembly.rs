//! From units to fragments and segments: decides where segments begin. No clock, no I/O.
//!
//! A segment begins with the first key picture, and with a key picture once the segment before it is long enough (half a
//! picture less is long enough, since times tremble), when the parameters or the sound are others, and when the wall
//! clock was set. When media time jumps the segment ends there and the next one begins with the next key picture.

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::footage::GapCause;
use aivms_contract::time::{MediaClock, MediaTime, UtcMillis};
use aivms_footage::access_unit::{AccessUnits, UnitError, VideoPicture};
use aivms_footage::fragment::Fragment;
use aivms_footage::gather::{Gather, Shot};
use aivms_footage::times::{DecodeTimes, Timed};
use aivms_footage::track::{AudioTrack, Tracks, VIDEO_TIMESCALE, VideoCodec, ticks};
use bytes::Bytes;

use crate::pipeline::access_unit::{AccessUnit, AudioFormat, AudioUnit, StreamFormat};

/// Longest fragment in ticks: 0.8 s. With the pictures held back for reordering and the time to write it, less than a
/// second is lost when the program is killed.
const FRAGMENT_TICKS: u32 = VIDEO_TIMESCALE / 10 * 8;
/// Media time that passes at once and is no slow camera any more, but a gap.
const GAP: Duration = Duration::from_secs(3);
/// Media time that goes back further than any reordering of pictures.
const BACK: Duration = Duration::from_secs(2);
/// Difference of wall clocks that counts as a clock that was set.
const CLOCK_STEP_MS: i64 = 1_000;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// A segment begins.
    Begin { tracks: Arc<Tracks>, wall: UtcMillis },
    /// The next fragment of the segment.
    Fragment(Fragment),
    /// The segment has ended; the next one does not begin yet.
    End,
    /// Video is lost up to the next segment.
    Lost(GapCause),
}

/// One connection's pictures and sound on their way into fragments.
pub(super) struct Assembly {
    segment: Duration,
    sound: bool,
    format: Option<Arc<StreamFormat>>,
    /// Whether it was said that the parameters can't be read.
    warned: bool,
    units: Option<AccessUnits>,
    times: DecodeTimes<Taken>,
    /// What `times` was made for.
    reorder: Option<Option<usize>>,
    gather: Gather,
    /// Samples per second that `gather` was made for.
    rate: Option<u32>,
    clock: Option<MediaClock>,
    audio: Option<Arc<AudioFormat>>,
    /// The tracks of the segment to come or in the making; `None` when the next key picture has to find them out.
    tracks: Option<Arc<Tracks>>,
    /// Media time of the segment's first picture; `None` while waiting for one.
    began: Option<MediaTime>,
    last: Option<(MediaTime, Duration)>,
}

/// A picture on its way, and whether a segment begins with it.
#[derive(Debug, Clone)]
struct Taken {
    shot: Shot,
    begins: Option<Arc<Tracks>>,
}

impl Assembly {
    /// Begins a connection. Segments last `segment` or a little more; `sound` says whether sound is recorded.
    pub(super) fn new(segment: Duration, sound: bool) -> Self {
        Self {
            segment,
            sound,
            format: None,
            warned: false,
            units: None,
            times: DecodeTimes::new(None),
            reorder: None,
            gather: Gather::new(FRAGMENT_TICKS, None),
            rate: None,
            clock: None,
            audio: None,
            tracks: None,
            began: None,
            last: None,
        }
    }

    /// Takes the next picture. `clock` is the wall clock's place on the media timeline now.
    pub(super) fn picture(&mut self, unit: &AccessUnit, clock: MediaClock) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.format.as_ref().is_none_or(|format| !Arc::ptr_eq(format, &unit.format)) {
            self.take_format(&unit.format);
        }
        let Some(units) = &mut self.units else {
            outputs.push(Output::Lost(GapCause::Camera));
            return outputs;
        };
        let Ok(map) = unit.buffer.map_readable() else { return outputs };
        match units.take(&map) {
            Ok(picture) => self.taken(unit.at, picture, clock, &mut outputs),
            Err(UnitError::NoPicture) => {}
            Err(UnitError::Parameters(error)) => {
                if unit.key && !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(%error, "what this camera sends can't be recorded");
                }
                if self.began.is_some() {
                    outputs.extend(self.end());
                }
                outputs.push(Output::Lost(GapCause::Camera));
            }
        }
        outputs
    }

    /// Takes a frame of sound.
    pub(super) fn sound(&mut self, unit: &AudioUnit) {
        if !self.sound {
            return;
        }
        if self.audio.as_ref().is_none_or(|audio| **audio != *unit.format) {
            // A segment has one kind of sound; the next key picture begins one with this.
            self.audio = Some(Arc::clone(&unit.format));
            self.tracks = None;
        }
        if self.tracks.is_some()
            && let Ok(map) = unit.buffer.map_readable()
        {
            self.gather.sound(unit.at, Bytes::copy_from_slice(&map));
        }
    }

    /// Whether sound is recorded from the next segment on.
    pub(super) fn with_sound(&mut self, sound: bool) {
        if self.sound && !sound {
            (self.audio, self.tracks) = (None, None);
        }
        self.sound = sound;
    }

    /// Gives what is left; the next key picture begins a segment.
    pub(super) fn end(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut held = Vec::new();
        self.times.flush(&mut held);
        held.into_iter().for_each(|timed| self.gather(timed, &mut outputs));
        if let Some(fragment) = self.gather.cut(None) {
            outputs.push(Output::Fragment(fragment));
        }
        if self.began.is_some() {
            outputs.push(Output::End);
        }
        self.reset();
        outputs
    }

    /// Drops what is left; the next key picture begins a segment.
    pub(super) fn reset(&mut self) {
        self.gather = Gather::new(FRAGMENT_TICKS, self.rate);
        self.times = DecodeTimes::new(self.reorder.flatten());
        (self.began, self.last) = (None, None);
    }

    fn take_format(&mut self, format: &Arc<StreamFormat>) {
        let before = self.format.replace(Arc::clone(format));
        if before.is_some_and(|before| before.media_type() == format.media_type()) {
            return;
        }
        let codec = VideoCodec::of_media_type(format.media_type());
        if codec.is_none() {
            tracing::warn!(
                codec = format.codec(),
                "what this camera sends can't be recorded; set it to H.264 or H.265"
            );
        }
        self.units = codec.map(AccessUnits::new);
        self.tracks = None;
    }

    fn taken(&mut self, at: MediaTime, picture: VideoPicture, clock: MediaClock, outputs: &mut Vec<Output>) {
        if self.jumps(at) {
            outputs.extend(self.end());
            outputs.push(Output::Lost(GapCause::Camera));
        }
        if picture.changed {
            self.tracks = None;
        }
        let begins = if picture.key { self.begins(at, clock) } else { None };
        if begins.is_none() && self.began.is_none() {
            return;
        }
        let mut ready = Vec::new();
        if let Some(tracks) = &begins {
            self.began = Some(at);
            let reorder = tracks.video.reorder();
            if self.reorder != Some(reorder) {
                self.reorder = Some(reorder);
                self.times.flush(&mut ready);
                self.times = DecodeTimes::new(reorder);
            }
        }
        self.note_time(at);
        let wall = self.clock.unwrap_or(clock).utc(at);
        let shot = Shot { data: picture.data, key: picture.key, wall };
        self.times.push(ticks(at, VIDEO_TIMESCALE), picture.refresh, Taken { shot, begins }, &mut ready);
        ready.into_iter().for_each(|timed| self.gather(timed, outputs));
    }

    /// The tracks of the segment that begins with this key picture, if one does.
    fn begins(&mut self, at: MediaTime, clock: MediaClock) -> Option<Arc<Tracks>> {
        let set = self
            .clock
            .is_none_or(|before| (before.zero_at.as_millis() - clock.zero_at.as_millis()).abs() > CLOCK_STEP_MS);
        let half = self.last.map_or(Duration::ZERO, |(_, lasts)| lasts / 2);
        let long = self.began.is_none_or(|began| at.since(began) + half >= self.segment);
        if !(set || long || self.tracks.is_none()) {
            return None;
        }
        self.clock = Some(clock);
        if self.tracks.is_none() {
            let video = self.units.as_ref()?.track()?.clone();
            self.tracks = Some(Arc::new(Tracks { video, audio: self.audio.as_deref().map(audio_track) }));
        }
        self.tracks.clone()
    }

    fn jumps(&self, at: MediaTime) -> bool {
        self.last.is_some_and(|(last, lasts)| at.since(last) > GAP.max(lasts * 5) || last.since(at) > BACK)
    }

    fn note_time(&mut self, at: MediaTime) {
        self.last = Some(match self.last {
            Some((last, _)) if at > last => (at, at.since(last)),
            // Pictures come in another order than they are shown.
            Some((last, lasts)) => (last, lasts),
            None => (at, Duration::ZERO),
        });
    }

    fn gather(&mut self, timed: Timed<Taken>, outputs: &mut Vec<Output>) {
        let Timed { dts, pts, item: Taken { shot, begins } } = timed;
        if let Some(tracks) = begins {
            outputs.extend(self.gather.cut(Some(dts)).map(Output::Fragment));
            outputs.push(Output::Begin { wall: shot.wall, tracks: Arc::clone(&tracks) });
            if self.rate != rate(&tracks) {
                self.rate = rate(&tracks);
                self.gather = Gather::new(FRAGMENT_TICKS, self.rate);
            }
        }
        outputs.extend(self.gather.picture(Timed { dts, pts, item: shot }).map(Output::Fragment));
    }
}

fn rate(tracks: &Tracks) -> Option<u32> {
    tracks.audio.as_ref().map(|audio| audio.sample_rate)
}

fn audio_track(format: &AudioFormat) -> AudioTrack {
    let AudioFormat { sample_rate, channels, config } = format;
    AudioTrack { sample_rate: *sample_rate, channels: *channels, config: Bytes::copy_from_slice(config) }
}
