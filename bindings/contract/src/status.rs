//! The heartbeat: small, frequent, lossy.

use serde::{Deserialize, Serialize};

use crate::time::UtcMillis;

/// Says that an edge is alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The edge's clock.
    pub at: UtcMillis,
    /// Version of the appliance program.
    pub version: String,
    /// Seconds since the program started.
    pub uptime_s: u64,
    /// Cameras that stream.
    pub cameras_streaming: u32,
    /// Cameras that should.
    pub cameras_enabled: u32,
    /// Outbox entries not yet acknowledged.
    pub outbox_entries: u64,
    /// Version of the desired document the edge runs; 0 for its local files.
    pub applied_version: u64,
}
