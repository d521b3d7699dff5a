//! The one thread that writes: groups entries, syncs, deletes what is acknowledged, saves cursors.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::limits::MAX_PAYLOAD_BYTES;
use aivms_contract::topic::UpKind;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::OutboxError;
use super::cursors::{Cursors, Listed};
use super::index::{Fills, Settled, SpoolFile};
use super::marks::{Marks, RESERVE_AHEAD};
use super::reader::Shared;
use super::recover::settled_after;
use super::spool::{self, FileName, Owner};
use crate::state::{Key, State};

/// Entries of one group; more wait for the next sync, which follows at once.
const MAX_GROUP: usize = 64;
/// Entries held in memory while the disk refuses them: several minutes of a busy site, at most
/// [`MAX_WAITING_BYTES`]. When full, the oldest detections make room for other kinds, then appends are refused.
const MAX_WAITING: usize = 4096;
/// Bytes of those entries.
const MAX_WAITING_BYTES: u64 = 8 * 1024 * 1024;
/// Pause before a refused group is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Longest time cursors in `state/` lag behind; a crash in between sends that much again.
const CURSOR_PAUSE: Duration = Duration::from_secs(1);
/// Bytes a file's head may take.
const FILE_HEAD_BYTES: u64 = 512;

type Answer<T> = oneshot::Sender<Result<T, OutboxError>>;

/// What a handle asks of the thread.
#[derive(Debug)]
pub(crate) enum Order {
    /// Keep a message; answered with its sequence number once it is on disk.
    Append(Body, Answer<u64>, OwnedSemaphorePermit),
    /// Everything up to here is stored by the cloud.
    Acknowledge(u64, Answer<()>),
    /// Write what waits, save the cursors and end.
    Close(Answer<()>),
}

/// How much is kept and how often it is synced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes all spool files together may take, the room for rewriting one not counted.
    pub(crate) spool_bytes: u64,
    /// Size at which a new file is begun.
    pub(crate) file_bytes: u64,
    /// Least time between two syncs.
    pub(crate) group_time: Duration,
}

/// An entry that is not on disk yet.
#[derive(Debug)]
struct Waiting {
    seq: u64,
    kind: UpKind,
    record: Vec<u8>,
    /// Gone once the caller was told that the entry waits.
    answer: Option<Answer<u64>>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// The file that grows.
#[derive(Debug)]
struct Growing {
    file: File,
    name: FileName,
}

/// Why the disk refuses, and when it is asked again.
#[derive(Debug)]
struct Trouble {
    cause: String,
    retry_at: Instant,
}

/// The thread's own state.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) owner: Owner,
    pub(super) bounds: Bounds,
    pub(super) turn: u64,
    state: State,
    next: u64,
    high_water: u64,
    growing: Option<Growing>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: u64,
    group_at: Instant,
    trouble: Option<Trouble>,
    cursors_due: Option<Instant>,
    entropy: fastrand::Rng,
    // Held until the thread has ended.
    _lock: File,
}

/// What a writer begins with.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owner: Owner,
    pub(crate) bounds: Bounds,
    pub(crate) turn: u64,
    pub(crate) state: State,
    pub(crate) next: u64,
    pub(crate) lock: File,
}

impl Writer {
    pub(crate) fn new(beginning: Beginning) -> Self {
        let Beginning { shared, owner, bounds, turn, state, next, lock } = beginning;
        Self {
            shared,
            owner,
            bounds,
            turn,
            state,
            next,
            // Nothing is reserved until the first group reserves it.
            high_water: 0,
            growing: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            group_at: Instant::now(),
            trouble: None,
            cursors_due: None,
            entropy: fastrand::Rng::new(),
            _lock: lock,
        }
    }

    /// Works until told to close, or until every handle is gone.
    pub(crate) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let order = match self.deadline() {
                Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Close(answer)) => {
                    self.finish();
                    drop(self);
                    let _ = answer.send(Ok(()));
                    return;
                }
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            let now = Instant::now();
            if self.commit_at().is_some_and(|at| at <= now) {
                self.commit();
            }
            if self.cursors_due.is_some_and(|at| at <= now) {
                self.save_cursors(false);
            }
        }
    }

    /// Reserves numbers and saves what a start has found; a full disk leaves that to the first group.
    pub(crate) fn begin(&mut self) {
        if let Err(error) = self.reserve() {
            tracing::warn!(%error, "the outbox cannot be written yet");
        }
        self.save_files();
    }

    fn finish(&mut self) {
        let mut before = usize::MAX;
        while !self.waiting.is_empty() && self.waiting.len() < before {
            before = self.waiting.len();
            self.commit();
        }
        if !self.waiting.is_empty() {
            tracing::error!(events = self.waiting.len(), "the outbox ends with events the disk refused");
        }
        self.save_cursors(true);
    }

    fn deadline(&self) -> Option<Instant> {
        [self.commit_at(), self.cursors_due].into_iter().flatten().min()
    }

    fn commit_at(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        match &self.trouble {
            Some(trouble) => Some(trouble.retry_at),
            None if self.waiting.len() >= MAX_GROUP => Some(self.group_at - self.bounds.group_time),
            None => Some(self.group_at),
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Append(body, answer, permit) => self.take_body(body, answer, permit),
            Order::Acknowledge(through, answer) => {
                let _ = answer.send(self.acknowledge(through));
            }
            Order::Close(_) => {}
        }
    }

    fn take_body(&mut self, body: Body, answer: Answer<u64>, permit: OwnedSemaphorePermit) {
        let (seq, kind) = (self.next, body.kind());
        let Owner { outbox, edge } = self.owner.clone();
        let json = Envelope::new(edge, outbox, seq, body, self.entropy.u128(..)).to_json();
        if json.len() > MAX_PAYLOAD_BYTES {
            let _ = answer.send(Err(OutboxError::TooLarge { kind: kind.as_str(), bytes: json.len() }));
            return;
        }
        let mut record = Vec::new();
        spool::push_record(&mut record, seq, kind, &json);
        if let Some(Trouble { cause, .. }) = &self.trouble {
            let cause = cause.clone();
            if !self.make_waiting_room(kind, record.len() as u64) {
                let _ = answer.send(Err(OutboxError::Refused { cause }));
                return;
            }
            let _ = answer.send(Err(OutboxError::Waiting { seq, cause }));
            self.wait(Waiting { seq, kind, record, answer: None, _permit: None });
        } else {
            self.wait(Waiting { seq, kind, record, answer: Some(answer), _permit: Some(permit) });
        }
    }

    fn wait(&mut self, entry: Waiting) {
        self.next += 1;
        self.waiting_bytes += entry.record.len() as u64;
        self.waiting.push_back(entry);
    }

    /// Keeps the memory queue in its bounds; anything but a detection may push out the oldest detections.
    fn make_waiting_room(&mut self, kind: UpKind, bytes: u64) -> bool {
        while self.waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            let detection = self.waiting.iter().position(|entry| entry.kind == UpKind::Detections);
            let Some(entry) = detection.filter(|_| kind != UpKind::Detections).and_then(|at| self.waiting.remove(at))
            else {
                return false;
            };
            self.waiting_bytes -= entry.record.len() as u64;
            self.shared.index().shed += 1;
        }
        true
    }

    /// Brings one group to the disk, or tells its callers why it waits.
    fn commit(&mut self) {
        match self.write_group() {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!("the outbox is written again");
                }
                self.group_at = Instant::now() + self.bounds.group_time;
                self.cursors_change();
            }
            Err(error) => self.meet_trouble(&error),
        }
    }

    fn meet_trouble(&mut self, error: &io::Error) {
        let cause = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("the disk is full ({error})"),
            _ => error.to_string(),
        };
        if self.trouble.is_none() {
            tracing::error!(cause, dir = %self.shared.dir.display(), "the outbox cannot be written; events wait in memory");
        }
        for entry in &mut self.waiting {
            if let Some(answer) = entry.answer.take() {
                let _ = answer.send(Err(OutboxError::Waiting { seq: entry.seq, cause: cause.clone() }));
            }
            // Callers may go on; from here on the bounds of the memory queue count.
            entry._permit = None;
        }
        self.trouble = Some(Trouble { cause, retry_at: Instant::now() + RETRY_PAUSE });
    }

    fn write_group(&mut self) -> io::Result<()> {
        self.make_group_room()?;
        let group = self.waiting.len().min(MAX_GROUP);
        let Some(last) = group.checked_sub(1).map(|at| self.waiting[at].seq) else { return Ok(()) };
        if last > self.high_water {
            self.reserve()?;
        }
        let (mut bytes, mut fills) = (Vec::new(), Fills::default());
        for entry in self.waiting.iter().take(group) {
            bytes.extend_from_slice(&entry.record);
            fills.add(entry.kind, entry.record.len() as u64);
        }
        self.write_records(&bytes, last, fills)?;
        self.shared.kept.send_replace(last);
        for entry in self.waiting.drain(..group) {
            // The witness of the tests of the whole: an entry named here must reach the cloud.
            tracing::debug!(outbox.id = %self.owner.outbox, outbox.seq = entry.seq, "outbox entry kept");
            if let Some(answer) = entry.answer {
                let _ = answer.send(Ok(entry.seq));
            }
        }
        self.waiting_bytes = self.waiting.iter().map(|entry| entry.record.len() as u64).sum();
        Ok(())
    }

    /// Sheds what the group needs; an entry that outranks nothing on disk is refused itself.
    fn make_group_room(&mut self) -> io::Result<()> {
        let (mut at, mut needed) = (0, FILE_HEAD_BYTES);
        while at < self.waiting.len().min(MAX_GROUP) {
            let (kind, bytes) = (self.waiting[at].kind, self.waiting[at].record.len() as u64);
            if self.make_room(kind, needed + bytes)? {
                needed += bytes;
                at += 1;
                continue;
            }
            let refused = self.waiting.remove(at).expect("the place was in bounds");
            self.waiting_bytes -= bytes;
            match refused.answer {
                Some(answer) => {
                    let max_bytes = self.bounds.spool_bytes;
                    let _ = answer.send(Err(OutboxError::Full { kind: kind.as_str(), max_bytes }));
                }
                None => self.shared.index().shed += 1,
            }
        }
        Ok(())
    }

    fn write_records(&mut self, bytes: &[u8], last: u64, fills: Fills) -> io::Result<()> {
        let (size, newest) = {
            let index = self.shared.index();
            index.files.back().map_or((0, None), |file| (file.bytes, Some(file.name)))
        };
        let full =
            size >= self.bounds.file_bytes || size + bytes.len() as u64 > self.bounds.file_bytes.max(FILE_HEAD_BYTES);
        match newest.filter(|_| !full) {
            Some(name) => self.grow(name, size, bytes, last, fills),
            None => self.begin_file(bytes, last, fills),
        }
    }

    fn grow(&mut self, name: FileName, size: u64, bytes: &[u8], last: u64, fills: Fills) -> io::Result<()> {
        let growing = match self.growing.take().filter(|growing| growing.name == name) {
            Some(growing) => growing,
            None => Growing { file: OpenOptions::new().write(true).open(name.path(&self.shared.dir))?, name },
        };
        if let Err(error) = growing.file.write_all_at(bytes, size) {
            // The next try writes over it; until then a full disk gets the room back.
            let _ = growing.file.set_len(size);
            self.growing = Some(growing);
            return Err(error);
        }
        if let Err(error) = growing.file.sync_data() {
            // What the file holds behind `size` is unknown from now on, so it ends there and a new file begins.
            let _ = growing.file.set_len(size);
            self.begin_file(bytes, last, fills).map_err(|_| error)?;
            return Ok(());
        }
        self.growing = Some(growing);
        let mut index = self.shared.index();
        let file = index.files.back_mut().expect("the file that grows is in the index");
        file.bytes += bytes.len() as u64;
        file.last = last;
        file.fills += fills;
        Ok(())
    }

    fn begin_file(&mut self, records: &[u8], last: u64, fills: Fills) -> io::Result<()> {
        let first = self.shared.index().last() + 1;
        let name = FileName { first, turn: self.turn };
        self.turn += 1;
        let path = name.path(&self.shared.dir);
        let mut bytes = Vec::new();
        spool::push_head(&mut bytes, first, &self.owner);
        bytes.extend_from_slice(records);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let written = file
            .write_all_at(&bytes, 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| crate::state::durable::sync_dir(&self.shared.dir));
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.growing = Some(Growing { file, name });
        self.shared.index().files.push_back(SpoolFile { name, last, bytes: bytes.len() as u64, fills });
        self.put(Key::OutboxFiles, &Listed::of(&self.owner, &self.shared.index()), false);
        Ok(())
    }

    /// Speaks for the next numbers, in the file beside the spool and in `state/`.
    fn reserve(&mut self) -> io::Result<()> {
        let high_water = self.next + RESERVE_AHEAD;
        Marks { owner: self.owner.clone(), high_water }.write(&self.shared.dir)?;
        self.high_water = high_water;
        self.save_cursors(true);
        Ok(())
    }

    fn acknowledge(&mut self, through: u64) -> Result<(), OutboxError> {
        let kept = *self.shared.kept.borrow();
        if through > kept {
            return Err(OutboxError::NotKept { through, kept });
        }
        if through <= self.shared.index().acknowledged {
            return Ok(());
        }
        self.shared.index().acknowledged = through;
        let done = self.settle(through);
        if !done.is_empty() {
            self.delete(&done);
            if let Some(trouble) = &mut self.trouble {
                trouble.retry_at = Instant::now();
            }
        }
        self.cursors_change();
        Ok(())
    }

    /// Takes files that hold nothing to send out of the index; the newest stays, since it grows on.
    fn settle(&mut self, through: u64) -> Vec<FileName> {
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

    /// Deletes files, after `state/` has stopped listing them.
    pub(super) fn delete(&mut self, names: &[FileName]) {
        self.save_files();
        for name in names {
            if let Err(error) = fs::remove_file(name.path(&self.shared.dir)) {
                tracing::warn!(%error, file = %name, "an acknowledged spool file could not be deleted");
            }
        }
        if let Err(error) = crate::state::durable::sync_dir(&self.shared.dir) {
            tracing::warn!(%error, "deleted spool files may come back after a power cut and be sent again");
        }
    }

    fn cursors_change(&mut self) {
        self.cursors_due.get_or_insert_with(|| Instant::now() + CURSOR_PAUSE);
    }

    /// Puts both the list and the cursors durably.
    fn save_files(&mut self) {
        self.put(Key::OutboxFiles, &Listed::of(&self.owner, &self.shared.index()), false);
        self.save_cursors(true);
    }

    fn save_cursors(&mut self, durable: bool) {
        self.cursors_due = None;
        let cursors = Cursors::of(&self.owner, &self.shared.index(), self.high_water);
        self.put(Key::OutboxCursors, &cursors, durable);
    }

    /// A cursor that can't be put is no loss: the files say all, and entries are sent again.
    fn put<T: serde::Serialize>(&self, key: Key, value: &T, durable: bool) {
        let put = if durable { self.state.put_durable(key, value) } else { self.state.put(key, value) };
        if let Err(error) = put {
            tracing::warn!(%error, "a cursor of the outbox was not saved");
        }
    }
}
