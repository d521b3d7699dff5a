//! Tracks against zones on media time: enter, exit, dwell.
//!
//! Everything follows from the frames' own timestamps, so late, dropped or repeated frames move an event by at most
//! one sample interval, and the same input gives the same events. The rules:
//!
//! - An object is where its anchor point is, in fractions of the frame. A point on or beyond the frame's edge counts
//!   as just inside the frame, so that a zone drawn to the edge holds those whom the edge cuts off.
//! - Between two sights of a track it moves on a straight line at even speed; each meeting with the boundary is a
//!   change of side at its own time. A path through a zone between two sights outside is therefore a visit.
//!   Sights further apart than [`ZoneSettings::interpolate_up_to`] are not joined: then an object entered when it was
//!   first seen inside and left when it was last seen inside.
//! - A change of side counts when it has lasted the zone's debounce time; the event carries the time of the change.
//!   A shorter one did not happen.
//! - A track first seen inside entered then. A track that ends inside leaves at its last sight; one last seen outside
//!   left when it crossed, however short that was ago.
//! - Dwell is at exactly enter plus the dwell time, at most once per stay; stays do not add up. It needs a sight that
//!   shows that the object was inside until then.
//! - The class filter decides who may enter. Who is inside stays until seen outside, whatever it is called meanwhile.
//! - When zones are replaced, a stay in a zone whose outline, anchor and classes are the same goes on; any other is
//!   closed at the last sight with [`ExitReason::ZoneChanged`], and a track inside the new outline enters anew.

mod area;
mod presence;

use std::time::Duration;

use aivms_contract::desired::{Anchor, Zone};
use aivms_contract::geometry::Point;
use aivms_contract::id::ZoneId;
use aivms_contract::time::MediaTime;
use aivms_contract::zone_event::ExitReason;

use self::area::Area;
use self::presence::{Change, Presence, Rules};
use crate::detection::ClassId;
use crate::tracks::Sight;

/// How far inside the frame a point on its edge is taken to be, in fractions of the frame.
const EDGE_INSET: f64 = 1e-6;

/// How the zone engine joins sights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneSettings {
    /// Longest time between two sights of a track that is taken as a straight path.
    pub interpolate_up_to: Duration,
}

impl Default for ZoneSettings {
    fn default() -> Self {
        Self { interpolate_up_to: Duration::from_secs(1) }
    }
}

/// What a track did in a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneTransition {
    /// When, interpolated between sights.
    pub at: MediaTime,
    /// Place of the zone in the camera's list.
    pub zone: usize,
    /// The zone.
    pub zone_id: ZoneId,
    /// The track, by its number in the [`crate::tracks::TrackBook`].
    pub track: u64,
    /// What it did.
    pub what: Move,
    /// The sight that showed it.
    pub shown: Sight,
}

/// A move of a track against a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It came in.
    Enter,
    /// It has been inside for the zone's dwell time.
    Dwell {
        /// That time.
        after: Duration,
    },
    /// It went out or ended inside.
    Exit {
        /// Time since it came in.
        stay: Duration,
        /// How the stay ended.
        reason: ExitReason,
    },
}

/// Judges the tracks of one camera against its zones.
///
/// State lies flat: one row of presences per track, rows in order of track numbers.
#[derive(Debug)]
pub struct ZoneEngine {
    settings: ZoneSettings,
    zones: Vec<JudgedZone>,
    tracks: Vec<u64>,
    places: Vec<Place>,
    presences: Vec<Presence>,
    /// Kept for its memory only.
    flips: Vec<f64>,
}

#[derive(Debug)]
struct JudgedZone {
    zone: Zone,
    area: Area,
    rules: Rules,
    /// Whether each class may enter, by class id; empty for all.
    classes: Vec<bool>,
}

/// Where a track was last seen.
#[derive(Debug, Clone, Copy)]
struct Place {
    sight: Sight,
    anchors: Anchors,
}

#[derive(Debug, Clone, Copy)]
struct Anchors {
    bottom_center: Point,
    center: Point,
}

impl ZoneEngine {
    /// Takes a camera's zones; `labels` names the classes of its detector by their ids.
    #[must_use]
    pub fn new(zones: &[Zone], labels: &[String], settings: ZoneSettings) -> Self {
        let zones = zones.iter().map(|zone| JudgedZone::new(zone, labels)).collect();
        Self { settings, zones, tracks: vec![], places: vec![], presences: vec![], flips: vec![] }
    }

    /// Takes one sight of a track and adds what it decides to `out`.
    ///
    /// Sights of a track must come in order of media time; one that does not is ignored. Order the transitions of a
    /// whole frame with [`sort_transitions`].
    pub fn observe(&mut self, track: u64, sight: &Sight, out: &mut Vec<ZoneTransition>) {
        let anchors = Anchors::of(sight);
        match self.tracks.binary_search(&track) {
            Ok(row) => self.follow(row, sight, anchors, out),
            Err(row) => self.admit(row, track, sight, anchors, out),
        }
    }

    /// Takes the end of a track: its stays end with it.
    pub fn end_track(&mut self, track: u64, out: &mut Vec<ZoneTransition>) {
        let Ok(row) = self.tracks.binary_search(&track) else { return };
        let last = self.places[row].sight;
        let first = row * self.zones.len();
        let presences = self.presences.drain(first..first + self.zones.len());
        for (index, (zone, presence)) in self.zones.iter().zip(presences).enumerate() {
            presence.end(&last, ExitReason::TrackLost, &mut zone.emit(index, track, out));
        }
        self.tracks.remove(row);
        self.places.remove(row);
    }

    /// Judges by other zones from now on. Stays in zones whose outline, anchor and classes are unchanged go on, with
    /// the new dwell and debounce times; the other stays are closed in `out`.
    pub fn replace_zones(&mut self, zones: &[Zone], labels: &[String], out: &mut Vec<ZoneTransition>) {
        let zones: Vec<_> = zones.iter().map(|zone| JudgedZone::new(zone, labels)).collect();
        let kept: Vec<_> = zones.iter().map(|new| self.zones.iter().position(|old| old.judges_same_as(new))).collect();
        let width = self.zones.len();
        let mut presences = Vec::with_capacity(self.tracks.len() * zones.len());
        for (row, (&track, place)) in self.tracks.iter().zip(&self.places).enumerate() {
            let before = &self.presences[row * width..(row + 1) * width];
            presences.extend(kept.iter().map(|old| old.map_or(Presence::Unjudged, |old| before[old])));
            for (index, presence) in before.iter().enumerate().filter(|(index, _)| !kept.contains(&Some(*index))) {
                let mut emit = self.zones[index].emit(index, track, out);
                presence.end(&place.sight, ExitReason::ZoneChanged, &mut emit);
            }
        }
        self.zones = zones;
        self.presences = presences;
    }

    fn admit(&mut self, row: usize, track: u64, sight: &Sight, anchors: Anchors, out: &mut Vec<ZoneTransition>) {
        let first = row * self.zones.len();
        self.tracks.insert(row, track);
        self.places.insert(row, Place { sight: *sight, anchors });
        self.presences.splice(first..first, std::iter::repeat_n(Presence::Unjudged, self.zones.len()));
        for (index, zone) in self.zones.iter().enumerate().filter(|(_, zone)| zone.admits(sight.object.class)) {
            zone.begin(anchors, sight, &mut self.presences[first + index], &mut zone.emit(index, track, out));
        }
    }

    fn follow(&mut self, row: usize, sight: &Sight, anchors: Anchors, out: &mut Vec<ZoneTransition>) {
        let Place { sight: before, anchors: from } = self.places[row];
        if sight.at <= before.at {
            return;
        }
        let step = Step { before: before.at, from, sight, to: anchors, joined: self.joins(before.at, sight.at) };
        let first = row * self.zones.len();
        let presences = &mut self.presences[first..first + self.zones.len()];
        for (index, (zone, presence)) in self.zones.iter().zip(presences).enumerate() {
            if !presence.is_open() && !zone.admits(sight.object.class) {
                *presence = Presence::Unjudged;
                continue;
            }
            zone.judge(&step, presence, &mut self.flips, &mut zone.emit(index, self.tracks[row], out));
        }
        self.places[row] = Place { sight: *sight, anchors };
    }

    fn joins(&self, before: MediaTime, now: MediaTime) -> bool {
        now.since(before) <= self.settings.interpolate_up_to
    }
}

/// Puts the transitions of one frame in their order: by media time, then the zone's place, then the track.
pub fn sort_transitions(transitions: &mut [ZoneTransition]) {
    transitions.sort_by_key(|transition| (transition.at, transition.zone, transition.track));
}

/// One track's way from one sight to the next.
struct Step<'a> {
    before: MediaTime,
    from: Anchors,
    sight: &'a Sight,
    to: Anchors,
    /// Whether the sights are close enough for a straight line between them.
    joined: bool,
}

impl JudgedZone {
    fn new(zone: &Zone, labels: &[String]) -> Self {
        let classes = match zone.classes.is_empty() {
            true => vec![],
            false => labels.iter().map(|label| zone.classes.contains(label)).collect(),
        };
        let rules = Rules {
            debounce: Duration::from_millis(zone.debounce_ms.get()),
            dwell: zone.dwell_ms.as_slice().first().map(|dwell| Duration::from_millis(dwell.get())),
        };
        Self { zone: zone.clone(), area: Area::new(&zone.polygon), rules, classes }
    }

    fn judges_same_as(&self, other: &Self) -> bool {
        let key = |zone: &JudgedZone| (zone.zone.id.clone(), zone.zone.anchor, zone.zone.classes.clone());
        key(self) == key(other) && self.zone.polygon == other.zone.polygon
    }

    fn admits(&self, class: ClassId) -> bool {
        self.zone.classes.is_empty() || self.classes.get(usize::from(class)).is_some_and(|&admitted| admitted)
    }

    fn begin(&self, anchors: Anchors, sight: &Sight, presence: &mut Presence, moves: &mut impl presence::Moves) {
        presence.begin(self.area.contains(anchors.get(self.zone.anchor)), sight);
        presence.settle(sight, self.rules, moves);
    }

    fn judge(&self, step: &Step, presence: &mut Presence, flips: &mut Vec<f64>, moves: &mut impl presence::Moves) {
        let Some(was_inside) = presence.was_inside() else {
            return self.begin(step.to, step.sight, presence, moves);
        };
        let (from, to) = (step.from.get(self.zone.anchor), step.to.get(self.zone.anchor));
        let (inside, meets) = match !was_inside && self.area.is_clear_of(from, to) {
            true => (false, false),
            false => self.area.look(from, to),
        };
        if meets || inside != was_inside {
            if step.joined {
                self.area.flips((from, was_inside), (to, inside), flips);
                for part in flips.iter() {
                    let at = step.time_at(*part);
                    presence.flip(Change { at, lasts_since: at, shown: *step.sight }, self.rules, moves);
                }
            } else if inside != was_inside {
                let at = if inside { step.sight.at } else { step.before };
                presence.flip(Change { at, lasts_since: step.sight.at, shown: *step.sight }, self.rules, moves);
            }
        }
        presence.settle(step.sight, self.rules, moves);
    }

    fn emit<'a>(&'a self, zone: usize, track: u64, out: &'a mut Vec<ZoneTransition>) -> impl presence::Moves {
        move |at, what, shown: &Sight| {
            out.push(ZoneTransition { at, zone, zone_id: self.zone.id.clone(), track, what, shown: *shown });
        }
    }
}

impl Step<'_> {
    /// Media time at a part, 0 to 1, of the way.
    fn time_at(&self, part: f64) -> MediaTime {
        self.before + self.sight.at.since(self.before).mul_f64(part)
    }
}

impl Anchors {
    fn of(sight: &Sight) -> Self {
        let inset = |point: Point| Point {
            x: point.x.clamp(EDGE_INSET, 1.0 - EDGE_INSET),
            y: point.y.clamp(EDGE_INSET, 1.0 - EDGE_INSET),
        };
        let (bbox, frame) = (sight.object.bbox, sight.frame);
        Self { bottom_center: inset(bbox.bottom_center(frame)), center: inset(bbox.center(frame)) }
    }

    fn get(&self, anchor: Anchor) -> Point {
        match anchor {
            Anchor::BottomCenter => self.bottom_center,
            Anchor::Center | Anchor::Overlap => self.center,
        }
    }
}

#[cfg(test)]
mod tests;
