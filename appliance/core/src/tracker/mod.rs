//! Joins boxes of successive frames into tracks, in the manner of ByteTrack.
//!
//! ByteTrack (arXiv 2110.06864) pairs the detector's confident boxes first and then lets the unsure ones continue what
//! is already followed, never start something. Three things differ here, because an edge looks at 5 frames a second
//! and drops some: every span is media time instead of a count of frames; the filter's noise grows with the time
//! between frames; and tracks whose speed is not known yet are paired by distance in deviations, since at 5 frames a
//! second the first two boxes of a runner or a car do not overlap.
//!
//! How good it is beside ByteTrack, norfair, SORT and OC-SORT, how its constants were chosen, and where it is weak:
//! `docs/ref/tracking.md`.

mod assignment;
mod association;
mod kalman;
mod track;

use std::time::Duration;

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;

use crate::detection::{Detected, Tracked};
use association::Association;
use track::{Phase, Track};

/// Boxes from which on a track counts.
const CONFIRM_HITS: u32 = 2;

/// Most tracks at a time; new objects beyond are not followed.
///
/// Three times what a crowded street gives, and few enough that a detector gone mad costs milliseconds a frame.
const MAX_TRACKS: usize = 512;

/// Share of the confidence that starts a track from which on a box may continue one.
const LOW_SHARE: f32 = 0.6;

/// What a tracker counts as an object and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackerSettings {
    /// Confidence, 0 to 1, from which on a box may start a track.
    pub high_confidence: f32,
    /// Confidence from which on a box may continue a track that was seen in the frame before.
    ///
    /// The detector's output must be decoded down to this, or the tracker has nothing to bridge weak frames with.
    pub low_confidence: f32,
    /// Media time after its last box at which a track ends; back within it, an object keeps its number.
    pub lost_after: Duration,
}

impl TrackerSettings {
    /// The settings for a site that counts boxes of `confidence` and more as objects.
    #[must_use]
    pub fn for_confidence(confidence: f32) -> Self {
        Self { high_confidence: confidence, low_confidence: confidence * LOW_SHARE, ..Self::default() }
    }

    /// The same for a camera analysed at `fps` frames per second: a track outlives at least three intervals, as in
    /// [`AnalysisSettings::for_rate`](crate::analysis::AnalysisSettings::for_rate). Otherwise, below 2 frames per
    /// second, each frame would end what the last one began, and nothing would ever be seen.
    #[must_use]
    pub fn at_rate(self, fps: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / fps).unwrap_or_default();
        Self { lost_after: self.lost_after.max(interval.saturating_mul(3)), ..self }
    }
}

impl Default for TrackerSettings {
    fn default() -> Self {
        Self { high_confidence: 0.5, low_confidence: 0.5 * LOW_SHARE, lost_after: Duration::from_secs(2) }
    }
}

/// Follows the objects of one camera along its media timeline.
#[derive(Debug, Clone)]
pub struct Tracker {
    settings: TrackerSettings,
    tracks: Vec<Track>,
    /// The number of the next new track; numbers are never used twice.
    next_number: u64,
    last: Option<(MediaTime, FrameSize)>,
}

impl Tracker {
    /// Starts without tracks; the first track gets the number 1.
    #[must_use]
    pub fn new(settings: TrackerSettings) -> Self {
        Self { settings, tracks: Vec::new(), next_number: 1, last: None }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &TrackerSettings {
        &self.settings
    }

    /// Takes the boxes of a frame and tells which track each belongs to, ordered by track number.
    ///
    /// Reports tracks that were seen in this frame and in at least one before; a box of low confidence that continues
    /// no track is not reported. Boxes are the filter's, which lie between the prediction and the detector's box. The
    /// class is the one the track was taken for most in its latest boxes.
    ///
    /// Frames come in the order of their time. A time before that of the last frame means a new timeline: all tracks
    /// end. A change of the frame's size does not: the same picture comes in another resolution.
    pub fn update(&mut self, pts: MediaTime, frame: FrameSize, detections: &[Detected]) -> Vec<Tracked> {
        self.advance(pts, frame);
        let found = Association::new(pts, &self.settings, &mut self.tracks, detections).run();
        self.tracks.retain(|track| !track.was_nothing(pts));
        let seen = self.tracks.iter().filter(|track| track.phase() == Phase::Seen);
        let reports = seen.map(|track| track.report(frame)).collect();
        for seen in found {
            self.start(pts, seen);
        }
        reports
    }

    /// Brings the tracks to the time and size of a frame.
    fn advance(&mut self, pts: MediaTime, frame: FrameSize) {
        let Some((last, size)) = self.last.replace((pts, frame)) else { return };
        if pts < last {
            self.tracks.clear();
        }
        self.tracks.retain(|track| !track.is_over(pts, self.settings.lost_after));
        if size != frame {
            let factor = |now: u32, before: u32| f64::from(now.max(1)) / f64::from(before.max(1));
            let (horizontal, vertical) = (factor(frame.width, size.width), factor(frame.height, size.height));
            self.tracks.iter_mut().for_each(|track| track.rescale(horizontal, vertical));
        }
        let seconds = pts.since(last).as_secs_f64();
        self.tracks.iter_mut().for_each(|track| track.predict(seconds));
    }

    fn start(&mut self, pts: MediaTime, seen: Detected) {
        if self.tracks.len() < MAX_TRACKS {
            self.tracks.push(Track::new(self.next_number, pts, seen));
            self.next_number += 1;
        }
    }
}

#[cfg(test)]
mod tests;
