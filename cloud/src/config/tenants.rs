//! `[tenants]`: exports of tenants, and the time before one is deleted.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::part::Part;

/// Longest wait in days; more is a wrong number.
const MAX_DAYS: u32 = 365;

/// Exports of tenants, and the time before one is deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantsConfig {
    /// Days from asking for the deletion of a tenant to its beginning, in which it can be called off; 0 for none.
    /// Default 7.
    pub deletion_wait_days: u32,
    /// Days for which an export can be downloaded before it is deleted. Default 7.
    pub export_days: u32,
}

impl Default for TenantsConfig {
    fn default() -> Self {
        Self { deletion_wait_days: 7, export_days: 7 }
    }
}

impl Part for TenantsConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.deletion_wait_days > MAX_DAYS {
            return ConfigError::wrong("tenants.deletion_wait_days", "must be at most 365");
        }
        if !(1..=MAX_DAYS).contains(&self.export_days) {
            return ConfigError::wrong("tenants.export_days", "must be 1 to 365");
        }
        Ok(())
    }
}
