//! The ledger of one camera's video: which spans have none, whose fault each is, and how much of a day was recorded.
//!
//! Every moment counts once: as video, or as part of a gap with one cause. [`Ledger`] takes spans that were recorded
//! and, in between, word of what went wrong; it holds up to [`Ledger::accounted`], and what it tells are the messages
//! for the cloud. The same input gives the same messages.
//!
//! - What is missing between two pictures of up to [`SHORTEST_GAP`] is no gap: frames jitter, segments are cut.
//! - A gap is told while it lasts, as soon as its cause is sure and it has lasted [`TOLD_AFTER`], and once more when it
//!   is over. A gap is named by its beginning: what is told later of it replaces what was told before.
//! - A gap with one cause after another is told as one gap for each.
//! - A stream that just stops may be the camera or the network: the next attempt to connect shows which.
//! - A clock that is put back makes no gap, and what is recorded twice counts once. One that is put back by more than
//!   [`FURTHEST_BACK`] begins anew there.
//!
//! Recorders that draw gaps as empty timeline leave their users to find out (frigate #3910, lightNVR #601).

mod cause;
mod day;

use std::time::Duration;

use aivms_contract::footage::{Continuity, FootageEvent, Gap, GapCause};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

pub use self::cause::Cause;
use self::cause::{Causes, Piece};
use self::day::Day;
use crate::schedule::SiteZone;

/// What is missing up to here is no gap.
pub const SHORTEST_GAP: Duration = Duration::from_secs(1);
/// A gap that lasts this long is told before it is over.
pub const TOLD_AFTER: Duration = Duration::from_secs(10);
/// A gap whose cause is not sure is told after this: an attempt to connect fails within 10 s, after a short wait.
pub const TOLD_UNSURE_AFTER: Duration = Duration::from_secs(30);
/// A clock put back by more than this makes the ledger begin anew.
pub const FURTHEST_BACK: Duration = Duration::from_secs(3600);

/// What is known of one camera's video up to now; it is kept over restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// All time up to here is accounted for.
    accounted: UtcMillis,
    /// The gap that lasts up to there.
    open: Option<OpenGap>,
    causes: Causes,
    day: Day,
}

/// A gap that is not over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OpenGap {
    start: UtcMillis,
    cause: GapCause,
    detail: Option<String>,
    told: bool,
}

impl Ledger {
    /// A ledger that begins at `at`; nothing is expected before.
    #[must_use]
    pub fn new(at: UtcMillis, zone: &SiteZone) -> Self {
        Self { accounted: at, open: None, causes: Causes::default(), day: Day::of(at, zone) }
    }

    /// All time up to here is accounted for.
    #[must_use]
    pub fn accounted(&self) -> UtcMillis {
        self.accounted
    }

    /// The gap that lasts, if there is one.
    #[must_use]
    pub fn open_gap(&self) -> Option<Gap> {
        self.open.as_ref().map(|open| open.gap(None))
    }

    /// How much of the day was recorded so far.
    #[must_use]
    pub fn today(&self) -> Continuity {
        self.day.so_far(self.accounted)
    }

    /// Takes a span that was recorded.
    pub fn video(&mut self, start: UtcMillis, end: UtcMillis, zone: &SiteZone) -> Vec<FootageEvent> {
        let mut told = Vec::new();
        if end <= self.accounted {
            return told;
        }
        let start = start.max(self.accounted);
        let mut recorded_from = self.accounted;
        if self.open.is_some() || start.since(self.accounted) >= SHORTEST_GAP {
            self.miss(start, zone, &mut told);
            told.extend(self.open.take().map(|open| FootageEvent::Gap(open.gap(Some(start)))));
            recorded_from = start;
        }
        self.day.recorded(recorded_from, end, zone, &mut told);
        self.accounted = end;
        self.causes.video_until(end);
        told
    }

    /// Says that no video comes from now on, and why.
    pub fn failed(&mut self, at: UtcMillis, cause: Cause) {
        self.causes.failed(at.max(self.accounted), cause);
    }

    /// Says whether the camera is to be recorded.
    pub fn switched(&mut self, at: UtcMillis, on: bool) {
        self.causes.switched(at.max(self.accounted), on);
    }

    /// Says that the disk takes nothing more, with the reason; or that it does again.
    pub fn disk(&mut self, at: UtcMillis, failed: Option<String>) {
        self.causes.disk(at.max(self.accounted), failed);
    }

    /// Says that video of a span came and is lost.
    pub fn lost(&mut self, from: UtcMillis, to: UtcMillis, cause: GapCause) {
        let from = from.max(self.accounted);
        if from < to {
            self.causes.within(from, to, Cause { cause, detail: None, is_sure: true });
        }
    }

    /// Says that the clock was put forward: there is no video of the time between.
    pub fn clock_set(&mut self, before: UtcMillis, after: UtcMillis, soon_after_start: bool) {
        // A device without a battery-backed clock starts with an old time: then it is the time it was off.
        let cause = if soon_after_start { GapCause::Restart } else { GapCause::Internal };
        let detail = Some("the clock was put forward".to_owned());
        self.causes.within(before.max(self.accounted), after, Cause { cause, detail, is_sure: true });
    }

    /// Says that the program has started at `at`: since the last video it did not run.
    pub fn started(&mut self, at: UtcMillis) {
        self.causes.restarted(self.accounted, at.max(self.accounted));
    }

    /// Accounts for the time up to `now` as far as no more video of it is to be expected.
    pub fn tick(&mut self, now: UtcMillis, zone: &SiteZone) -> Vec<FootageEvent> {
        let mut told = Vec::new();
        if self.accounted.since(now) > FURTHEST_BACK {
            self.begin_anew(now, zone, &mut told);
        }
        let is_sure = self.causes.pieces(self.accounted, now).iter().all(|piece| piece.is_sure);
        let settled = now - if is_sure { TOLD_AFTER } else { TOLD_UNSURE_AFTER };
        let least = if self.open.is_some() { Duration::ZERO } else { SHORTEST_GAP };
        if settled > self.accounted && settled.since(self.accounted) >= least {
            self.miss(settled, zone, &mut told);
            let untold = self.open.as_mut().filter(|open| !open.told);
            told.extend(untold.map(|open| {
                open.told = true;
                FootageEvent::Gap(open.gap(None))
            }));
        }
        told
    }

    /// Accounts for the time up to `end` as missing.
    fn miss(&mut self, end: UtcMillis, zone: &SiteZone, told: &mut Vec<FootageEvent>) {
        let pieces = self.causes.pieces(self.accounted, end);
        for piece in whole(pieces, self.open.as_ref().map(|open| open.cause)) {
            if let Some(before) = self.open.take_if(|open| open.cause != piece.cause) {
                told.push(FootageEvent::Gap(before.gap(Some(piece.start))));
            }
            let open = self.open.get_or_insert_with(|| OpenGap {
                start: piece.start,
                cause: piece.cause,
                detail: piece.detail.clone(),
                told: false,
            });
            self.day.missed(piece.start, piece.end, (open.cause, open.start), zone, told);
        }
        self.accounted = end.max(self.accounted);
        self.causes.missing_until(self.accounted);
    }

    fn begin_anew(&mut self, now: UtcMillis, zone: &SiteZone, told: &mut Vec<FootageEvent>) {
        let end = self.accounted;
        told.extend(self.open.take().map(|open| FootageEvent::Gap(open.gap(Some(end)))));
        self.causes.begin_anew(now);
        (self.accounted, self.day) = (now, Day::of(now, zone));
    }
}

impl OpenGap {
    fn gap(&self, end: Option<UtcMillis>) -> Gap {
        Gap { start: self.start, end, cause: self.cause, detail: self.detail.clone() }
    }
}

/// Joins neighbours of one cause, and gives those too short to be a gap to the one before, or after when there is none.
fn whole(pieces: Vec<Piece>, before: Option<GapCause>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        let is_short = |piece: &Piece| piece.end.since(piece.start) < SHORTEST_GAP;
        match joined.last_mut() {
            Some(last) if last.cause == piece.cause || is_short(&piece) => last.end = piece.end,
            Some(last) if is_short(last) && before.is_none_or(|before| before != last.cause) => {
                *last = Piece { start: last.start, ..piece };
            }
            _ => joined.push(piece),
        }
    }
    if let (Some(before), Some(first)) = (before, joined.first_mut())
        && first.end.since(first.start) < SHORTEST_GAP
    {
        first.cause = before;
    }
    joined
}

#[cfg(test)]
mod tests;
