//! Tracks against zones and lines on media time: enter, exit, dwell, cross, occupied, cleared.
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
//! - With the anchor `overlap` it is inside when enough of the visible part of its box is. Between two sights that
//!   part is taken to change evenly; a visit between two sights outside is not noticed.
//! - A change of side counts when it has lasted the zone's debounce time; the event carries the time of the change.
//!   A shorter one did not happen.
//! - A track first seen inside entered then. A track that ends inside leaves at its last sight; one last seen outside
//!   left when it crossed, however short that was ago.
//! - Each dwell time is told at exactly enter plus that time, once per stay; stays do not add up. It needs a sight
//!   that shows that the object was inside until then.
//! - Classes and filters decide who may enter; filters by means over the last half second or so, not by one frame.
//!   Who is inside stays until seen outside, whatever it looks like meanwhile.
//! - A zone that knows the ground tells speeds and may ask for one, see [`speed`].
//! - Outside its schedule a zone is not judged. Who is inside when it opens enters then; stays end when it closes,
//!   with [`ExitReason::ScheduleEnded`]. A line's crossing counts when it happened in the schedule.
//! - When rules are replaced, a stay in a zone whose outline, anchor and classes are the same goes on, and so does the
//!   count of a line with the same ends. Any other stay is closed at the last sight with
//!   [`ExitReason::ZoneChanged`], and a track inside the new outline enters anew.
//!
//! The rules of lines are in [`line`], those of occupancy in [`occupancy`], those of reasons in [`why`].

mod area;
mod filter;
mod hours;
mod ignore;
mod journal;
mod judge;
mod judged;
mod line;
mod occupancy;
mod outcome;
mod overlap;
mod presence;
mod replace;
mod speed;
mod step;
mod why;

use std::time::Duration;

use aivms_contract::time::{MediaClock, MediaTime};
use aivms_contract::zone_event::ExitReason;

use self::filter::Looks;
pub use self::ignore::{Ignored, LeftOut};
use self::journal::{Journal, Turn};
use self::judge::Cell;
use self::judged::JudgedZone;
use self::line::{JudgedLine, LineCell};
use self::occupancy::Told;
pub use self::outcome::{Move, Rulings, ZoneTransition};
use self::step::{Spot, Step};
pub use self::why::Stopped;
use crate::ground::FootPath;
use crate::rules::CameraRules;
use crate::tracks::Sight;

/// How the zone engine joins sights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneSettings {
    /// Longest time between two sights of a track that is taken as a straight path.
    pub interpolate_up_to: Duration,
    /// A track not seen for longer than this that has not ended is an object at rest.
    pub lost_after: Duration,
}

impl Default for ZoneSettings {
    fn default() -> Self {
        Self { interpolate_up_to: Duration::from_secs(1), lost_after: Duration::from_secs(2) }
    }
}

/// Judges the tracks of one camera against its zones and lines.
///
/// State lies flat: one row of cells per track, rows in order of track numbers.
#[derive(Debug)]
pub struct ZoneEngine {
    settings: ZoneSettings,
    zones: Vec<JudgedZone>,
    lines: Vec<JudgedLine>,
    has_schedules: bool,
    has_ground: bool,
    tracks: Vec<u64>,
    places: Vec<Place>,
    /// Where the tracks' feet were; empty where no zone knows the ground.
    paths: Vec<FootPath>,
    cells: Vec<Cell>,
    line_cells: Vec<LineCell>,
    journal: Journal,
    /// Media time of the newest frame.
    now: MediaTime,
    clock: Option<MediaClock>,
    /// Kept for its memory only.
    flips: Vec<f64>,
}

/// Where a track was last seen, and what it looks like.
#[derive(Debug, Clone, Copy)]
struct Place {
    sight: Sight,
    spot: Spot,
    looks: Looks,
}

impl ZoneEngine {
    /// Takes a camera's rules; `labels` names the classes of its detector by their ids.
    #[must_use]
    pub fn new(rules: &CameraRules, labels: &[String], settings: ZoneSettings) -> Self {
        let (zones, lines) = judged(rules, labels);
        Self {
            settings,
            has_schedules: zones.iter().any(JudgedZone::is_scheduled),
            has_ground: zones.iter().any(JudgedZone::has_ground),
            zones,
            lines,
            tracks: vec![],
            places: vec![],
            paths: vec![],
            cells: vec![],
            line_cells: vec![],
            journal: Journal::default(),
            now: MediaTime::ZERO,
            clock: None,
            flips: vec![],
        }
    }

    /// Takes a frame: the tracks that have ended by it, and those seen, each in order of media time.
    ///
    /// A sight that is not later than the one before of its track is ignored.
    pub fn on_frame(
        &mut self,
        (now, clock): (MediaTime, MediaClock),
        ended: impl IntoIterator<Item = u64>,
        seen: &[(u64, Sight)],
    ) -> Rulings {
        (self.now, self.clock) = (now, Some(clock));
        ended.into_iter().for_each(|track| self.end_track(track, clock));
        for (track, sight) in seen {
            let spot = Spot::of(sight);
            match self.tracks.binary_search(track) {
                Ok(row) => self.follow(row, sight, spot, clock),
                Err(row) => self.admit(row, *track, sight, spot, clock),
            }
        }
        if self.has_schedules {
            self.close_unseen(clock);
        }
        self.conclude()
    }

    /// Takes the end of the timeline, and with it that of the tracks that are left.
    pub fn on_end(&mut self, ended: impl IntoIterator<Item = u64>) -> Rulings {
        let Some(clock) = self.clock.take() else { return Rulings::default() };
        ended.into_iter().for_each(|track| self.end_track(track, clock));
        self.journal.notes.end_all();
        let mut rulings = self.conclude();
        let (mut told, now) = (vec![], self.now);
        for (index, zone) in self.zones.iter_mut().enumerate() {
            zone.tally.end(now, |one| told.push((index, one)));
        }
        self.tell(&told, &mut rulings.made);
        self.now = MediaTime::ZERO;
        rulings
    }

    fn admit(&mut self, row: usize, track: u64, sight: &Sight, spot: Spot, clock: MediaClock) {
        let looks = Looks::of(&sight.object, sight.frame);
        let (first, first_line) = (row * self.zones.len(), row * self.lines.len());
        self.tracks.insert(row, track);
        self.places.insert(row, Place { sight: *sight, spot, looks });
        self.paths.insert(row, FootPath::default());
        if self.has_ground {
            self.paths[row].push(sight);
        }
        self.cells.splice(first..first, std::iter::repeat_n(Cell::default(), self.zones.len()));
        self.line_cells.splice(first_line..first_line, std::iter::repeat_n(LineCell::default(), self.lines.len()));
        let Self { journal, flips, zones, lines, paths, .. } = self;
        let mut turn = Turn { track, looks: &looks, path: &paths[row], clock, journal, flips };
        for (zone, cell) in zones.iter_mut().zip(&mut self.cells[first..]) {
            zone.admit(&spot, sight, cell, &mut turn);
        }
        for (line, cell) in lines.iter().zip(&mut self.line_cells[first_line..]) {
            line.admit(&spot, cell);
        }
    }

    fn follow(&mut self, row: usize, sight: &Sight, to: Spot, clock: MediaClock) {
        let Place { sight: last, spot: from, mut looks } = self.places[row];
        if sight.at <= last.at {
            return;
        }
        let gap = sight.at.since(last.at);
        let joined = gap <= self.settings.interpolate_up_to;
        looks.follow(Looks::of(&sight.object, sight.frame), gap.as_secs_f64());
        let step = Step { before: last.at, from, now: sight.at, to, joined, shown: sight };
        let (first, first_line) = (row * self.zones.len(), row * self.lines.len());
        if self.has_ground {
            self.paths[row].push(sight);
        }
        let Self { journal, flips, zones, lines, paths, .. } = self;
        let mut turn = Turn { track: self.tracks[row], looks: &looks, path: &paths[row], clock, journal, flips };
        for (zone, cell) in zones.iter_mut().zip(&mut self.cells[first..]) {
            zone.follow(&step, cell, &mut turn);
        }
        for (line, cell) in lines.iter_mut().zip(&mut self.line_cells[first_line..]) {
            line.follow(&step, cell, &mut turn);
        }
        self.places[row] = Place { sight: *sight, spot: to, looks };
    }

    fn end_track(&mut self, track: u64, clock: MediaClock) {
        let Ok(row) = self.tracks.binary_search(&track) else { return };
        let Place { sight: last, looks, .. } = self.places[row];
        let (first, first_line) = (row * self.zones.len(), row * self.lines.len());
        let path = self.paths.remove(row);
        let Self { journal, flips, zones, lines, .. } = self;
        let mut turn = Turn { track, looks: &looks, path: &path, clock, journal, flips };
        let cells = self.cells.drain(first..first + zones.len());
        for (zone, mut cell) in zones.iter().zip(cells) {
            zone.end(last.at, ExitReason::TrackLost, &last, &mut cell, &mut turn);
        }
        let cells = self.line_cells.drain(first_line..first_line + lines.len());
        for (line, mut cell) in lines.iter_mut().zip(cells) {
            line.end(last.at, &mut cell, &mut turn);
        }
        self.journal.notes.end_track(track);
        self.tracks.remove(row);
        self.places.remove(row);
    }

    /// Closes stays of objects at rest that nobody has seen for long: their next sight may be hours away.
    fn close_unseen(&mut self, clock: MediaClock) {
        let (width, now, lost_after) = (self.zones.len(), self.now, self.settings.lost_after);
        let Self { journal, flips, zones, cells, places, tracks, paths, .. } = self;
        for (row, place) in places.iter().enumerate().filter(|(_, place)| now.since(place.sight.at) > lost_after) {
            let mut turn = Turn { track: tracks[row], looks: &place.looks, path: &paths[row], clock, journal, flips };
            for (zone, cell) in zones.iter_mut().zip(&mut cells[row * width..]) {
                zone.close_unseen(&place.sight, now, cell, &mut turn);
            }
        }
    }

    /// Puts what the turn has brought in order and counts it.
    fn conclude(&mut self) -> Rulings {
        let mut made = std::mem::take(&mut self.journal.made);
        sort(&mut made);
        let mut told = vec![];
        for transition in &mut made {
            let index = transition.zone;
            transition.count = match transition.what {
                Move::Enter | Move::Exit { .. } => {
                    Some(self.zones[index].tally.take(transition, |one| told.push((index, one))))
                }
                Move::Cross { direction } => Some(self.lines[index - self.zones.len()].count(direction)),
                Move::Dwell { .. } | Move::Occupied | Move::Cleared => None,
            };
        }
        for (index, zone) in self.zones.iter_mut().enumerate() {
            let unsettled = zone.debounce();
            zone.tally.settle(self.now, unsettled, |one| told.push((index, one)));
        }
        self.tell(&told, &mut made);
        Rulings { made, stopped: self.journal.notes.tell(self.now) }
    }

    /// Adds to `made` what was told of occupancies.
    fn tell(&self, told: &[(usize, Told)], made: &mut Vec<ZoneTransition>) {
        if told.is_empty() {
            return;
        }
        made.extend(told.iter().map(|(index, told)| self.zones[*index].transition(told)));
        sort(made);
    }
}

/// By media time, then the zone's place, then the track; what of one track is at the same time keeps its order.
fn sort(made: &mut [ZoneTransition]) {
    made.sort_by_key(|transition| (transition.at, transition.zone, transition.track));
}

fn judged(rules: &CameraRules, labels: &[String]) -> (Vec<JudgedZone>, Vec<JudgedLine>) {
    let site = &rules.time_zone;
    let zone = |(index, zone)| JudgedZone::new(index, zone, labels, site);
    let line = |(index, line)| JudgedLine::new(rules.zones.len() + index, line, labels, site);
    (rules.zones.iter().enumerate().map(zone).collect(), rules.lines.iter().enumerate().map(line).collect())
}

#[cfg(test)]
mod tests;
