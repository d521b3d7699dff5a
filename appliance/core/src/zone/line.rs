//! Lines: who crosses them, which way, and how many have.
//!
//! Seen from a line's first point towards its second, `left_to_right` is the way from the left hand to the right hand:
//! with the first point at the bottom of the picture and the second at the top, from the left of the picture to the
//! right. In numbers (y downwards): the side of a point p is the sign of
//! `(to.x - from.x) * (p.y - from.y) - (to.y - from.y) * (p.x - from.x)`, below zero for left, above for right.
//!
//! - A crossing is a change of side on the straight way between two joined sights that passes between the ends. Past
//!   the ends it is none.
//! - An object exactly on the line is still on the side it came from. So touching the line and going back is no
//!   crossing, and one that runs along the line crosses where it leaves it for the other side.
//! - The first end belongs to the line, the second does not: where lines are drawn end to end in one direction, the
//!   way through their shared point crosses one of them.
//! - A crossing counts when the object has stayed on the other side for the debounce time. One that is back before, on
//!   whatever way, has not crossed. A track that ends before has not either.

use std::time::Duration;

use aivms_contract::desired::{Line, LineDirection};
use aivms_contract::geometry::Point;
use aivms_contract::time::MediaTime;
use aivms_contract::why::{Check, Gate};
use aivms_contract::zone_event::{Direction, ZoneEventType};

use super::Move;
use super::filter::{Admission, yes_or_no};
use super::hours::Hours;
use super::journal::{Rule, Scribe, Turn};
use super::presence::Moves;
use super::step::{Spot, Step, turn as turn_of};
use super::why::Causes;
use crate::schedule::SiteZone;
use crate::tracks::Sight;

/// A line made ready.
#[derive(Debug)]
pub(super) struct JudgedLine {
    pub(super) line: Line,
    rule: Rule,
    hours: Option<Hours>,
    /// Crossings told, from left to right and from right to left.
    counts: [u32; 2],
}

/// What is kept of one track at one line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineCell {
    side: Option<Side>,
    crossing: Option<Crossing>,
    causes: Causes,
}

impl LineCell {
    /// As it stands under a rule that has changed: what it stops is worth telling anew.
    pub(super) fn with_new_rule(self) -> Self {
        Self { causes: Causes::default(), ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A crossing that has not lasted long enough yet.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    at: MediaTime,
    direction: Direction,
    shown: Sight,
}

impl JudgedLine {
    pub(super) fn new(index: usize, line: &Line, labels: &[String], site: &SiteZone) -> Self {
        let rule = Rule {
            id: line.id.clone(),
            index,
            admission: Admission::new(&line.classes, &line.filters, labels),
            scheduled: line.schedule.is_some(),
            debounce: Duration::from_millis(line.debounce_ms.get()),
        };
        let hours = line.schedule.as_ref().map(|schedule| Hours::new(schedule, site));
        Self { line: line.clone(), rule, hours, counts: [0, 0] }
    }

    /// Whether the count goes on there.
    pub(super) fn lies_as(&self, other: &Self) -> bool {
        let key = |line: &Line| (line.id.clone(), line.anchor, line.from, line.to);
        key(&self.line) == key(&other.line)
    }

    pub(super) fn take_counts(&mut self, of: &Self) {
        self.counts = of.counts;
    }

    /// Counts a crossing that is told; gives the number in its direction.
    pub(super) fn count(&mut self, direction: Direction) -> u32 {
        let count = &mut self.counts[usize::from(direction == Direction::RightToLeft)];
        *count = count.saturating_add(1);
        *count
    }

    /// Takes the first sight of a track.
    pub(super) fn admit(&self, spot: &Spot, cell: &mut LineCell) {
        cell.side = self.side(spot.point(self.line.anchor));
    }

    /// Takes the way of a track from one sight to the next.
    pub(super) fn follow(&mut self, step: &Step, cell: &mut LineCell, turn: &mut Turn) {
        let (from, to) = (step.from.point(self.line.anchor), step.to.point(self.line.anchor));
        let changed = self.side(to).filter(|side| Some(*side) != cell.side);
        if let Some(side) = changed
            && cell.side.replace(side).is_some()
        {
            self.change_side(step, (from, to), side, cell, turn);
        }
        self.settle(step.now, cell, turn);
    }

    /// Ends a track.
    pub(super) fn end(&mut self, last: MediaTime, cell: &mut LineCell, turn: &mut Turn) {
        self.go_back(last, cell, turn);
    }

    fn change_side(
        &mut self,
        step: &Step,
        (from, to): (Point, Point),
        side: Side,
        cell: &mut LineCell,
        turn: &mut Turn,
    ) {
        let part = self.part(from, to);
        let at = if step.joined { step.time_at(part) } else { step.before };
        self.settle(at, cell, turn);
        if cell.crossing.is_some() {
            return self.go_back(at, cell, turn);
        }
        if step.joined && self.passes_between_ends((from, to), side) {
            let direction = match side {
                Side::Right => Direction::LeftToRight,
                Side::Left => Direction::RightToLeft,
            };
            cell.crossing = Some(Crossing { at, direction, shown: *step.shown });
        }
    }

    /// Counts a crossing that has lasted by `now`.
    fn settle(&mut self, now: MediaTime, cell: &mut LineCell, turn: &mut Turn) {
        if let Some(crossing) = cell.crossing.filter(|crossing| now.since(crossing.at) >= self.rule.debounce) {
            cell.crossing = None;
            self.decide(crossing, now, cell, turn);
        }
    }

    fn decide(&mut self, crossing: Crossing, now: MediaTime, cell: &mut LineCell, turn: &mut Turn) {
        let Crossing { at, direction, shown } = crossing;
        let is_open = self.hours.as_mut().is_none_or(|hours| hours.is_open(at, turn.clock));
        let mut why = self.rule.explain(turn.looks, is_open);
        if let (Some(asked), true) = (self.direction_check(direction), passed(&why)) {
            why.push(asked);
        }
        let mut scribe = self.scribe(cell, turn);
        if passed(&why) {
            why.extend(scribe.rule.debounce_check(now.since(at), true));
            scribe.journal.notes.made((scribe.track, scribe.rule.index), scribe.causes, ZoneEventType::Cross);
            scribe.push(at, Move::Cross { direction }, &shown, why);
        } else {
            scribe.stop(at, ZoneEventType::Cross, why);
        }
    }

    /// Undoes a crossing that did not last.
    fn go_back(&mut self, until: MediaTime, cell: &mut LineCell, turn: &mut Turn) {
        if let Some(crossing) = cell.crossing.take() {
            let lasted = until.since(crossing.at);
            self.scribe(cell, turn).wavered(crossing.at, ZoneEventType::Cross, &crossing.shown, lasted);
        }
    }

    fn direction_check(&self, direction: Direction) -> Option<Check> {
        let asked = match self.line.direction {
            LineDirection::Both => return None,
            LineDirection::LeftToRight => Direction::LeftToRight,
            LineDirection::RightToLeft => Direction::RightToLeft,
        };
        Some(yes_or_no(Gate::Direction, direction == asked))
    }

    fn scribe<'a>(&'a self, cell: &'a mut LineCell, turn: &'a mut Turn) -> Scribe<'a> {
        let Turn { track, looks, journal, .. } = turn;
        Scribe { rule: &self.rule, track: *track, looks, causes: &mut cell.causes, journal, overlap: None, speed: None }
    }

    /// The side of the line, drawn on for ever, that a point is on; `None` on the line.
    fn side(&self, point: Point) -> Option<Side> {
        let side = turn_of(self.line.from, self.line.to, point);
        if side == 0.0 { None } else { Some(if side > 0.0 { Side::Right } else { Side::Left }) }
    }

    /// The part of the way at which it changes sides.
    fn part(&self, from: Point, to: Point) -> f64 {
        let (before, after) = (turn_of(self.line.from, self.line.to, from), turn_of(self.line.from, self.line.to, to));
        let part = before / (before - after);
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 1.0 }
    }

    /// Whether the way to `side` meets the line between its ends. Looked at from left to right, whichever way it goes,
    /// so that there and back are judged alike.
    fn passes_between_ends(&self, (from, to): (Point, Point), side: Side) -> bool {
        let (left, right) = if side == Side::Right { (from, to) } else { (to, from) };
        turn_of(left, right, self.line.from) >= 0.0 && turn_of(left, right, self.line.to) < 0.0
    }
}

fn passed(why: &[Check]) -> bool {
    why.last().is_none_or(|check| check.passed)
}
