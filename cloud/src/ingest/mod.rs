//! From accepted publishes to rows: bounded channel, batched transaction, acknowledgement.
//!
//! Every durable message passes here, whichever way it came: an MQTT session submits what one read of its socket
//! held, the HTTPS backup a whole request. [`Batches`] takes what waits, commits it in one transaction, and only then
//! answers each submitter. While the database can't be written nothing is answered and nothing is lost: the queue
//! fills, submitters wait, and the edges keep their outboxes.

mod batch;
mod figures;
mod message;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::live::LiveHints;
use crate::metrics::{Registry, sampled};
use crate::store::{Incoming, Recorded, SharedStore};
pub use batch::Batches;
use figures::IngestFigures;
pub use message::{MessageError, read_message};

/// Submissions that wait for a commit. Each holds what one socket read or one HTTPS request held, so this is a few
/// tens of thousands of messages at most; when full, submitters wait and stop reading their sockets.
const QUEUE: usize = 256;

/// The way into the database for durable messages; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Submission>,
    figures: IngestFigures,
}

/// Messages that are answered together.
#[derive(Debug)]
struct Submission {
    messages: Vec<Incoming>,
    /// When it was submitted.
    at: Instant,
    done: oneshot::Sender<Recorded>,
}

/// Resolves when what was submitted is on disk; an error means it may or may not be.
pub(crate) type Receipt = oneshot::Receiver<Recorded>;

/// A place in the queue, reserved before there is something to put into it.
pub(crate) struct Place(mpsc::OwnedPermit<Submission>);

/// Says why messages were not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The cloud is shutting down; the messages may or may not be stored, and must be sent again.
    #[error("the cloud is shutting down")]
    Stopped,
}

impl Ingest {
    /// Makes the pair; `hints` hears of each commit.
    #[must_use]
    pub fn new(store: SharedStore, hints: LiveHints) -> (Self, Batches) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let figures = IngestFigures::default();
        (Self { queue, figures: figures.clone() }, Batches::new(store, hints, waiting, figures))
    }

    /// Records `messages`; when it returns, they are on disk. Waits as long as the database can't be written.
    /// The counts are those of the whole commit, which may hold messages of others.
    ///
    /// # Errors
    /// The cloud is shutting down.
    pub async fn record(&self, messages: Vec<Incoming>) -> Result<Recorded, IngestError> {
        let receipt = self.place().await?.submit(messages);
        receipt.await.map_err(|_| IngestError::Stopped)
    }

    /// Submissions that wait for a commit, for those who watch the cloud's own state.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Names the figures of this process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.figures.register(registry);
        // Not the queue itself: ingest ends when nobody can submit any more.
        let queue = self.queue.downgrade();
        let waiting = move || queue.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        let help = "Submissions that wait for a commit";
        sampled(registry, "aivms_ingest_queue_submissions", help, move || i64::try_from(waiting()).unwrap_or(i64::MAX));
    }

    /// Waits for a place in the queue. Submissions are committed in the order of their places being filled.
    pub(crate) async fn place(&self) -> Result<Place, IngestError> {
        self.queue.clone().reserve_owned().await.map(Place).map_err(|_| IngestError::Stopped)
    }

    /// Takes a place when one is free now.
    pub(crate) fn try_place(&self) -> Option<Place> {
        self.queue.clone().try_reserve_owned().ok().map(Place)
    }
}

impl Place {
    pub(crate) fn submit(self, messages: Vec<Incoming>) -> Receipt {
        let (done, receipt) = oneshot::channel();
        self.0.send(Submission { messages, at: Instant::now(), done });
        receipt
    }
}
