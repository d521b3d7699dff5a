//! What the processes of the cloud tell each other.
//!
//! News is a hint and never data: it may be lost, merged or come twice. Whoever hears it reads the database, and
//! reads it by itself now and then, in case nothing was heard.

use serde::{Deserialize, Serialize};

use super::{EdgeKey, Fingerprint, TenantKey, UserKey};

/// Something was committed that others may be waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// Events are stored up to this number of the feed.
    Events(i64),
    /// The edge has something to be told: a command, or a desired document.
    Edge(EdgeKey),
    /// The edge has made the connection of this number; older ones, on any process, must end.
    Connected(EdgeKey, u64),
    /// Certificates were withdrawn: their sessions must end.
    Withdrawn(Vec<Fingerprint>),
    /// The user's tokens or rights have changed.
    User(UserKey),
    /// Mail is due.
    Mail,
    /// A command, by its row, has changed its state.
    Command(i64),
    /// Deliveries are due.
    Deliveries,
    /// Alerts of the tenant were raised or changed.
    Alerts(TenantKey),
    /// Rules of the tenant have changed.
    Rules(TenantKey),
    /// Somebody waits for the edge's relay: it is to open it.
    RelayWanted(EdgeKey),
    /// Another process than before has the relay of the edge.
    RelayTaken(EdgeKey),
    /// Some news was missed: read everything again.
    Missed,
}
