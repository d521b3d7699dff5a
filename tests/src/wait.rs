//! Waiting for a condition with a deadline, instead of sleeping and hoping.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks until `look` gives a value.
///
/// # Errors
/// Nothing came within `deadline`; the message says `what` was waited for.
pub async fn until<T, F: AsyncFnMut() -> Result<Option<T>>>(what: &str, deadline: Duration, mut look: F) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last_error = None;
    loop {
        match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => last_error = Some(error),
        }
        if Instant::now() >= end {
            bail!("no {what} within {deadline:?}; last error: {last_error:?}");
        }
        sleep(INTERVAL).await;
    }
}
