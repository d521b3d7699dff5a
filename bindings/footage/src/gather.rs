//! Joins pictures and sound into fragments: of at most a given length, each key picture first in its own.

use std::collections::VecDeque;

use aivms_contract::time::{MediaTime, UtcMillis};
use bytes::Bytes;

use crate::fragment::{Fragment, Sample};
use crate::times::Timed;
use crate::track::{AAC_FRAME, VIDEO_TIMESCALE, ticks};

/// Ticks of a fragment of a second.
pub const SECOND: u32 = VIDEO_TIMESCALE;
/// Frames of sound that wait for pictures: 20 s at 48 kHz. More push out the oldest; a stream whose pictures have
/// stopped is on its way to being restarted.
const WAITING_SOUNDS: usize = 1024;
/// Ticks a picture lasts when nothing tells: 1/25 s.
const UNKNOWN_DURATION: u32 = VIDEO_TIMESCALE / 25;

/// A picture on its way into a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// As [`crate::access_unit::VideoPicture::data`].
    pub data: Bytes,
    /// Whether decoding can start here.
    pub key: bool,
    /// Wall time of showing.
    pub wall: UtcMillis,
}

/// Gathers one connection's pictures and sound. A segment begins with the first picture, and with the first after each
/// [`Gather::cut`]; times in fragments count from there.
#[derive(Debug, Clone)]
pub struct Gather {
    /// Longest fragment in ticks.
    limit: u32,
    sample_rate: Option<u32>,
    /// Decode time of the segment's first picture.
    base: Option<i64>,
    /// Pictures of the fragment to come; the last one's duration is not known yet.
    pictures: Vec<Timed<Shot>>,
    /// Sound for the fragment to come and later ones, with its time in ticks of the sound on the media timeline.
    sounds: VecDeque<(i64, Bytes)>,
    /// Whether the segment goes on from another: sound that comes late is still of that one, and is kept.
    goes_on: bool,
    /// End of the sound in the last fragment, in ticks since the segment's start.
    sound_end: u64,
    last_duration: u32,
}

impl Gather {
    /// Begins. `limit` is the longest a fragment gets, in ticks of 1/90000 s, with half a picture of tolerance, and as
    /// long as no picture lasts longer; `sample_rate` that of the sound, if there is some.
    #[must_use]
    pub fn new(limit: u32, sample_rate: Option<u32>) -> Self {
        Self {
            limit,
            sample_rate,
            base: None,
            pictures: Vec::new(),
            sounds: VecDeque::new(),
            goes_on: false,
            sound_end: 0,
            last_duration: UNKNOWN_DURATION,
        }
    }

    /// Decode time of the segment's first picture on the media timeline; `None` before it has come.
    #[must_use]
    pub fn base(&self) -> Option<i64> {
        self.base
    }

    /// Takes the next picture and gives the fragment that ends before it, or before the one before it. Pictures ahead
    /// of a segment's first key picture are dropped.
    pub fn picture(&mut self, next: Timed<Shot>) -> Option<Fragment> {
        if self.base.is_none() && !next.item.key {
            return None;
        }
        self.base.get_or_insert(next.dts);
        let Some(first) = self.pictures.first().map(|first| first.dts) else {
            self.pictures.push(next);
            return None;
        };
        let step = self.pictures.last().map_or(0, |last| next.dts - last.dts);
        let limit = i64::from(self.limit) + step / 2;
        // A picture that has turned out too long for the fragment, or the next one that is going to be.
        let ended = if !next.item.key && next.dts - first > limit && self.pictures.len() > 1 {
            self.take_all_but_last()
        } else if next.item.key || next.dts - first + step > limit {
            self.take(next.dts)
        } else {
            None
        };
        self.pictures.push(next);
        ended
    }

    /// Takes a frame of sound that begins at `at`, on the pictures' timeline. What was heard before the first picture
    /// is left out; what comes late after a cut goes to the beginning of the new segment.
    pub fn sound(&mut self, at: MediaTime, data: Bytes) {
        let Some(rate) = self.sample_rate else { return };
        if self.sounds.len() >= WAITING_SOUNDS {
            self.sounds.pop_front();
        }
        self.sounds.push_back((ticks(at, rate), data));
    }

    /// Ends the segment and gives its last fragment. `next` is the decode time of the picture that the next segment
    /// begins with; `None` when the stream has ended. Sound from there on waits for the next segment.
    pub fn cut(&mut self, next: Option<i64>) -> Option<Fragment> {
        let end = self.pictures.last().map(|last| last.dts + i64::from(self.last_duration));
        let ended = self.take(next.or(end)?);
        self.base = None;
        self.goes_on = next.is_some();
        self.sound_end = 0;
        ended
    }

    /// The fragment of all pictures but the last, which begins the next one.
    fn take_all_but_last(&mut self) -> Option<Fragment> {
        let last = self.pictures.pop()?;
        let ended = self.take(last.dts);
        self.pictures.push(last);
        ended
    }

    /// The fragment of all pictures, the last of which ends at `end`.
    fn take(&mut self, end: i64) -> Option<Fragment> {
        let base = self.base?;
        let wall = self.pictures.iter().min_by_key(|picture| picture.pts)?.item.wall;
        let pictures = std::mem::take(&mut self.pictures);
        let ends: Vec<i64> = pictures.iter().skip(1).map(|picture| picture.dts).chain([end]).collect();
        let video = pictures.into_iter().zip(ends).map(|(picture, end)| {
            let duration = u32::try_from(end.saturating_sub(picture.dts)).unwrap_or(1).max(1);
            self.last_duration = duration;
            let dts = u64::try_from(picture.dts - base).unwrap_or(0);
            Sample { dts, composition: picture.composition(), duration, key: picture.item.key, data: picture.item.data }
        });
        let video = video.collect();
        Some(Fragment { wall, video, audio: self.take_sound(base, end) })
    }

    /// The sound until `end`.
    fn take_sound(&mut self, base: i64, end: i64) -> Vec<Sample> {
        let Some(rate) = self.sample_rate else { return Vec::new() };
        let scaled = |ticks: i64| {
            let scaled = i128::from(ticks) * i128::from(rate) / i128::from(VIDEO_TIMESCALE);
            i64::try_from(scaled).unwrap_or(i64::MAX)
        };
        let (base, end) = (scaled(base), scaled(end));
        let count = self.sounds.iter().take_while(|(at, _)| *at < end).count();
        let mut samples: Vec<Sample> = Vec::with_capacity(count);
        for (at, data) in self.sounds.drain(..count) {
            if at < base && !self.goes_on {
                continue;
            }
            let at = u64::try_from(at - base).unwrap_or(0);
            let dts = steady(at, self.sound_end, samples.is_empty());
            if let Some(last) = samples.last_mut() {
                last.duration = u32::try_from(dts - last.dts).unwrap_or(AAC_FRAME);
            }
            self.sound_end = dts + if at == 0 { 1 } else { u64::from(AAC_FRAME) };
            samples.push(Sample { dts, composition: 0, duration: (self.sound_end - dts) as u32, key: true, data });
        }
        samples
    }
}

/// When a frame of sound that came for `at` begins, where the one before it has ended at `end`: right there unless that
/// is more than half a frame off, or more than two within a fragment, since cameras' times tremble and AAC does not.
/// Never before `end`.
fn steady(at: u64, end: u64, first: bool) -> u64 {
    let slack = u64::from(if first { AAC_FRAME / 2 } else { AAC_FRAME * 2 });
    if at > end + slack { at } else { end }
}
