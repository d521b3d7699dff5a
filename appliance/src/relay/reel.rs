//! Walks through a camera's footage, fragment by fragment, over segments and gaps.

use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::track::{Tracks, VIDEO_TIMESCALE};
use aivms_footage::{Fragment, FragmentInfo, Sample};

use super::packager::{Piece, piece};
use crate::recorder::{Footage, FootageError, Segment, SegmentReader};

/// A hole shorter than this is no gap.
const GAP: Duration = Duration::from_millis(1_500);

/// What a turn of the reel gives.
#[derive(Debug)]
pub(super) enum Turn {
    /// The next fragment.
    Fragment { tracks: Tracks, fragment: Fragment, wall: UtcMillis },
    /// There is no footage here.
    Skipped { from: UtcMillis, to: UtcMillis },
    /// The recorder has not written more so far.
    NotYet,
    /// Nothing is recorded from the time asked for on, and nothing is being recorded.
    Nothing,
    /// The disk or the file.
    Failed(String),
}

/// One camera's footage from a time on.
#[derive(Debug)]
pub(super) struct Reel {
    footage: Footage,
    camera: CameraId,
    place: Place,
    ready: Option<(Tracks, Fragment, UtcMillis)>,
}

/// Where the reel is; goes to a thread that may block and comes back.
#[derive(Debug)]
struct Place {
    /// End of what was given, or the time sought.
    at: UtcMillis,
    key_frames_only: bool,
    /// Whether the next fragment is the one that holds `at`, with what it takes to decode it.
    sought: bool,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    reader: SegmentReader,
    next: usize,
}

impl Reel {
    pub(super) fn new(footage: Footage, camera: CameraId) -> Self {
        let at = UtcMillis::from_millis(0);
        Self { footage, camera, place: Place { at, key_frames_only: false, sought: true, open: None }, ready: None }
    }

    /// Goes to a time.
    pub(super) fn seek(&mut self, at: UtcMillis, key_frames_only: bool) {
        self.place = Place { at, key_frames_only, sought: true, open: None };
        self.ready = None;
    }

    /// Gives a fragment back that could not be sent yet.
    pub(super) fn put_back(&mut self, tracks: Tracks, fragment: Fragment, wall: UtcMillis) {
        self.ready = Some((tracks, fragment, wall));
    }

    /// The next thing on it.
    pub(super) async fn turn(&mut self) -> Turn {
        if let Some((tracks, fragment, wall)) = self.ready.take() {
            return Turn::Fragment { tracks, fragment, wall };
        }
        let empty = Place { at: self.place.at, key_frames_only: self.place.key_frames_only, sought: true, open: None };
        let mut place = std::mem::replace(&mut self.place, empty);
        let (footage, camera) = (self.footage.clone(), self.camera.clone());
        let turned = tokio::task::spawn_blocking(move || {
            let turn = place.turn(&footage, &camera);
            (place, turn)
        });
        match turned.await {
            Ok((place, turn)) => {
                self.place = place;
                turn.unwrap_or_else(|error| Turn::Failed(error.to_string()))
            }
            Err(error) => Turn::Failed(error.to_string()),
        }
    }
}

/// A fragment in bytes, with its times counted from `zero`.
pub(super) fn piece_from(mut fragment: Fragment, tracks: &Tracks, sequence: u32, zero: UtcMillis) -> Option<Piece> {
    let first = fragment.video.iter().map(Sample::pts).min()?;
    let wanted = i64::try_from(fragment.wall.since(zero).as_millis()).ok()? * i64::from(VIDEO_TIMESCALE / 1000);
    shift(&mut fragment, wanted - first, tracks);
    piece(&fragment, sequence, zero)
}

/// Moves all samples by `ticks` of video.
fn shift(fragment: &mut Fragment, ticks: i64, tracks: &Tracks) {
    let moved = |dts: u64, by: i64| dts.saturating_add_signed(by);
    fragment.video.iter_mut().for_each(|sample| sample.dts = moved(sample.dts, ticks));
    let rate = tracks.audio.as_ref().map_or(VIDEO_TIMESCALE, |audio| audio.sample_rate);
    let by = i128::from(ticks) * i128::from(rate) / i128::from(VIDEO_TIMESCALE);
    let by = i64::try_from(by).unwrap_or(0);
    fragment.audio.iter_mut().for_each(|sample| sample.dts = moved(sample.dts, by));
}

impl Place {
    fn turn(&mut self, footage: &Footage, camera: &CameraId) -> Result<Turn, FootageError> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(number) = open.next_wanted(self.key_frames_only) {
                    return self.fragment(number);
                }
                if open.segment.closed {
                    // The next segment begins where this one ends, or later.
                    self.at = self.at.max(open.segment.end);
                    self.open = None;
                } else if !self.renewed(footage, camera)? {
                    return Ok(Turn::NotYet);
                }
                continue;
            }
            let summaries = footage.summaries(camera);
            let Some(next) = summaries.iter().find(|segment| segment.end > self.at) else {
                // Whoever is at the end of what is being recorded waits for more.
                let waits = !self.sought || summaries.last().is_some_and(|last| !last.closed);
                return Ok(if waits { Turn::NotYet } else { Turn::Nothing });
            };
            if next.start > self.at + GAP && !self.sought {
                let skipped = Turn::Skipped { from: self.at, to: next.start };
                self.at = next.start;
                return Ok(skipped);
            }
            let (start, end) = (next.start, next.end);
            if !self.open(footage, camera, start)? {
                // Deleted meanwhile.
                self.at = self.at.max(end);
            }
        }
    }

    /// Opens the segment that begins at `start`; false when there is none any more.
    fn open(&mut self, footage: &Footage, camera: &CameraId, start: UtcMillis) -> Result<bool, FootageError> {
        let found = footage.segments(camera, start, start + Duration::from_millis(1));
        let Some(segment) = found.into_iter().find(|segment| segment.start == start) else { return Ok(false) };
        let reader = footage.open(&segment)?;
        let next = if self.sought { place_of(&segment.fragments, self.at) } else { 0 };
        self.sought = false;
        self.open = Some(Open { segment, reader, next });
        Ok(true)
    }

    /// Looks at an open segment again; true when there is something new to look at.
    fn renewed(&mut self, footage: &Footage, camera: &CameraId) -> Result<bool, FootageError> {
        let Some(Open { segment, next, .. }) = self.open.take() else { return Ok(true) };
        let (start, known) = (segment.start, segment.fragments.len());
        let found = footage.segments(camera, start, start + Duration::from_millis(1));
        let Some(fresh) = found.into_iter().find(|segment| segment.start == start) else { return Ok(true) };
        let is_new = fresh.closed || fresh.fragments.len() > known;
        let reader = footage.open(&fresh)?;
        self.open = Some(Open { segment: fresh, reader, next });
        Ok(is_new)
    }

    fn fragment(&mut self, number: usize) -> Result<Turn, FootageError> {
        let Some(open) = &mut self.open else { return Ok(Turn::NotYet) };
        open.next = number + 1;
        let mut fragment = open.reader.fragment(number)?;
        let wall = fragment.wall;
        let info = open.segment.fragments[number];
        let mut ticks = u64::from(info.duration);
        if self.key_frames_only {
            ticks = open.ticks_to_next_key(number);
            only_the_key(&mut fragment, ticks);
        }
        let end = wall + Duration::from_millis(ticks * 1000 / u64::from(VIDEO_TIMESCALE));
        self.at = self.at.max(end);
        let tracks = open.reader.tracks().clone();
        Ok(Turn::Fragment { tracks, fragment, wall })
    }
}

impl Open {
    fn next_wanted(&self, key_frames_only: bool) -> Option<usize> {
        let fragments = self.segment.fragments.iter().enumerate().skip(self.next);
        fragments.filter(|(_, info)| info.key || !key_frames_only).map(|(number, _)| number).next()
    }

    fn ticks_to_next_key(&self, number: usize) -> u64 {
        let fragments = &self.segment.fragments;
        let end = fragments.last().map_or(0, |last| last.start + u64::from(last.duration));
        let next = fragments.iter().skip(number + 1).find(|info| info.key).map_or(end, |info| info.start);
        next.saturating_sub(fragments[number].start)
    }
}

/// The fragment to begin with so that `at` can be shown: the last that begins with a key picture no later than it.
fn place_of(fragments: &[FragmentInfo], at: UtcMillis) -> usize {
    let before = fragments.iter().enumerate().filter(|(_, info)| info.key && info.wall <= at);
    before.map(|(number, _)| number).next_back().unwrap_or(0)
}

/// Leaves the key picture alone, shown until the next.
fn only_the_key(fragment: &mut Fragment, ticks: u64) {
    fragment.video.truncate(1);
    fragment.audio.clear();
    if let Some(key) = fragment.video.first_mut() {
        key.duration = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
    }
}
