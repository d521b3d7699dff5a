//! What the cloud has not stored yet, on disk.
//!
//! Entries lie in append-only files ([`spool`]); one thread writes them ([`writer`]), in groups with one sync each.
//! An entry is kept once [`Outbox::append`] has returned, and stays until it is acknowledged or, in a full outbox,
//! shed ([`shed`]). `state/` holds only cursors about the files: losing it loses no event. The design and its reasons
//! are in `docs/design/0004-outbox.md`.

mod compact;
mod cursors;
mod files;
mod index;
mod marks;
mod open;
mod reader;
mod recover;
mod shed;
mod spool;
mod waiting;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use aivms_contract::envelope::Body;
use aivms_contract::health::{Notice, OutboxHealth};
use aivms_contract::id::{EdgeId, EventId, OutboxId};
use aivms_contract::limits::MAX_PAYLOAD_BYTES;
use aivms_contract::topic::UpKind;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::state::State;
use reader::Shared;
use writer::Order;

/// Appends on their way to the writer thread; when full, further callers wait, which is their back pressure.
const MAX_IN_FLIGHT: usize = 1024;

/// Where an outbox lies and how large it may grow.
#[derive(Debug, Clone)]
pub struct OutboxSettings {
    /// Directory of the spool files and of `outbox.json`.
    pub dir: PathBuf,
    /// Bytes all files together may take; at least 1 MiB is used.
    pub max_bytes: u64,
    /// Least time between two syncs, 20 to 50 ms; entries that come meanwhile share the next one.
    pub group_time: Duration,
}

/// One kept message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the outbox.
    pub seq: u64,
    /// The topic kind it travels on.
    pub kind: UpKind,
    /// The envelope as it travels.
    pub json: Bytes,
}

/// A message that knows its event id before it is kept, so that what belongs to it can name it.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    body: Body,
    entropy: u128,
}

impl Drawn {
    /// Draws the id.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, entropy: fastrand::u128(..) }
    }

    /// The id that its envelope will have.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::from_parts(self.body.at(), self.entropy)
    }

    /// The message.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }
}

/// Says why the outbox could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// Another process uses the directory.
    #[error("{dir}: in use by another process; stop it first")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory or a file in it can't be used.
    #[error("{path}: {cause}; check the disk and the rights of the directory")]
    Open {
        /// What could not be opened.
        path: PathBuf,
        /// What the file system said.
        cause: String,
    },
    /// The message is larger than the contract allows; it was not taken.
    #[error("{kind}: the message has {bytes} bytes, at most {MAX_PAYLOAD_BYTES} fit; it was not kept")]
    TooLarge {
        /// The message's kind.
        kind: &'static str,
        /// Bytes of its envelope.
        bytes: usize,
    },
    /// The disk refuses writing. The entry waits in memory and is written when the disk allows; don't append it again.
    #[error("event {seq} waits in memory until the disk takes it: {cause}; free some room")]
    Waiting {
        /// Its place in the outbox.
        seq: u64,
        /// What the file system said.
        cause: String,
    },
    /// The disk refuses writing and the queue in memory is full; the message was not taken.
    #[error("not kept, the disk refuses writing and the queue in memory is full: {cause}; free some room")]
    Refused {
        /// What the file system said.
        cause: String,
    },
    /// The outbox is full of what may not be shed for this kind; the message was not taken.
    #[error("{kind}: not kept, the outbox has its {max_bytes} bytes full and holds nothing that may be shed for it")]
    Full {
        /// The message's kind.
        kind: &'static str,
        /// The limit.
        max_bytes: u64,
    },
    /// An acknowledgement covers more than was ever kept.
    #[error("acknowledged through {through}, but only {kept} is kept")]
    NotKept {
        /// What was acknowledged.
        through: u64,
        /// The last sequence number on disk.
        kept: u64,
    },
    /// A spool file can't be read.
    #[error("reading the outbox: {cause}")]
    Read {
        /// What the file system said.
        cause: String,
    },
    /// The outbox was closed.
    #[error("the outbox is closed")]
    Closed,
}

impl OutboxError {
    /// Whether the message was taken all the same and only waits for the disk.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }
}

/// The outbox of this edge. Cheap to clone; the directory is in use until it is closed or the last clone is gone.
#[derive(Debug, Clone)]
pub struct Outbox {
    id: OutboxId,
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    in_flight: Arc<Semaphore>,
}

impl Outbox {
    /// Opens or makes the outbox of `edge`, mending what a crash left behind.
    ///
    /// The notices say what was mended or lost, for the next health report. Blocks while it reads all spool files.
    ///
    /// # Errors
    /// The directory is in use or can't be written at all. A full disk is no error.
    pub fn open(settings: OutboxSettings, edge: EdgeId, state: &State) -> Result<(Self, Vec<Notice>), OutboxError> {
        let (writer, notices) = open::open(&settings, edge, state)?;
        let (orders, receiver) = mpsc::channel();
        let (id, shared) = (writer.owner.outbox.clone(), Arc::clone(&writer.shared));
        std::thread::Builder::new()
            .name("outbox-writer".into())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| OutboxError::Open { path: settings.dir, cause: error.to_string() })?;
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        Ok((Self { id, shared, orders, in_flight }, notices))
    }

    /// The id its sequence numbers count in.
    #[must_use]
    pub fn id(&self) -> &OutboxId {
        &self.id
    }

    /// Keeps a message and returns its sequence number once it survives a power cut.
    ///
    /// Appends made at the same time share one sync, so don't wait for each before making the next; those of one task
    /// keep their order. A cancelled append may or may not be kept.
    ///
    /// # Errors
    /// See [`OutboxError`]; after `Waiting` the message is still in hand, after any other error it is not.
    pub async fn append(&self, body: Body) -> Result<u64, OutboxError> {
        let answer = self.send(body, fastrand::u128(..)).await?;
        answer.await.map_err(|_| OutboxError::Closed)?
    }

    /// Keeps several messages in their order, with one sync for all of them where they fit into one group.
    pub async fn append_all(&self, bodies: Vec<Body>) -> Vec<Result<u64, OutboxError>> {
        self.append_drawn(bodies.into_iter().map(Drawn::new).collect()).await
    }

    /// As [`Outbox::append_all`], under the ids that the messages have already drawn.
    pub async fn append_drawn(&self, bodies: Vec<Drawn>) -> Vec<Result<u64, OutboxError>> {
        let mut answers = Vec::with_capacity(bodies.len());
        for Drawn { body, entropy } in bodies {
            let sent = self.send(body, entropy).await;
            answers.push(async { sent?.await.map_err(|_| OutboxError::Closed)? });
        }
        join_all(answers).await
    }

    /// The kept entries with higher sequence numbers than `after`, in order: at least one if there is one, and no
    /// more than both limits allow. Sequence numbers may have gaps.
    ///
    /// # Errors
    /// A file can't be read.
    pub async fn read_after(
        &self,
        after: u64,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, OutboxError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.read_after(after, max_entries, max_bytes))
            .await
            .map_err(|_| OutboxError::Closed)?
            .map_err(|error| OutboxError::Read { cause: error.to_string() })
    }

    /// Gives up everything through a sequence number: the cloud has it in its database.
    ///
    /// The cursor reaches the disk within about a second; a crash before only sends again.
    ///
    /// # Errors
    /// `through` was never kept.
    pub async fn acknowledge(&self, through: u64) -> Result<(), OutboxError> {
        self.ask(|answer| Order::Acknowledge(through, answer)).await
    }

    /// Everything up to here is acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.index().acknowledged
    }

    /// The last sequence number on disk; changes wake whoever waits for entries to send.
    #[must_use]
    pub fn kept(&self) -> watch::Receiver<u64> {
        self.shared.kept.subscribe()
    }

    /// How full the outbox is.
    #[must_use]
    pub fn health(&self) -> OutboxHealth {
        self.shared.index().health()
    }

    /// What happened since the last call that a person should know, for the next health report.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        self.shared.take_notices()
    }

    /// Writes what waits, saves the cursors and ends the thread; the directory is free when this returns.
    pub async fn close(self) {
        let _ = self.ask(Order::Close).await;
    }

    async fn send(
        &self,
        body: Body,
        entropy: u128,
    ) -> Result<oneshot::Receiver<Result<u64, OutboxError>>, OutboxError> {
        let in_flight = Arc::clone(&self.in_flight);
        let permit = in_flight.acquire_owned().await.map_err(|_| OutboxError::Closed)?;
        let (answer, receiver) = oneshot::channel();
        self.orders.send(Order::Append(Box::new(body), entropy, answer, permit)).map_err(|_| OutboxError::Closed)?;
        Ok(receiver)
    }

    async fn ask(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), OutboxError>>) -> Order,
    ) -> Result<(), OutboxError> {
        let (answer, receiver) = oneshot::channel();
        self.orders.send(order(answer)).map_err(|_| OutboxError::Closed)?;
        receiver.await.map_err(|_| OutboxError::Closed)?
    }
}
