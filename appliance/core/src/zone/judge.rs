//! What a zone makes of a track's way in the hours in which it judges.

use aivms_contract::desired::Anchor;
use aivms_contract::time::MediaTime;
use aivms_contract::why::Gate;
use aivms_contract::zone_event::{ExitReason, ZoneEventType};

use super::area::Area;
use super::journal::{Rule, Scribe, Turn};
use super::presence::{Change, Presence, Times};
use super::speed::Speedometer;
use super::step::{Spot, Step};
use super::why::Causes;
use crate::tracks::Sight;

/// Rounding of a share of a box.
const SAME_SHARE: f64 = 1e-9;
/// What is kept of one track in one zone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    pub(super) presence: Presence,
    causes: Causes,
}

impl Cell {
    /// As it stands under a rule that has changed: what it stops is worth telling anew.
    pub(super) fn with_new_rule(self) -> Self {
        Self { causes: Causes::default(), ..self }
    }
}

/// The parts of a zone that do not change while it judges.
#[derive(Debug)]
pub(super) struct ZoneJudge {
    pub(super) rule: Rule,
    pub(super) area: Area,
    pub(super) anchor: Anchor,
    /// The part of a box that must be inside, for the anchor `overlap`.
    pub(super) min_share: f64,
    pub(super) times: Times,
    pub(super) speed: Option<Speedometer>,
}

impl ZoneJudge {
    /// Takes a place at which the track is judged for the first time.
    pub(super) fn meet(&self, spot: &Spot, at: MediaTime, shown: &Sight, cell: &mut Cell, turn: &mut Turn) {
        match self.rule.admission.stopped_by(turn.looks) {
            Some(gate) => self.refuse(spot, at, gate, cell, turn),
            None if self.is_too_slow(spot, at, cell, turn) => {}
            None => self.begin(spot, at, shown, cell, turn),
        }
    }

    /// Takes a way in open hours.
    pub(super) fn pass(&self, step: &Step, cell: &mut Cell, turn: &mut Turn) {
        if !cell.presence.is_open()
            && !self.rule.admission.admits(turn.looks)
            && let Some(gate) = self.rule.admission.stopped_by(turn.looks)
        {
            return self.refuse(&step.to, step.now, gate, cell, turn);
        }
        if self.is_too_slow(&step.to, step.now, cell, turn) {
            return;
        }
        let Some(was_inside) = cell.presence.was_inside() else {
            return self.begin(&step.to, step.now, step.shown, cell, turn);
        };
        match self.anchor {
            Anchor::Overlap => self.judge_share(step, was_inside, cell, turn),
            Anchor::BottomCenter | Anchor::Center => self.judge_point(step, was_inside, cell, turn),
        }
    }

    fn begin(&self, spot: &Spot, at: MediaTime, shown: &Sight, cell: &mut Cell, turn: &mut Turn) {
        let (is_inside, overlap) = self.look(spot);
        let Cell { presence, causes } = cell;
        presence.begin(is_inside, at, shown);
        let mut scribe = self.scribe(overlap, causes, turn);
        presence.settle(at, shown, &self.times, &mut scribe);
        if !is_inside {
            scribe.note_overlap(at);
        }
    }

    fn judge_point(&self, step: &Step, was_inside: bool, cell: &mut Cell, turn: &mut Turn) {
        let (from, to) = (step.from.point(self.anchor), step.to.point(self.anchor));
        let (inside, meets) = match !was_inside && self.area.is_clear_of(from, to) {
            true => (false, false),
            false => self.area.look(from, to),
        };
        let Cell { presence, causes } = cell;
        if meets && step.joined {
            let mut flips = std::mem::take(turn.flips);
            self.area.flips((from, was_inside), (to, inside), &mut flips);
            for part in &flips {
                let at = step.time_at(*part);
                let change = Change { at, lasts_since: at, shown: *step.shown };
                presence.flip(change, &self.times, &mut self.scribe(None, causes, turn));
            }
            *turn.flips = flips;
        } else if inside != was_inside {
            self.flip_somewhere(step, inside, 1.0, None, cell, turn);
        }
        let Cell { presence, causes } = cell;
        presence.settle(step.now, step.shown, &self.times, &mut self.scribe(None, causes, turn));
    }

    /// The share of a box inside is taken to change evenly between two sights.
    fn judge_share(&self, step: &Step, was_inside: bool, cell: &mut Cell, turn: &mut Turn) {
        let share = |spot: &Spot| self.area.share(spot.low, spot.high);
        let to = share(&step.to);
        let (inside, overlap) = (self.is_enough(to), Some((to, self.min_share)));
        if inside != was_inside {
            let from = share(&step.from);
            let part = (self.min_share - from) / (to - from);
            let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 1.0 };
            self.flip_somewhere(step, inside, part, overlap, cell, turn);
        }
        let Cell { presence, causes } = cell;
        let mut scribe = self.scribe(overlap, causes, turn);
        presence.settle(step.now, step.shown, &self.times, &mut scribe);
        if !inside {
            scribe.note_overlap(step.now);
        }
    }

    /// Takes one change of side on the way: at `part` of it, or where it was last known when a long gap hides it.
    fn flip_somewhere(
        &self,
        step: &Step,
        inside: bool,
        part: f64,
        overlap: Option<(f64, f64)>,
        cell: &mut Cell,
        turn: &mut Turn,
    ) {
        let (at, lasts_since) = match (step.joined, inside) {
            (true, _) => (step.time_at(part), step.time_at(part)),
            (false, true) => (step.now, step.now),
            (false, false) => (step.before, step.now),
        };
        let Cell { presence, causes } = cell;
        let change = Change { at, lasts_since, shown: *step.shown };
        presence.flip(change, &self.times, &mut self.scribe(overlap, causes, turn));
    }

    /// Takes a place at which `gate` keeps the track from being judged; noted when it is inside.
    pub(super) fn refuse(&self, spot: &Spot, at: MediaTime, gate: Gate, cell: &mut Cell, turn: &mut Turn) {
        cell.presence = Presence::Unjudged;
        let mut scribe = self.scribe(None, &mut cell.causes, turn);
        if !scribe.asks_for(gate, ZoneEventType::Enter) || !self.look(spot).0 {
            return;
        }
        let why = self.rule.explain(scribe.looks, gate != Gate::Schedule);
        // Nobody asks about an object of another class outside the hours.
        if why.last().is_some_and(|last| last.gate == gate && !last.passed) {
            scribe.stop(at, ZoneEventType::Enter, why);
        }
    }

    /// Keeps a track from entering that is not as fast as the zone asks for; says whether it does.
    fn is_too_slow(&self, spot: &Spot, at: MediaTime, cell: &mut Cell, turn: &mut Turn) -> bool {
        let Some(meter) = self.speed.as_ref().filter(|meter| meter.is_gate() && !cell.presence.is_open()) else {
            return false;
        };
        let is_entering = cell.presence.was_inside() == Some(true);
        let Some(stopped) = meter.of(turn.path).too_slow(is_entering) else { return false };
        cell.presence = Presence::Unjudged;
        let (is_inside, overlap) = self.look(spot);
        let mut scribe = self.scribe(overlap, &mut cell.causes, turn);
        // One whose speed is not known yet is asked again at its next sight.
        if let Some(check) = stopped.filter(|_| is_inside && scribe.asks_for(Gate::Speed, ZoneEventType::Enter)) {
            let why = scribe.passed().into_iter().filter(|check| check.gate != Gate::Speed).chain([check]).collect();
            scribe.stop(at, ZoneEventType::Enter, why);
        }
        true
    }

    /// Takes that the schedule has closed.
    pub(super) fn close(&self, at: MediaTime, shown: &Sight, cell: &mut Cell, turn: &mut Turn) {
        if cell.presence.was_inside().is_some() {
            self.end(at, ExitReason::ScheduleEnded, shown, cell, turn);
        }
    }

    pub(super) fn end(&self, at: MediaTime, reason: ExitReason, shown: &Sight, cell: &mut Cell, turn: &mut Turn) {
        let presence = std::mem::take(&mut cell.presence);
        presence.end(at, reason, shown, &mut self.scribe(None, &mut cell.causes, turn));
    }

    /// Whether a place is inside, with the share of the box and its least where that decides.
    fn look(&self, spot: &Spot) -> (bool, Option<(f64, f64)>) {
        if self.anchor == Anchor::Overlap {
            let share = self.area.share(spot.low, spot.high);
            return (self.is_enough(share), Some((share, self.min_share)));
        }
        let point = spot.point(self.anchor);
        (!self.area.is_clear_of(point, point) && self.area.contains(point), None)
    }

    fn is_enough(&self, share: f64) -> bool {
        share >= self.min_share - SAME_SHARE
    }

    fn scribe<'a>(&'a self, overlap: Option<(f64, f64)>, causes: &'a mut Causes, turn: &'a mut Turn) -> Scribe<'a> {
        let Turn { track, looks, path, journal, .. } = turn;
        let speed = self.speed.as_ref().map(|meter| meter.of(path));
        Scribe { rule: &self.rule, track: *track, looks, causes, journal, overlap, speed }
    }
}
