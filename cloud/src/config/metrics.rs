//! `[metrics]`: where Prometheus looks.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::part::Part;
use super::{ConfigError, Secret};

/// Fewest bytes of a token that is sent over a network.
const MIN_TOKEN_BYTES: usize = 16;

/// Where Prometheus looks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where `/metrics`, `/healthz` and `/readyz` answer; port 0 takes a free one. Default none: there is no such page.
    pub bind: Option<SocketAddr>,
    /// Token that `/metrics` asks for, as `Authorization: Bearer`, at least 16 bytes. Needed when `bind` is no loopback
    /// address.
    /// Default none.
    pub token: Option<Secret>,
}

impl Part for MetricsConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.token.as_ref().is_some_and(|token| token.reveal().len() < MIN_TOKEN_BYTES) {
            return ConfigError::wrong("metrics.token", "must have at least 16 bytes");
        }
        match self.bind {
            Some(bind) if !bind.ip().is_loopback() && self.token.is_none() => {
                let problem = format!("is missing: without one, metrics.bind must be a loopback address, is {bind}");
                ConfigError::wrong("metrics.token", problem)
            }
            _ => Ok(()),
        }
    }
}
