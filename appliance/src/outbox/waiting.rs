//! Entries that are not on disk yet: a group on its way, or more while the disk refuses.

use std::collections::VecDeque;
use std::collections::vec_deque::{Drain, Iter, IterMut};

use aivms_contract::topic::UpKind;
use tokio::sync::OwnedSemaphorePermit;

use super::spool;
use super::writer::Answer;

/// Entries of one group; more wait for the next sync, which follows at once.
const MAX_GROUP: usize = 64;
/// Entries held while the disk refuses them: several minutes of a busy site, at most [`MAX_BYTES`]. When full, the
/// oldest detections make room for other kinds, then appends are refused.
const MAX_ENTRIES: usize = 4096;
/// Bytes of those entries.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// An entry that has its sequence number and is not on disk.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) seq: u64,
    pub(super) kind: UpKind,
    pub(super) json: Vec<u8>,
    /// Who is told that it is kept; gone once the caller was told that the entry waits.
    pub(super) answer: Option<(Answer<u64>, OwnedSemaphorePermit)>,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Waiting>,
    bytes: u64,
}

impl Waiting {
    /// Bytes its record will take.
    pub(super) fn bytes(&self) -> u64 {
        spool::record_bytes(&self.json)
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a whole group waits.
    pub(super) fn has_group(&self) -> bool {
        self.entries.len() >= MAX_GROUP
    }

    pub(super) fn push(&mut self, entry: Waiting) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    /// The entries that go to the disk next.
    pub(super) fn group(&self) -> Iter<'_, Waiting> {
        self.entries.range(..self.entries.len().min(MAX_GROUP))
    }

    /// Takes the group out, once it is on disk.
    pub(super) fn drain_group(&mut self) -> Drain<'_, Waiting> {
        let group: u64 = self.group().map(Waiting::bytes).sum();
        self.bytes -= group;
        self.entries.drain(..self.entries.len().min(MAX_GROUP))
    }

    /// The entry at a place of the group.
    pub(super) fn in_group(&self, at: usize) -> Option<&Waiting> {
        self.entries.get(at).filter(|_| at < MAX_GROUP)
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Waiting> {
        let removed = self.entries.remove(at)?;
        self.bytes -= removed.bytes();
        Some(removed)
    }

    pub(super) fn iter_mut(&mut self) -> IterMut<'_, Waiting> {
        self.entries.iter_mut()
    }

    /// Makes room for an entry of `kind`; anything but a detection may push out the oldest detections.
    ///
    /// Gives how many were pushed out, or `None` when there is no room even so.
    pub(super) fn make_room(&mut self, kind: UpKind, bytes: u64) -> Option<u64> {
        let mut dropped = 0;
        while self.entries.len() >= MAX_ENTRIES || self.bytes + bytes > MAX_BYTES {
            let oldest = self.entries.iter().position(|entry| entry.kind == UpKind::Detections);
            self.remove(oldest.filter(|_| kind != UpKind::Detections)?)?;
            dropped += 1;
        }
        Some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, kind: UpKind, bytes: usize) -> Waiting {
        Waiting { seq, kind, json: vec![b'x'; bytes], answer: None }
    }

    #[test]
    fn a_full_queue_drops_the_oldest_detections_for_other_kinds_only() {
        let mut queue = Queue::default();
        for seq in 0..MAX_ENTRIES as u64 {
            queue.push(entry(seq, if seq % 2 == 0 { UpKind::Alerts } else { UpKind::Detections }, 100));
        }
        assert_eq!(queue.make_room(UpKind::Detections, 100), None);
        assert_eq!(queue.make_room(UpKind::ZoneEvents, 100), Some(1));
        assert!(queue.entries.iter().all(|entry| entry.seq != 1), "the oldest detection went");
        assert_eq!(queue.len(), MAX_ENTRIES - 1);
    }

    #[test]
    fn a_queue_full_of_alerts_by_bytes_refuses_another() {
        let mut queue = Queue::default();
        let mut seq = 0;
        while queue.make_room(UpKind::Alerts, 60_000) == Some(0) {
            queue.push(entry(seq, UpKind::Alerts, 59_976));
            seq += 1;
        }
        assert_eq!(queue.make_room(UpKind::Alerts, 60_000), None);
        assert!(queue.bytes <= MAX_BYTES && queue.bytes > MAX_BYTES - 60_000);
        let drained = queue.drain_group().count();
        assert_eq!(drained, MAX_GROUP);
        assert_eq!(queue.bytes, queue.entries.iter().map(Waiting::bytes).sum::<u64>());
    }
}
