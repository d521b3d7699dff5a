//! Other rules for the same tracks.

use aivms_contract::time::MediaClock;
use aivms_contract::zone_event::ExitReason;

use super::judge::Cell;
use super::judged::JudgedZone;
use super::line::{JudgedLine, LineCell};
use super::{Rulings, Turn, ZoneEngine, judged};
use crate::rules::CameraRules;

impl ZoneEngine {
    /// Judges by other rules from now on. Stays in zones whose outline, anchor and classes are unchanged go on, with
    /// all else as it is now, and so do the counts of lines with unchanged ends; the other stays are closed.
    pub fn replace_rules(&mut self, rules: &CameraRules, labels: &[String]) -> Rulings {
        let (zones, lines) = judged(rules, labels);
        let find_zone = |new: &JudgedZone| self.zones.iter().position(|old| old.judges_same_as(new));
        let find_line = |new: &JudgedLine| self.lines.iter().position(|old| old.lies_as(new));
        let kept_zones: Vec<_> = zones.iter().map(find_zone).collect();
        let kept_lines: Vec<_> = lines.iter().map(find_line).collect();
        let mut rulings = match self.clock {
            Some(clock) => self.close_others(&kept_zones, clock),
            // Without a frame since the last end there are no tracks, so no stays.
            None => Rulings::default(),
        };
        self.take_over(&mut rulings, zones, &kept_zones);
        self.take_over_lines(lines, &kept_lines);
        self.has_schedules = self.zones.iter().any(JudgedZone::is_scheduled);
        self.has_ground = self.zones.iter().any(JudgedZone::has_ground);
        rulings
    }

    /// Closes the stays in zones that are not kept, and tells every note: the questions are others now.
    fn close_others(&mut self, kept: &[Option<usize>], clock: MediaClock) -> Rulings {
        let width = self.zones.len();
        let is_dropped = |index: usize| !kept.contains(&Some(index));
        let Self { journal, flips, zones, cells, places, tracks, paths, .. } = self;
        for (row, place) in places.iter().enumerate() {
            let mut turn = Turn { track: tracks[row], looks: &place.looks, path: &paths[row], clock, journal, flips };
            let row = zones.iter().zip(&mut cells[row * width..]).enumerate();
            for (_, (zone, cell)) in row.filter(|(index, _)| is_dropped(*index)) {
                zone.end(place.sight.at, ExitReason::ZoneChanged, &place.sight, cell, &mut turn);
            }
        }
        self.journal.notes.end_all();
        let mut rulings = self.conclude();
        let (mut told, now) = (vec![], self.now);
        for (index, zone) in self.zones.iter_mut().enumerate().filter(|(index, _)| is_dropped(*index)) {
            zone.tally.end(now, |one| told.push((index, one)));
        }
        self.tell(&told, &mut rulings.made);
        rulings
    }

    fn take_over(&mut self, rulings: &mut Rulings, zones: Vec<JudgedZone>, kept: &[Option<usize>]) {
        let (width, before) = (self.zones.len(), std::mem::replace(&mut self.zones, zones));
        let mut told = vec![];
        for (index, (zone, old)) in self.zones.iter_mut().zip(kept).enumerate() {
            if let Some(old) = *old {
                let (tally, occupancy) = (before[old].tally.clone(), zone.zone.occupancy);
                zone.tally = tally.with_limit(occupancy, self.now, |one| told.push((index, one)));
            }
        }
        self.tell(&told, &mut rulings.made);
        let rows = (0..self.tracks.len()).map(|row| &self.cells[row * width..(row + 1) * width]);
        let cell = |row: &[Cell], old: &Option<usize>| old.map_or_else(Cell::default, |old| row[old].with_new_rule());
        self.cells = rows.flat_map(|row| kept.iter().map(move |old| cell(row, old))).collect();
    }

    fn take_over_lines(&mut self, lines: Vec<JudgedLine>, kept: &[Option<usize>]) {
        let (width, before) = (self.lines.len(), std::mem::replace(&mut self.lines, lines));
        for (line, old) in self.lines.iter_mut().zip(kept) {
            if let Some(old) = *old {
                line.take_counts(&before[old]);
            }
        }
        let rows = (0..self.tracks.len()).map(|row| &self.line_cells[row * width..(row + 1) * width]);
        let cell = |row: &[LineCell], old: &Option<usize>| old.map(|old| row[old].with_new_rule()).unwrap_or_default();
        self.line_cells = rows.flat_map(|row| kept.iter().map(move |old| cell(row, old))).collect();
        for (row, place) in self.places.iter().enumerate() {
            let cells = self.line_cells[row * self.lines.len()..].iter_mut();
            let new = self.lines.iter().zip(cells).zip(kept).filter(|(_, old)| old.is_none());
            new.for_each(|((line, cell), _)| line.admit(&place.spot, cell));
        }
    }
}
