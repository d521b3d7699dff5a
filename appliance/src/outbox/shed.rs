//! Making room in a full outbox, in the stated order: the oldest detections, then health, clips and zone events.
//! Alerts are never shed.

use std::io;

use aivms_contract::topic::UpKind;

use super::compact::compact;
use super::index::{Settled, SpoolFile};
use super::spool::{FileName, SHEDDING_ORDER, class};
use super::writer::Writer;

impl Writer {
    /// Makes room for `bytes` of an entry of `kind`, shedding only kinds that come no later than `kind` in the order.
    ///
    /// Frees about one file more than needed, so that a full outbox is not rewritten for every entry. False when
    /// nothing is left that may be shed and the room does not suffice.
    pub(super) fn make_room(&mut self, kind: UpKind, bytes: u64) -> io::Result<bool> {
        if self.fits(bytes) {
            return Ok(true);
        }
        let last_class = class(kind).min(SHEDDING_ORDER.len() - 2);
        while !self.fits(bytes + self.bounds.file_bytes) {
            let settled = self.shared.index().settled.fills.total().bytes;
            if settled >= bytes.max(self.bounds.file_bytes / 4) {
                self.rewrite(0, None)?;
                continue;
            }
            let Some((position, class)) = self.shared.index().oldest_of(0..last_class + 1) else { break };
            self.rewrite(position, Some(class))?;
        }
        Ok(self.fits(bytes))
    }

    fn fits(&self, bytes: u64) -> bool {
        self.shared.index().bytes() + bytes <= self.bounds.spool_bytes
    }

    /// Writes a file anew without what is acknowledged and without one class, joined to its older neighbour when both
    /// fit into one file.
    fn rewrite(&mut self, position: usize, shed: Option<usize>) -> io::Result<()> {
        let (from, sources, acknowledged, dropped) = self.plan(position, shed);
        let turn = self.turn;
        self.turn += 1;
        let victim = sources[sources.len() - 1];
        let first = victim.first;
        let kept = compact(&self.shared.dir, &self.owner, &sources, turn, |record| {
            let shed_here = record.seq >= first && record.kind.map(class) == shed;
            record.seq > acknowledged && !shed_here
        })?;
        self.replace(from, sources.len(), kept, dropped);
        self.delete(&sources);
        if dropped > 0 {
            let kind = shed.map_or("", |class| SHEDDING_ORDER[class].as_str());
            tracing::warn!(events = dropped, kind, "the outbox is full; the oldest events were shed");
        }
        Ok(())
    }

    /// The files to join, what is acknowledged, and how many entries are shed.
    fn plan(&self, position: usize, shed: Option<usize>) -> (usize, Vec<FileName>, u64, u64) {
        let index = self.shared.index();
        let owed = index.owed_in(position);
        let dropped = shed.map(|class| owed.of_class(class)).unwrap_or_default();
        let left = owed.total().bytes - dropped.bytes;
        let neighbour = position
            .checked_sub(1)
            .filter(|older| left > 0 && index.files[*older].bytes + left <= self.bounds.file_bytes);
        let from = neighbour.unwrap_or(position);
        let sources = index.files.range(from..=position).map(|file| file.name).collect();
        (from, sources, index.acknowledged, dropped.entries)
    }

    fn replace(&mut self, from: usize, count: usize, kept: Option<SpoolFile>, dropped: u64) {
        let mut index = self.shared.index();
        let sources = index.files.drain(from..from + count).count();
        debug_assert_eq!(sources, count);
        if let Some(file) = kept {
            index.files.insert(from, file);
        }
        if from == 0 {
            index.settled = Settled::default();
        }
        index.shed += dropped;
    }
}
