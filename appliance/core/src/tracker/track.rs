//! One object over frames: what is known of it and whether it counts.

use std::time::Duration;

use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;

use super::kalman::BoxFilter;
use crate::detection::{ClassId, Detected, Tracked};

/// How long a track that does not count yet may go unseen: one missed frame at 5 frames per second.
const TENTATIVE_FOR: Duration = Duration::from_millis(250);

/// What remains of a class's weight from one box to the next: about ten boxes decide.
const VOTE_DECAY: f32 = 0.9;

/// Least overlap of the filter's box with the detector's at which their difference counts as jitter.
///
/// Follows from the filter's noise: a middle off by a twentieth and a size off by a tenth leave about this much. Beyond
/// it the object does what the filter did not expect, such as driving at the camera, and the detector is right.
const JITTER_OVERLAP: f32 = 0.8;

/// Where a track stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Seen too few times to be told to anyone.
    Tentative,
    /// Told, and seen in the last frame.
    Seen,
    /// Told, but not seen in the last frame.
    Lost,
}

#[derive(Debug, Clone)]
pub(super) struct Track {
    number: u64,
    phase: Phase,
    hits: u32,
    last_seen: MediaTime,
    filter: BoxFilter,
    /// The last box that was its own, as detected.
    last: Detected,
    /// Weight of each class it was taken for; the heaviest is its class.
    votes: Vec<(ClassId, f32)>,
    class: ClassId,
}

impl Track {
    pub(super) fn new(number: u64, at: MediaTime, seen: Detected) -> Self {
        Self {
            number,
            phase: Phase::Tentative,
            hits: 1,
            last_seen: at,
            filter: BoxFilter::new(seen.bbox),
            last: seen,
            votes: vec![(seen.class, seen.confidence)],
            class: seen.class,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn class(&self) -> ClassId {
        self.class
    }

    pub(super) fn filter(&self) -> &BoxFilter {
        &self.filter
    }

    /// The last box that was its own, as detected.
    pub(super) fn last_box(&self) -> PixelBox {
        self.last.bbox
    }

    /// Media time of its last box.
    pub(super) fn last_seen(&self) -> MediaTime {
        self.last_seen
    }

    /// Whether its last box is longer ago than `lost_after`.
    pub(super) fn is_over(&self, at: MediaTime, lost_after: Duration) -> bool {
        at.since(self.last_seen) > lost_after
    }

    /// Whether it found no second box in time and was nothing, to be asked after a frame was taken in.
    pub(super) fn was_nothing(&self, at: MediaTime) -> bool {
        self.phase == Phase::Tentative && at.since(self.last_seen) > TENTATIVE_FOR
    }

    pub(super) fn predict(&mut self, seconds: f64) {
        self.filter.predict(seconds);
    }

    pub(super) fn rescale(&mut self, horizontal: f64, vertical: f64) {
        self.filter.rescale(horizontal, vertical);
    }

    /// Takes in its box of this frame.
    pub(super) fn see(&mut self, at: MediaTime, seen: Detected, confirm_hits: u32) {
        self.filter.correct(seen.bbox);
        self.hits = self.hits.saturating_add(1);
        self.last_seen = at;
        self.last = seen;
        self.vote(seen);
        if self.hits >= confirm_hits {
            self.phase = Phase::Seen;
        }
    }

    /// Goes without a box in this frame.
    pub(super) fn miss(&mut self) {
        self.filter.stop_growing();
        if self.phase == Phase::Seen {
            self.phase = Phase::Lost;
        }
    }

    /// What is told of it for a frame in which it was seen: the filter's box, which jitters less than the detector's,
    /// unless it lags behind.
    pub(super) fn report(&self, frame: FrameSize) -> Tracked {
        let [x1, y1, x2, y2] = self.filter.corners().map(|corner| corner as f32);
        let smooth = PixelBox::new(x1, y1, x2, y2).ok().and_then(|bbox| bbox.clipped(frame));
        let smooth = smooth.filter(|bbox| bbox.iou(self.last.bbox) >= JITTER_OVERLAP);
        Tracked {
            track: self.number,
            class: self.class,
            confidence: self.last.confidence,
            bbox: smooth.unwrap_or(self.last.bbox),
        }
    }

    /// Lets the heaviest class win: detectors waver between alike classes, and a truck that is a car in every third
    /// frame must not be two things to the zones.
    fn vote(&mut self, seen: Detected) {
        for (_, weight) in &mut self.votes {
            *weight *= VOTE_DECAY;
        }
        match self.votes.iter_mut().find(|(class, _)| *class == seen.class) {
            Some((_, weight)) => *weight += seen.confidence,
            None => self.votes.push((seen.class, seen.confidence)),
        }
        let heaviest = self.votes.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best });
        self.class = heaviest.map_or(seen.class, |(class, _)| class);
    }
}
