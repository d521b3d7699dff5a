//! Word of what went wrong, as marks on the time line.

use std::time::Duration;

use aivms_contract::footage::GapCause;
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use crate::supervise::Failure;

/// A mark may be set a little before the last video that it follows is on the disk.
const GRACE: Duration = Duration::from_secs(5);
/// Most marks kept; a further one is dropped, and the last cause holds on. Marks before what is accounted for go.
const MAX_MARKS: usize = 64;

/// Why no video comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Whose fault.
    pub cause: GapCause,
    /// In words, for a person.
    pub detail: Option<String>,
    /// Whether that is sure; otherwise the next sure one tells.
    pub is_sure: bool,
}

impl Cause {
    /// Whose fault a failure of a camera's stream is; `detail` is its text for a person.
    #[must_use]
    pub fn of(failure: &Failure, detail: String) -> Self {
        let (cause, is_sure) = match failure {
            Failure::Unreachable => (GapCause::Network, true),
            Failure::Refused(_) | Failure::Missing | Failure::Busy | Failure::NotVideo | Failure::NoVideo => {
                (GapCause::Camera, true)
            }
            // It may be a camera that hangs or a cable that was pulled: the next attempt shows which.
            Failure::Stalled | Failure::Ended | Failure::Other(_) => (GapCause::Camera, false),
        };
        Self { cause, detail: Some(detail), is_sure }
    }

    fn unsure(cause: GapCause) -> Self {
        Self { cause, detail: None, is_sure: false }
    }

    fn sure(cause: GapCause, detail: Option<String>) -> Self {
        Self { cause, detail, is_sure: true }
    }
}

/// A part of a gap with one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: UtcMillis,
    pub(super) end: UtcMillis,
    pub(super) cause: GapCause,
    pub(super) detail: Option<String>,
    pub(super) is_sure: bool,
}

/// The marks since the last video, in order, and what lasts whatever the camera does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Causes {
    marks: Vec<(UtcMillis, Cause)>,
    is_off: bool,
    disk: Option<String>,
}

impl Causes {
    pub(super) fn failed(&mut self, at: UtcMillis, cause: Cause) {
        if !self.is_off && self.disk.is_none() {
            self.mark(at, cause);
        }
    }

    pub(super) fn switched(&mut self, at: UtcMillis, on: bool) {
        if self.is_off != on {
            return;
        }
        self.is_off = !on;
        self.mark(at, self.lasting().unwrap_or_else(|| Cause::unsure(GapCause::SwitchedOff)));
    }

    pub(super) fn disk(&mut self, at: UtcMillis, failed: Option<String>) {
        let was_failed = std::mem::replace(&mut self.disk, failed).is_some();
        if !self.is_off && was_failed != self.disk.is_some() {
            self.mark(at, self.lasting().unwrap_or_else(|| Cause::unsure(GapCause::Disk)));
        }
    }

    pub(super) fn within(&mut self, from: UtcMillis, to: UtcMillis, cause: Cause) {
        if self.is_off {
            return;
        }
        let after = self.lasting().or_else(|| self.marks.last().map(|(_, cause)| cause.clone()));
        let after = after.unwrap_or_else(|| Cause::unsure(cause.cause));
        // A span that is told again, longer.
        if let [.., (start, known), (end, _)] = self.marks.as_mut_slice()
            && known.cause == cause.cause
            && *start <= from
            && *end >= from
        {
            *end = to.max(*end);
            return;
        }
        self.mark(from, cause);
        self.mark(to, after);
    }

    pub(super) fn restarted(&mut self, last: UtcMillis, at: UtcMillis) {
        self.disk = None;
        self.marks.clear();
        self.mark(last, self.lasting().unwrap_or_else(|| Cause::sure(GapCause::Restart, None)));
        self.mark(at, self.lasting().unwrap_or_else(|| Cause::unsure(GapCause::Restart)));
    }

    pub(super) fn begin_anew(&mut self, at: UtcMillis) {
        self.marks.clear();
        if let Some(lasting) = self.lasting() {
            self.mark(at, lasting);
        }
    }

    /// Forgets what the video has shown to be over.
    pub(super) fn video_until(&mut self, end: UtcMillis) {
        let lasting = self.lasting();
        let last = self.marks.last().map(|(_, cause)| cause.clone()).filter(|last| Some(last) == lasting.as_ref());
        self.marks.retain(|(at, _)| *at + GRACE > end);
        if let Some(lasting) = last.filter(|_| self.marks.is_empty()) {
            self.marks.push((end, lasting));
        }
    }

    /// Forgets what is accounted for, but for the cause that holds.
    pub(super) fn missing_until(&mut self, end: UtcMillis) {
        let holds = self.marks.partition_point(|(at, _)| *at <= end).saturating_sub(1);
        self.marks.drain(..holds);
    }

    /// The causes of a span without video, in order; together they fill it.
    pub(super) fn pieces(&self, from: UtcMillis, to: UtcMillis) -> Vec<Piece> {
        if to <= from {
            return Vec::new();
        }
        let first = self.marks.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        let marks = &self.marks[first..];
        let unknown = (from, Cause::unsure(GapCause::Internal));
        let inside = marks.iter().enumerate().filter(|(number, (at, _))| *number == 0 || *at < to);
        let starts: Vec<_> = inside.map(|(number, _)| number).collect();
        let piece = |place: usize, number: usize| {
            let (at, own) = marks.get(number).unwrap_or(&unknown);
            // Video stops a little before anyone knows why.
            let start = if place == 0 { from } else { (*at).clamp(from, to) };
            let next = starts.get(place + 1).and_then(|next| marks.get(*next));
            let end = next.map_or(to, |(at, _)| (*at).clamp(from, to));
            let told = marks.get(number..).and_then(|later| later.iter().find(|(_, cause)| cause.is_sure));
            let cause = told.map_or(own, |(_, cause)| cause);
            Piece { start, end, cause: cause.cause, detail: cause.detail.clone(), is_sure: cause.is_sure }
        };
        let pieces: Vec<_> = starts.iter().enumerate().map(|(place, number)| piece(place, *number)).collect();
        let pieces = if pieces.is_empty() { vec![piece(0, 0)] } else { pieces };
        pieces.into_iter().filter(|piece| piece.start < piece.end).collect()
    }

    /// What lasts whatever the camera does.
    fn lasting(&self) -> Option<Cause> {
        let disk = || self.disk.clone().map(|detail| Cause::sure(GapCause::Disk, Some(detail)));
        if self.is_off { Some(Cause::sure(GapCause::SwitchedOff, None)) } else { disk() }
    }

    fn mark(&mut self, at: UtcMillis, cause: Cause) {
        let is_full = self.marks.len() >= MAX_MARKS;
        let at = self.marks.last().map_or(at, |(last, _)| at.max(*last));
        match self.marks.last_mut() {
            Some((_, last)) if last.cause == cause.cause && last.is_sure == cause.is_sure => {}
            Some((start, last)) if *start == at || (last.cause == cause.cause && cause.is_sure) => *last = cause,
            _ if is_full => {}
            _ => self.marks.push((at, cause)),
        }
    }
}
