//! The writer's hands: growing, beginning and deleting spool files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::index::{Fills, Settled, SpoolFile};
use super::recover::settled_after;
use super::spool::{self, FileName};
use super::waiting::Waiting;
use super::writer::Writer;
use crate::state::durable;

/// The file that grows.
#[derive(Debug)]
pub(super) struct Growing {
    file: File,
    name: FileName,
}

impl Writer {
    /// Brings the group that waits to the disk, in the newest file or in a new one.
    pub(super) fn write_records(&mut self, last: u64) -> io::Result<()> {
        let bytes: u64 = self.waiting.group().map(Waiting::bytes).sum();
        let newest = self.shared.index().files.back().map(|file| (file.name, file.bytes));
        match newest.filter(|(_, size)| size + bytes <= self.bounds.file_bytes) {
            Some((name, size)) => self.grow(name, size, last),
            None => self.begin_file(last),
        }
    }

    /// The records of the group, for the offset at which they will begin.
    fn encode(&self, offset: u64) -> (Vec<u8>, Fills) {
        let (mut bytes, mut fills) = (Vec::new(), Fills::default());
        for entry in self.waiting.group() {
            spool::push_record(&mut bytes, entry.seq, entry.kind, offset, &entry.json);
            fills.add(entry.kind, entry.bytes());
        }
        (bytes, fills)
    }

    fn grow(&mut self, name: FileName, size: u64, last: u64) -> io::Result<()> {
        let growing = match self.growing.take().filter(|growing| growing.name == name) {
            Some(growing) => growing,
            None => Growing { file: OpenOptions::new().write(true).open(name.path(&self.shared.dir))?, name },
        };
        let (bytes, fills) = self.encode(size);
        if let Err(error) = growing.file.write_all_at(&bytes, size) {
            // The next try writes over it; until then a full disk gets the room back.
            let _ = growing.file.set_len(size);
            self.growing = Some(growing);
            return Err(error);
        }
        if let Err(error) = growing.file.sync_data() {
            // What the file holds behind `size` is unknown from now on, so it ends there and a new file begins.
            let _ = growing.file.set_len(size);
            return self.begin_file(last).map_err(|_| error);
        }
        self.growing = Some(growing);
        let mut index = self.shared.index();
        let file = index.files.back_mut().expect("the file that grows is in the index");
        file.bytes += bytes.len() as u64;
        file.last = last;
        file.fills += fills;
        Ok(())
    }

    fn begin_file(&mut self, last: u64) -> io::Result<()> {
        let first = self.shared.index().last() + 1;
        let name = FileName { first, turn: self.turn };
        self.turn += 1;
        let path = name.path(&self.shared.dir);
        let mut bytes = Vec::new();
        spool::push_head(&mut bytes, first, &self.owner);
        // The head is synced together with the first records.
        let (mut records, fills) = self.encode(0);
        bytes.append(&mut records);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let written = file
            .write_all_at(&bytes, 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| durable::sync_dir(&self.shared.dir));
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.growing = Some(Growing { file, name });
        self.shared.index().files.push_back(SpoolFile { name, last, bytes: bytes.len() as u64, fills });
        self.save_list();
        Ok(())
    }

    /// Takes files that hold nothing to send out of the index; the newest stays, since it grows on.
    pub(super) fn settle(&mut self, through: u64) -> Vec<FileName> {
        let (oldest, from, done) = {
            let mut index = self.shared.index();
            let mut done = Vec::new();
            while index.files.len() > 1 && index.files[0].last <= through {
                done.extend(index.files.pop_front().map(|file| file.name));
                index.settled = Settled::default();
            }
            (index.files.front().cloned(), index.settled, done)
        };
        if let Some(oldest) = oldest {
            match settled_after(&self.shared.dir, &oldest, from, through) {
                Ok(settled) => self.shared.index().settled = settled,
                Err(error) => tracing::warn!(%error, file = %oldest.name, "cannot count what is acknowledged"),
            }
        }
        done
    }

    /// Deletes files, after `outbox.json` has stopped listing them and their acknowledgement is durable.
    pub(super) fn delete(&mut self, names: &[FileName]) {
        self.save_files();
        for name in names {
            if let Err(error) = fs::remove_file(name.path(&self.shared.dir)) {
                tracing::warn!(%error, file = %name, "an acknowledged spool file could not be deleted");
            }
        }
        if let Err(error) = durable::sync_dir(&self.shared.dir) {
            tracing::warn!(%error, "deleted spool files may come back after a power cut and be sent again");
        }
    }
}
