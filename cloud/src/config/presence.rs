//! `[presence]`: how patient the cloud is before it tells that an edge has gone or come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::part::Part;

/// Longest hold-off in seconds; more is a wrong number.
const MAX_SECONDS: u32 = 24 * 3600;

/// How patient the cloud is before it tells that an edge has gone or come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PresenceConfig {
    /// Seconds of silence after `edge_timeout_seconds` before an edge is told offline. Default 60.
    pub offline_hold_off_seconds: u32,
    /// Seconds for which an edge that was told offline must be heard without a break before it is told online.
    /// Default 60.
    pub stable_seconds: u32,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self { offline_hold_off_seconds: 60, stable_seconds: 60 }
    }
}

impl PresenceConfig {
    /// The hold-off beside the time-out of an edge.
    #[must_use]
    pub fn hold_off(&self, timeout: Duration) -> aivms_cloud_core::presence::HoldOff {
        aivms_cloud_core::presence::HoldOff {
            timeout,
            offline: Duration::from_secs(self.offline_hold_off_seconds.into()),
            stable: Duration::from_secs(self.stable_seconds.into()),
        }
    }
}

impl Part for PresenceConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let too_long = |name| ConfigError::wrong(name, "must be at most 86400");
        match self {
            Self { offline_hold_off_seconds: seconds, .. } if *seconds > MAX_SECONDS => {
                too_long("presence.offline_hold_off_seconds")
            }
            Self { stable_seconds: seconds, .. } if *seconds > MAX_SECONDS => too_long("presence.stable_seconds"),
            _ => Ok(()),
        }
    }
}
