//! Why there was no event: what stopped a track at a zone or line, told once.
//!
//! A gate that stops a track makes a note, kept while the same gate goes on stopping it, with the value that came
//! nearest to its limit. The note is told when another gate stops the track there, when the track ends, when the rules
//! change, or ten seconds after it was made. It is dropped when the event is made after all. What one gate stopped for
//! one track at one zone or line is told once. So notes are at most one per live track and rule, and a scene in which
//! nothing is stopped makes none.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::id::ZoneId;
use aivms_contract::time::MediaTime;
use aivms_contract::why::{Check, Gate};
use aivms_contract::zone_event::ZoneEventType;

use crate::detection::ClassId;

/// Time after which a note is told although its object is still there.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// An event that was not made.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    /// Media time of the sight that came nearest to passing.
    pub at: MediaTime,
    /// The zone or line; `None` when the object was stopped before any.
    pub zone_id: Option<ZoneId>,
    /// The track, by its number in the [`crate::tracks::TrackBook`].
    pub track: u64,
    /// What it is.
    pub class: ClassId,
    /// The event that was in question.
    pub event: ZoneEventType,
    /// The questions asked; the last one stopped it.
    pub why: Vec<Check>,
}

/// A track at a rule, by number and place in the list of rules.
pub(super) type Key = (u64, usize);

/// What may stop an event: a gate, and whether it is the way out that it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cause {
    gate: Gate,
    is_exit: bool,
}

/// The causes already noted for one track at one rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Causes(u32);

/// The notes of one camera.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pending: BTreeMap<Key, Note>,
    ready: Vec<(Key, Stopped)>,
}

#[derive(Debug)]
struct Note {
    cause: Cause,
    since: MediaTime,
    stopped: Stopped,
}

impl Cause {
    pub(super) fn new(gate: Gate, event: ZoneEventType) -> Self {
        Self { gate, is_exit: event == ZoneEventType::Exit }
    }

    fn bit(self) -> u32 {
        1 << (self.gate as u32 + if self.is_exit { 16 } else { 0 })
    }
}

impl Causes {
    fn has(self, cause: Cause) -> bool {
        self.0 & cause.bit() != 0
    }
}

impl Notes {
    /// Whether a stop for this cause may still change what is told.
    pub(super) fn asks_for(&self, key: Key, causes: Causes, cause: Cause) -> bool {
        !causes.has(cause) || self.pending.get(&key).is_some_and(|note| note.cause == cause)
    }

    /// Takes a stop that [`Notes::asks_for`] asked for.
    pub(super) fn stop(&mut self, key: Key, causes: &mut Causes, cause: Cause, stopped: Stopped) {
        let since = stopped.at;
        if let Some(note) = self.pending.get_mut(&key).filter(|note| note.cause == cause) {
            if miss(&stopped) < miss(&note.stopped) {
                note.stopped = stopped;
            }
        } else if !causes.has(cause) {
            causes.0 |= cause.bit();
            let former = self.pending.insert(key, Note { cause, since, stopped });
            self.ready.extend(former.map(|note| (key, note.stopped)));
        }
    }

    /// Takes that the event was made after all. Who has entered once is not asked about for standing half outside.
    pub(super) fn made(&mut self, key: Key, causes: &mut Causes, event: ZoneEventType) {
        // Other crossings that something stopped stay stopped; one that wavered is the one that was made.
        let is_it = |note: &Note| {
            note.stopped.event == event && (event != ZoneEventType::Cross || note.cause.gate == Gate::Debounce)
        };
        if causes.0 != 0 && self.pending.get(&key).is_some_and(is_it) {
            causes.0 &= self.pending.remove(&key).map_or(u32::MAX, |note| !note.cause.bit());
        }
        if event == ZoneEventType::Enter {
            causes.0 |= Cause::new(Gate::Overlap, event).bit();
        }
    }

    /// Makes the notes of a track that has ended ready.
    pub(super) fn end_track(&mut self, track: u64) {
        while let Some((&key, _)) = self.pending.range((track, 0)..=(track, usize::MAX)).next() {
            self.ready.extend(self.pending.remove(&key).map(|note| (key, note.stopped)));
        }
    }

    /// Makes every note ready.
    pub(super) fn end_all(&mut self) {
        self.ready.extend(std::mem::take(&mut self.pending).into_iter().map(|(key, note)| (key, note.stopped)));
    }

    /// What is to be told at `now`, by time, rule and track.
    pub(super) fn tell(&mut self, now: MediaTime) -> Vec<Stopped> {
        let due = self.pending.extract_if(.., |_, note| now.since(note.since) >= TELL_AFTER);
        self.ready.extend(due.map(|(key, note)| (key, note.stopped)));
        let mut ready = std::mem::take(&mut self.ready);
        ready.sort_by_key(|((track, rule), stopped)| (stopped.at, *rule, *track));
        ready.into_iter().map(|(_, stopped)| stopped).collect()
    }
}

/// How far the last question was from being passed.
fn miss(stopped: &Stopped) -> f64 {
    let last = stopped.why.last().and_then(|check| Some((check.value? - check.limit?).abs()));
    last.unwrap_or(0.0)
}
