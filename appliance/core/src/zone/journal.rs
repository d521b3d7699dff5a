//! Where zones and lines write down what they decide, with the reasons.

use std::time::Duration;

use aivms_contract::id::ZoneId;
use aivms_contract::time::{MediaClock, MediaTime};
use aivms_contract::why::{Check, Gate};
use aivms_contract::zone_event::{ExitReason, ZoneEventType};

use super::filter::{Admission, Looks, check, yes_or_no};
use super::presence::Moves;
use super::speed::Speed;
use super::why::{Cause, Causes, Key, Notes, Stopped};
use super::{Move, ZoneTransition};
use crate::ground::FootPath;
use crate::tracks::Sight;

/// What is decided in one turn, in no order yet.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) made: Vec<ZoneTransition>,
    pub(super) notes: Notes,
}

/// What zones and lines have in common.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) id: ZoneId,
    /// Place among the camera's zones and, after them, lines.
    pub(super) index: usize,
    pub(super) admission: Admission,
    /// Whether it has a schedule.
    pub(super) scheduled: bool,
    pub(super) debounce: Duration,
}

/// One track in one turn.
pub(super) struct Turn<'a> {
    pub(super) track: u64,
    pub(super) looks: &'a Looks,
    pub(super) path: &'a FootPath,
    pub(super) clock: MediaClock,
    pub(super) journal: &'a mut Journal,
    /// Kept for its memory only.
    pub(super) flips: &'a mut Vec<f64>,
}

/// Writes what one rule decides about one track.
pub(super) struct Scribe<'a> {
    pub(super) rule: &'a Rule,
    pub(super) track: u64,
    pub(super) looks: &'a Looks,
    pub(super) causes: &'a mut Causes,
    pub(super) journal: &'a mut Journal,
    /// The part of the box inside and its least, for a zone that asks for it.
    pub(super) overlap: Option<(f64, f64)>,
    /// Measured when it is asked for, in a zone that knows the ground.
    pub(super) speed: Option<Speed<'a>>,
}

impl Rule {
    /// The questions of class, filters and schedule, up to the first that is not passed.
    pub(super) fn explain(&self, looks: &Looks, is_open: bool) -> Vec<Check> {
        let mut why = vec![];
        self.admission.explain(looks, &mut why);
        if self.scheduled && why.last().is_none_or(|check| check.passed) {
            why.push(yes_or_no(Gate::Schedule, is_open));
        }
        why
    }

    pub(super) fn debounce_check(&self, lasted: Duration, passed: bool) -> Option<Check> {
        (!self.debounce.is_zero()).then(|| check(Gate::Debounce, passed, millis(lasted), millis(self.debounce)))
    }
}

impl Scribe<'_> {
    fn key(&self) -> Key {
        (self.track, self.rule.index)
    }

    /// Whether a stop by this gate is of interest.
    pub(super) fn asks_for(&self, gate: Gate, event: ZoneEventType) -> bool {
        self.journal.notes.asks_for(self.key(), *self.causes, Cause::new(gate, event))
    }

    /// Notes that the last of `why` stopped an event.
    pub(super) fn stop(&mut self, at: MediaTime, event: ZoneEventType, why: Vec<Check>) {
        let (key, class) = (self.key(), self.looks.class);
        let Some(gate) = why.last().map(|check| check.gate) else { return };
        let stopped = Stopped { at, zone_id: Some(self.rule.id.clone()), track: self.track, class, event, why };
        self.journal.notes.stop(key, self.causes, Cause::new(gate, event), stopped);
    }

    /// Notes that some of the box is inside, but not enough. Of a track that was inside before nobody asks.
    pub(super) fn note_overlap(&mut self, at: MediaTime) {
        let Some((share, least)) = self.overlap.filter(|(share, _)| *share > 0.0) else { return };
        if self.asks_for(Gate::Overlap, ZoneEventType::Enter) {
            let mut why = self.rule.explain(self.looks, true);
            if why.iter().all(|check| check.passed) {
                why.push(check(Gate::Overlap, false, share, least));
                self.stop(at, ZoneEventType::Enter, why);
            }
        }
    }

    pub(super) fn push(&mut self, at: MediaTime, what: Move, shown: &Sight, why: Vec<Check>) {
        let (zone, zone_id, track) = (self.rule.index, self.rule.id.clone(), self.track);
        let (shown, speed_kmh) = (*shown, self.speed.and_then(Speed::kmh));
        let made = ZoneTransition { at, zone, zone_id, track, what, shown, count: None, speed_kmh, why };
        self.journal.made.push(made);
    }

    /// Questions that an object inside has passed.
    pub(super) fn passed(&self) -> Vec<Check> {
        let mut why = self.rule.explain(self.looks, true);
        why.extend(self.overlap.map(|(value, limit)| check(Gate::Overlap, true, value, limit)));
        why.extend(self.speed.and_then(Speed::passed));
        why
    }
}

impl Moves for Scribe<'_> {
    fn made(&mut self, at: MediaTime, what: Move, shown: &Sight, lasted: Duration) {
        let why = match what {
            Move::Enter => {
                let mut why = self.passed();
                why.extend(self.rule.debounce_check(lasted, true));
                self.journal.notes.made((self.track, self.rule.index), self.causes, ZoneEventType::Enter);
                why
            }
            Move::Dwell { after } => vec![check(Gate::Dwell, true, millis(lasted), millis(after))],
            Move::Exit { reason: ExitReason::Left, .. } => {
                self.journal.notes.made((self.track, self.rule.index), self.causes, ZoneEventType::Exit);
                // Of a track that ended outside it is known that it left, however short that was ago.
                self.rule.debounce_check(lasted, true).filter(|_| lasted >= self.rule.debounce).into_iter().collect()
            }
            Move::Exit { .. } | Move::Cross { .. } | Move::Occupied | Move::Cleared => vec![],
        };
        self.push(at, what, shown, why);
    }

    fn wavered(&mut self, at: MediaTime, event: ZoneEventType, _shown: &Sight, lasted: Duration) {
        if self.rule.debounce.is_zero() || !self.asks_for(Gate::Debounce, event) {
            return;
        }
        let mut why = if event == ZoneEventType::Exit { vec![] } else { self.passed() };
        why.extend(self.rule.debounce_check(lasted, false));
        // Who no longer passes what comes before was not stopped by the debounce time.
        if why.iter().rev().skip(1).all(|check| check.passed) {
            self.stop(at, event, why);
        }
    }
}

pub(super) fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1000.0).round()
}
