//! From accepted publishes to rows: bounded channel, batched transaction, acknowledgement.

use aivms_contract::id::EdgeId;
use aivms_contract::topic::UpKind;
use tokio_util::sync::CancellationToken;

use crate::live::LiveHints;
use crate::store::{Incoming, Message, Recorded, SharedStore};

/// The way into the database for durable messages; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest {}

/// Commits what waits; run it in a task of its own.
#[derive(Debug)]
pub struct Batches {}

/// Says why messages were not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The cloud is shutting down; the messages may or may not be stored, and must be sent again.
    #[error("the cloud is shutting down")]
    Stopped,
}

/// Says why a payload on a durable topic can be neither stored nor set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not an envelope with edge, outbox and sequence number.
    #[error("not an envelope: {0}")]
    Unreadable(String),
    /// The envelope names another edge than the sender.
    #[error("edge: is {0}, which is not the sender")]
    ForeignEdge(EdgeId),
}

impl Ingest {
    /// Makes the pair; `hints` hears of each commit.
    #[must_use]
    pub fn new(_store: SharedStore, _hints: LiveHints) -> (Self, Batches) {
        unimplemented!()
    }

    /// Records `messages`; when it returns, they are on disk. Waits as long as the database can't be written.
    ///
    /// # Errors
    /// The cloud is shutting down.
    pub async fn record(&self, _messages: Vec<Incoming>) -> Result<Recorded, IngestError> {
        unimplemented!()
    }
}

impl Batches {
    /// Runs until `shutdown` or until every [`Ingest`] is gone.
    pub async fn run(self, _shutdown: CancellationToken) {
        unimplemented!()
    }
}

/// Reads what `edge` published on `kind`.
///
/// # Errors
/// It can't be told whose message it is and where in an outbox it belongs.
pub fn read_message(_kind: UpKind, _payload: &[u8], _edge: &EdgeId) -> Result<Message, MessageError> {
    unimplemented!()
}
