//! Acknowledgements: how far an outbox is stored.

use serde::{Deserialize, Serialize};

use crate::id::OutboxId;

/// Everything the edge sent of `outbox` up to and including `through` is in the cloud's database.
///
/// An edge sends its outbox in order and starts at its oldest entry on every connection, so one number is
/// enough. It deletes entries up to `through` then, not before, and never beyond what it has sent on this connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The outbox.
    pub outbox: OutboxId,
    /// Last stored sequence number.
    pub through: u64,
}
