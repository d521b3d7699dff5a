//! One track from its first sight to its end: how sure it is, what it is, whether it rests, what was said of it.

use std::time::Duration;

use aivms_contract::detection::TrackPhase;
use aivms_contract::time::MediaTime;

use super::kind::Kinds;
use super::rest::{Motion, Place, Stillness};
use super::{EndedTrack, Report, Sight, TrackSettings};
use crate::detection::ClassId;

/// Most evidence a track gathers for its class, in summed confidence: about ten contrary sights then rename it.
const MOST_EVIDENCE: f32 = 5.0;

/// A track that has not ended.
#[derive(Debug)]
pub(super) struct LiveTrack {
    /// The tracker's number; `None` for one at rest whose number went to another object.
    pub(super) tracker: Option<u64>,
    pub(super) number: u64,
    pub(super) first_at: MediaTime,
    pub(super) last: Sight,
    pub(super) sights: u32,
    pub(super) class: ClassVote,
    pub(super) still: Stillness,
    /// The sight that woke it, until that is reported.
    pub(super) woke: Option<Sight>,
    pub(super) reporting: Reporting,
}

/// What was said of a track.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reporting {
    /// Not seen often enough to be real.
    Unconfirmed,
    /// Real, and its `Start` is owed.
    Owed,
    /// Last reported with this sight, as at rest or not.
    Reported(Sight, bool),
}

/// What a track is, by weight of evidence, so that one odd frame does not rename it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClassVote {
    pub(super) class: ClassId,
    pub(super) evidence: f32,
}

impl LiveTrack {
    pub(super) fn new(number: u64, sight: Sight) -> Self {
        Self {
            tracker: Some(sight.object.track),
            number,
            first_at: sight.at,
            last: sight,
            sights: 0,
            class: ClassVote { class: sight.object.class, evidence: 0.0 },
            still: Stillness::new(&sight),
            woke: None,
            reporting: Reporting::Unconfirmed,
        }
    }

    pub(super) fn see(&mut self, mut sight: Sight, settings: &TrackSettings, seen: &mut Vec<(u64, Sight)>) {
        self.class.hear(sight.object.class, sight.object.confidence);
        sight.object.class = self.class.class;
        match self.still.see(&sight, &settings.rest) {
            Motion::Free => {}
            Motion::Resting(held) => sight.object.bbox = held.bbox,
            Motion::Doubtful => return,
            Motion::Woke(first) => {
                self.woke = Some(first);
                seen.push((self.number, first));
            }
        }
        self.last = sight;
        seen.push((self.number, sight));
        self.sights = self.sights.saturating_add(1);
        let long_enough = self.sights >= 2 && self.age() >= settings.confirm_after;
        if self.sights >= settings.confirm_sights || long_enough {
            self.confirm();
        }
    }

    pub(super) fn confirm(&mut self) {
        if matches!(self.reporting, Reporting::Unconfirmed) {
            self.reporting = Reporting::Owed;
        }
    }

    /// Whether it was not seen for too long. One that was about to leave its place rests again instead.
    pub(super) fn is_over(&mut self, now: MediaTime, settings: &TrackSettings, kinds: &Kinds) -> bool {
        let unseen = now.since(self.last.at);
        if unseen > settings.lost_after && !self.still.is_resting() {
            self.still.settle_back(&self.last);
        }
        let stays = self.still.is_resting() && !kinds.walks(self.class.class);
        unseen > if stays { settings.rest.remember } else { settings.lost_after }
    }

    /// What stands where, for one at rest.
    pub(super) fn stand(&self) -> (ClassId, Place) {
        (self.class.class, Place::of(&self.last))
    }

    pub(super) fn report(&mut self, settings: &TrackSettings) -> Option<Report> {
        let resting = self.still.is_resting();
        let (phase, sight) = match self.reporting {
            Reporting::Unconfirmed => return None,
            Reporting::Owed => (TrackPhase::Start, self.last),
            Reporting::Reported(last, rested) => {
                let is_due = if resting {
                    !rested || self.is_due(last, settings.rest.report_every)
                } else {
                    self.has_news(last, settings)
                };
                let woke = self.woke.filter(|_| rested && !resting);
                (is_due || woke.is_some()).then_some((TrackPhase::Update, woke.unwrap_or(self.last)))?
            }
        };
        self.woke = None;
        self.reporting = Reporting::Reported(sight, resting);
        Some(Report { number: self.number, phase, sight, age: sight.at.since(self.first_at), stationary: resting })
    }

    pub(super) fn has_news(&self, last: Sight, settings: &TrackSettings) -> bool {
        let moved = self.last.frame != last.frame || self.last.object.bbox.iou(last.object.bbox) < settings.moved_iou;
        self.is_due(last, settings.report_every) || (moved && self.is_due(last, settings.moved_every))
    }

    pub(super) fn is_due(&self, last: Sight, every: Duration) -> bool {
        self.last.at.since(last.at) >= every
    }

    pub(super) fn end(self) -> EndedTrack {
        let heard_of = matches!(self.reporting, Reporting::Reported(..));
        let stationary = self.still.is_resting();
        let report =
            Report { number: self.number, phase: TrackPhase::End, sight: self.last, age: self.age(), stationary };
        EndedTrack { number: self.number, report: heard_of.then_some(report) }
    }

    pub(super) fn age(&self) -> Duration {
        self.last.at.since(self.first_at)
    }
}

impl ClassVote {
    pub(super) fn hear(&mut self, class: ClassId, confidence: f32) {
        let weight = confidence.max(0.0);
        if class == self.class {
            self.evidence = (self.evidence + weight).min(MOST_EVIDENCE);
        } else if weight > self.evidence {
            *self = Self { class, evidence: weight - self.evidence };
        } else {
            self.evidence -= weight;
        }
    }
}
