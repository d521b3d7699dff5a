//! What a clip is made of: whole fragments, from the key picture at or before the wanted start.
//!
//! Fragments are never taken apart: each keeps the hash that the chain of the footage has signed. What they hold before
//! the wanted start and behind the wanted end is hidden by the clip's edit list.

use std::ops::Range;
use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// Ticks of video per millisecond: its timescale is 90 000.
const TICKS_PER_MS: u64 = 90;
/// Least time between two fragments that counts as missing. Below it lie the jitter of cameras and clocks.
pub const LEAST_GAP: Duration = Duration::from_millis(500);

/// One fragment of the recorded footage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which segment it is of.
    pub segment: usize,
    /// Its place in the segment.
    pub index: usize,
    /// Wall time of its first picture.
    pub wall: UtcMillis,
    /// Length in ticks of 1/90 000 s.
    pub ticks: u32,
    /// Whether it begins with a key picture.
    pub key: bool,
    /// Which codec parameters its segment has; the same number for the same ones.
    pub parameters: usize,
}

/// What a clip is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The pieces, by their place in the list given.
    pub pieces: Range<usize>,
    /// What was wanted and is not shown, in order.
    pub missing: Vec<Lack>,
}

/// A span that is not in the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// Its beginning.
    pub start: UtcMillis,
    /// Its end.
    pub end: UtcMillis,
    /// Why.
    pub why: Why,
}

/// Why a span is not in the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No footage exists of it.
    NoFootage,
    /// The camera had other codec parameters then, which do not fit into the same file.
    OtherParameters,
}

impl Piece {
    /// Wall time of its end.
    #[must_use]
    pub fn end(&self) -> UtcMillis {
        self.wall + Duration::from_millis(u64::from(self.ticks) / TICKS_PER_MS)
    }
}

/// Chooses the pieces of a clip from `start` to `end`, of footage in order of time; `None` when there is none.
///
/// When codec parameters change in between, the clip holds the part with the moment `about`, or else the longest part.
#[must_use]
pub fn cut(pieces: &[Piece], start: UtcMillis, end: UtcMillis, about: Option<UtcMillis>) -> Option<Cut> {
    let first = pieces.iter().position(|piece| piece.end() > start && piece.wall < end)?;
    let behind = pieces.iter().rposition(|piece| piece.end() > start && piece.wall < end)? + 1;
    let part = part_of_one_kind(pieces, first..behind, about);
    let from = key_before(pieces, part.start).or_else(|| part.clone().find(|&at| pieces[at].key))?;
    // A part that begins with no key picture, which a recorder does not make, is shown from its first one on.
    let anchor = from.max(part.start);
    let missing = missing(pieces, &(first..behind), &part, anchor, (start, end));
    Some(Cut { pieces: from..part.end, missing })
}

impl Cut {
    /// Milliseconds wanted and not shown.
    #[must_use]
    pub fn missing_ms(&self) -> u64 {
        let length = |lack: &Lack| u64::try_from(lack.end.since(lack.start).as_millis()).unwrap_or(u64::MAX);
        self.missing.iter().map(length).sum()
    }
}

/// The part of `wanted` with one set of codec parameters that holds `about`, or else most time.
fn part_of_one_kind(pieces: &[Piece], wanted: Range<usize>, about: Option<UtcMillis>) -> Range<usize> {
    let mut parts: Vec<Range<usize>> = vec![];
    for at in wanted.clone() {
        match parts.last_mut() {
            Some(part) if pieces[part.start].parameters == pieces[at].parameters => part.end = at + 1,
            _ => parts.push(at..at + 1),
        }
    }
    let holds = |part: &&Range<usize>| about.is_some_and(|about| pieces[part.end - 1].end() > about);
    let of_event = parts.iter().find(holds).cloned();
    of_event.or_else(|| parts.into_iter().rev().max_by_key(|part| sum(&pieces[part.clone()]))).unwrap_or(wanted)
}

/// The key piece from which `first` can be decoded: the last one at or before it in an unbroken run of its segment.
fn key_before(pieces: &[Piece], first: usize) -> Option<usize> {
    let mut at = first;
    while !pieces[at].key {
        let before = at.checked_sub(1)?;
        let follows = pieces[before].segment == pieces[at].segment && pieces[before].index + 1 == pieces[at].index;
        if !follows {
            return None;
        }
        at = before;
    }
    Some(at)
}

/// What lies between `start` and `end` and is not among the pieces shown: those of `part` from `anchor` on.
fn missing(
    pieces: &[Piece],
    found: &Range<usize>,
    part: &Range<usize>,
    anchor: usize,
    (start, end): (UtcMillis, UtcMillis),
) -> Vec<Lack> {
    let (mut lacks, mut through) = (vec![], start);
    for at in found.clone() {
        let piece = &pieces[at];
        if piece.wall >= through + LEAST_GAP {
            add(&mut lacks, through, piece.wall, Why::NoFootage);
            through = piece.wall;
        }
        let upto = piece.end().min(end);
        match (part.contains(&at), at >= anchor) {
            (true, true) => {}
            (true, false) => add(&mut lacks, through, upto, Why::NoFootage),
            (false, _) => add(&mut lacks, through, upto, Why::OtherParameters),
        }
        through = through.max(upto);
    }
    if end >= through + LEAST_GAP {
        add(&mut lacks, through, end, Why::NoFootage);
    }
    lacks
}

/// Adds a span, to the one before where it goes on.
fn add(lacks: &mut Vec<Lack>, start: UtcMillis, end: UtcMillis, why: Why) {
    match lacks.last_mut() {
        _ if end <= start => {}
        Some(last) if last.why == why && last.end == start => last.end = end,
        _ => lacks.push(Lack { start, end, why }),
    }
}

fn sum(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| u64::from(piece.ticks)).sum()
}

#[cfg(test)]
mod tests;
