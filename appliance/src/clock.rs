//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use aivms_contract::time::UtcMillis;

/// Reads the system's wall clock. A clock set before 1970 counts as 1970.
#[must_use]
pub fn now() -> UtcMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
