//! Which wall time is shown when in a clip.

use std::ops::Range;
use std::time::Duration;

use aivms_contract::time::UtcMillis;

use super::Piece;
use crate::fragment::FragmentHead;
use crate::times::MAX_REORDER;
use crate::track::{VIDEO_TIMESCALE, ticks_to_millis};

/// Fragments whose wall times fit within this many milliseconds are one span: cameras' clocks tremble.
const GAP_MILLIS: i64 = 200;

/// Which wall time is shown when.
#[derive(Debug, Clone)]
pub(crate) struct TimeMap {
    /// In order.
    runs: Vec<Run>,
    /// First and last tick of showing that is not hidden.
    pub(crate) shown: Range<i64>,
    start_wall: UtcMillis,
}

/// What is shown of one fragment before the next one's first picture is.
#[derive(Debug, Clone)]
struct Run {
    /// Ticks in the clip at which its first picture is decoded.
    decoded: i64,
    /// Ticks in the clip at which its first picture is shown, and at which the next fragment's is.
    ticks: Range<i64>,
    /// Wall time of its first picture shown.
    wall: UtcMillis,
}

impl Run {
    fn wall_end(&self) -> UtcMillis {
        self.wall + millis(self.ticks.end - self.ticks.start)
    }

    /// Ticks at which a wall time within the run is shown.
    fn at(&self, wall: UtcMillis) -> i64 {
        let passed = u64::try_from(wall.since(self.wall).as_millis()).unwrap_or(u64::MAX);
        let ticks = i64::try_from(passed.saturating_mul(u64::from(VIDEO_TIMESCALE) / 1000)).unwrap_or(i64::MAX);
        self.ticks.start.saturating_add(ticks).min(self.ticks.end)
    }
}

impl TimeMap {
    /// The map of `pieces` played one after the other, of which `wanted` is shown. `None` without pieces.
    pub(crate) fn new(pieces: &[Piece], wanted: &Range<UtcMillis>) -> Option<Self> {
        let runs = runs(pieces);
        let (first, last) = (runs.first()?.ticks.start, runs.last()?.ticks.end);
        let mut map = Self { runs, shown: first..last, start_wall: pieces.first()?.head.wall };
        let (from, wall) = map.picture_at(pieces, wanted.start)?;
        let until = map.ticks_of(wanted.end).clamp(from + 1, last.max(from + 1));
        (map.shown, map.start_wall) = (from..until, wall);
        Some(map)
    }

    pub(crate) fn start_wall(&self) -> UtcMillis {
        self.start_wall
    }

    pub(crate) fn duration(&self) -> Duration {
        millis(self.shown.end - self.shown.start)
    }

    pub(crate) fn offset_of(&self, wall: UtcMillis) -> Duration {
        millis(self.ticks_of(wall).clamp(self.shown.start, self.shown.end) - self.shown.start)
    }

    /// The spans of wall time that are shown.
    pub(crate) fn spans(&self) -> Vec<Range<UtcMillis>> {
        let mut spans: Vec<Range<UtcMillis>> = Vec::new();
        for run in &self.runs {
            let ticks = run.ticks.start.max(self.shown.start)..run.ticks.end.min(self.shown.end);
            if ticks.is_empty() {
                continue;
            }
            let wall = |ticks: i64| run.wall + millis(ticks - run.ticks.start);
            let span = wall(ticks.start)..wall(ticks.end);
            match spans.last_mut() {
                Some(last) if (span.start.as_millis() - last.end.as_millis()).abs() <= GAP_MILLIS => {
                    last.end = span.end;
                }
                _ => spans.push(span),
            }
        }
        spans
    }

    /// Ticks of showing of a wall time; of the video behind a gap for a time within.
    fn ticks_of(&self, wall: UtcMillis) -> i64 {
        let at = self.runs.partition_point(|run| run.wall <= wall);
        let Some(run) = at.checked_sub(1).and_then(|at| self.runs.get(at)) else {
            return self.runs.first().map_or(0, |run| run.ticks.start);
        };
        let next = self.runs.get(at).map(|run| run.ticks.start);
        if wall < run.wall_end() { run.at(wall).min(next.unwrap_or(i64::MAX)) } else { next.unwrap_or(run.ticks.end) }
    }

    /// The picture on the screen at a wall time: the tick at which it appears, and the wall time of that.
    fn picture_at(&self, pieces: &[Piece], wall: UtcMillis) -> Option<(i64, UtcMillis)> {
        let ticks = self.ticks_of(wall);
        let at = self.runs.iter().rposition(|run| run.ticks.start <= ticks).unwrap_or(0);
        let run = self.runs.get(at)?;
        // Pictures shown now may have been decoded a few fragments ago, where fragments are of single pictures.
        let near = (at.saturating_sub(MAX_REORDER)..=at).filter_map(|at| self.runs.get(at).zip(pieces.get(at)));
        let shown = near.flat_map(|(run, piece)| times(&piece.head).map(|pts| pts + run.decoded));
        // Half a millisecond of tolerance: wall times are whole milliseconds.
        let latest = ticks + i64::from(VIDEO_TIMESCALE) / 2000;
        let from = shown.filter(|pts| (run.ticks.start..=latest).contains(pts)).max().unwrap_or(run.ticks.start);
        Some((from, run.wall + millis(from - run.ticks.start)))
    }
}

/// The runs of `pieces` played one after the other.
fn runs(pieces: &[Piece]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(pieces.len());
    let mut decoded = 0;
    for (at, piece) in pieces.iter().enumerate() {
        let first = decoded + shown_first(&piece.head);
        let end = decoded + i64::from(piece.head.duration());
        if let Some(last) = runs.last_mut()
            && pieces.get(at - 1).is_some_and(|before| piece.continues(before))
        {
            last.ticks.end = first.max(last.ticks.start);
        }
        runs.push(Run { decoded, ticks: first..end.max(first), wall: piece.head.wall });
        decoded = end;
    }
    runs
}

/// Times of showing of a fragment's pictures, in ticks from its first decode time.
fn times(head: &FragmentHead) -> impl Iterator<Item = i64> {
    let mut dts = 0;
    head.video.iter().map(move |picture| {
        let pts = dts + i64::from(picture.composition);
        dts += i64::from(picture.duration);
        pts
    })
}

/// When its first picture is shown, in ticks from its first decode time.
fn shown_first(head: &FragmentHead) -> i64 {
    times(head).min().unwrap_or(0)
}

fn millis(ticks: i64) -> Duration {
    Duration::from_millis(ticks_to_millis(u64::try_from(ticks).unwrap_or(0), VIDEO_TIMESCALE))
}
