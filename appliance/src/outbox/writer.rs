//! The one thread that writes: groups entries, syncs, deletes what is acknowledged, saves cursors.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::limits::MAX_PAYLOAD_BYTES;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::OutboxError;
use super::cursors::Cursors;
use super::files::Growing;
use super::marks::{Marks, RESERVE_AHEAD};
use super::reader::Shared;
use super::spool::{self, Owner};
use super::waiting::{Queue, Waiting};
use crate::state::{Key, State};

/// Pause before a refused group is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Longest time cursors in `state/` lag behind; a crash in between sends that much again.
const CURSOR_PAUSE: Duration = Duration::from_secs(1);
/// Bytes a file's head may take.
const FILE_HEAD_BYTES: u64 = 512;

pub(super) type Answer<T> = oneshot::Sender<Result<T, OutboxError>>;

/// What a handle asks of the thread.
#[derive(Debug)]
pub(crate) enum Order {
    /// Keep a message, whose event id has this for its low bits; answered with its sequence number once it is on disk.
    Append(Box<Body>, u128, Answer<u64>, OwnedSemaphorePermit),
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
    /// The list in `outbox.json` is behind.
    list_owed: bool,
    pub(super) growing: Option<Growing>,
    pub(super) waiting: Queue,
    group_at: Instant,
    trouble: Option<Trouble>,
    cursors_due: Option<Instant>,
    /// The last put failed, which was logged.
    cursors_fail: bool,
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
            // None of the numbers from `next` on is reserved yet.
            high_water: next - 1,
            list_owed: false,
            growing: None,
            waiting: Queue::default(),
            group_at: Instant::now(),
            trouble: None,
            cursors_due: None,
            cursors_fail: false,
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
        self.save_files();
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
            None if self.waiting.has_group() => Some(self.group_at - self.bounds.group_time),
            None => Some(self.group_at),
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Append(body, entropy, answer, permit) => self.take_body(*body, entropy, answer, permit),
            Order::Acknowledge(through, answer) => {
                let _ = answer.send(self.acknowledge(through));
            }
            Order::Close(_) => {}
        }
    }

    fn take_body(&mut self, body: Body, entropy: u128, answer: Answer<u64>, permit: OwnedSemaphorePermit) {
        let (seq, kind) = (self.next, body.kind());
        let Owner { outbox, edge } = self.owner.clone();
        let json = Envelope::new(edge, outbox, seq, body, entropy).to_json();
        if json.len() > MAX_PAYLOAD_BYTES {
            let _ = answer.send(Err(OutboxError::TooLarge { kind: kind.as_str(), bytes: json.len() }));
            return;
        }
        let answer = match &self.trouble {
            None => Some((answer, permit)),
            Some(Trouble { cause, .. }) => {
                let cause = cause.clone();
                let Some(dropped) = self.waiting.make_room(kind, spool::record_bytes(&json)) else {
                    let _ = answer.send(Err(OutboxError::Refused { cause }));
                    return;
                };
                self.shared.index().shed += dropped;
                let _ = answer.send(Err(OutboxError::Waiting { seq, cause }));
                None
            }
        };
        self.next += 1;
        self.waiting.push(Waiting { seq, kind, json, answer });
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
                if self.list_owed {
                    self.save_list();
                }
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
            let dir = self.shared.dir.display();
            tracing::error!("the outbox {dir} cannot be written, events wait in memory: {cause}; free some room");
        }
        for entry in self.waiting.iter_mut() {
            // The permit goes too: from here on the bounds of the queue count.
            if let Some((answer, _)) = entry.answer.take() {
                let _ = answer.send(Err(OutboxError::Waiting { seq: entry.seq, cause: cause.clone() }));
            }
        }
        self.trouble = Some(Trouble { cause, retry_at: Instant::now() + RETRY_PAUSE });
    }

    fn write_group(&mut self) -> io::Result<()> {
        self.make_group_room()?;
        let Some(last) = self.waiting.group().next_back().map(|entry| entry.seq) else { return Ok(()) };
        if last > self.high_water {
            self.reserve()?;
        }
        self.write_records(last)?;
        self.shared.kept.send_replace(last);
        for entry in self.waiting.drain_group() {
            // The witness of the tests of the whole: an entry named here must reach the cloud.
            tracing::debug!(outbox.id = %self.owner.outbox, outbox.seq = entry.seq, "outbox entry kept");
            if let Some((answer, _)) = entry.answer {
                let _ = answer.send(Ok(entry.seq));
            }
        }
        Ok(())
    }

    /// Sheds what the group needs; an entry that outranks nothing on disk is refused itself.
    fn make_group_room(&mut self) -> io::Result<()> {
        let (mut at, mut needed) = (0, FILE_HEAD_BYTES);
        while let Some((kind, bytes)) = self.waiting.in_group(at).map(|entry| (entry.kind, entry.bytes())) {
            if self.make_room(kind, needed + bytes)? {
                needed += bytes;
                at += 1;
                continue;
            }
            match self.waiting.remove(at).and_then(|refused| refused.answer) {
                Some((answer, _)) => {
                    let max_bytes = self.bounds.spool_bytes;
                    let _ = answer.send(Err(OutboxError::Full { kind: kind.as_str(), max_bytes }));
                }
                None => self.shared.index().shed += 1,
            }
        }
        Ok(())
    }

    /// Speaks for the next numbers, in the file beside the spool and in `state/`.
    fn reserve(&mut self) -> io::Result<()> {
        let high_water = self.next + RESERVE_AHEAD;
        self.write_marks(high_water)?;
        self.high_water = high_water;
        self.save_cursors(true);
        Ok(())
    }

    fn write_marks(&mut self, high_water: u64) -> io::Result<()> {
        let marks = Marks::of(&self.owner, high_water, self.turn, &self.shared.index());
        self.list_owed = true;
        marks.write(&self.shared.dir)?;
        self.list_owed = false;
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

    fn cursors_change(&mut self) {
        self.cursors_due.get_or_insert_with(|| Instant::now() + CURSOR_PAUSE);
    }

    /// Saves the cursors and the list of files durably. A full disk leaves the list to the next group that is written.
    ///
    /// The cursors come first: with the list alone a power cut would take for lost what shedding took from the end.
    /// Cursors that are ahead of the list are harmless, since the files that it still names are still there.
    pub(super) fn save_files(&mut self) {
        self.save_cursors(true);
        self.save_list();
    }

    pub(super) fn save_list(&mut self) {
        if let Err(error) = self.write_marks(self.high_water) {
            tracing::warn!(%error, "the list of spool files is not saved for now");
        }
    }

    fn save_cursors(&mut self, durable: bool) {
        self.cursors_due = None;
        let cursors = Cursors::of(&self.owner, &self.shared.index(), self.high_water);
        self.put(Key::OutboxCursors, &cursors, durable);
    }

    /// A cursor that can't be put is no loss: the files say all, and entries are sent again.
    fn put<T: serde::Serialize>(&mut self, key: Key, value: &T, durable: bool) {
        let put = if durable { self.state.put_durable(key, value) } else { self.state.put(key, value) };
        match put {
            Ok(()) => self.cursors_fail = false,
            Err(error) if self.cursors_fail => tracing::debug!(%error, "a cursor of the outbox was not saved"),
            Err(error) => {
                tracing::warn!(%error, "cursors of the outbox are not saved for now");
                self.cursors_fail = true;
            }
        }
    }
}
