//! `[calls]`: how many calls of the API people, API keys and tenants may make.

use std::num::NonZeroU32;

use aivms_cloud_core::pace::Pace;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::part::Part;

/// Most calls of any of the settings; more is a wrong number.
const MAX_CALLS: u32 = 1_000_000;

/// How many calls of the API people, API keys and tenants may make. Each process counts those that come to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallsConfig {
    /// Calls a second that a person, in all sessions together, or an API key may make without end; 0 for no limit.
    /// Default 50.
    pub per_second: u32,
    /// Calls that each of them may make at once after a pause. Default 200.
    pub at_once: u32,
    /// Calls a second that a tenant's people and API keys may make together; 0 for no limit. Default 200.
    pub tenant_per_second: u32,
    /// Calls that they may make together at once after a pause. Default 800.
    pub tenant_at_once: u32,
}

impl Default for CallsConfig {
    fn default() -> Self {
        Self { per_second: 50, at_once: 200, tenant_per_second: 200, tenant_at_once: 800 }
    }
}

impl CallsConfig {
    /// What a person or an API key may do; `None` for no limit.
    #[must_use]
    pub fn per_caller(&self) -> Option<Pace> {
        pace(self.per_second, self.at_once)
    }

    /// What a tenant may do; `None` for no limit.
    #[must_use]
    pub fn per_tenant(&self) -> Option<Pace> {
        pace(self.tenant_per_second, self.tenant_at_once)
    }
}

fn pace(per_second: u32, at_once: u32) -> Option<Pace> {
    Some(Pace { per_second: NonZeroU32::new(per_second)?, at_once: NonZeroU32::new(at_once)? })
}

impl Part for CallsConfig {
    fn check(&self) -> Result<(), ConfigError> {
        for (name, calls, least) in [
            ("calls.per_second", self.per_second, 0),
            ("calls.at_once", self.at_once, 1),
            ("calls.tenant_per_second", self.tenant_per_second, 0),
            ("calls.tenant_at_once", self.tenant_at_once, 1),
        ] {
            if !(least..=MAX_CALLS).contains(&calls) {
                return ConfigError::wrong(name, format!("must be {least} to {MAX_CALLS}, is {calls}"));
            }
        }
        Ok(())
    }
}
