//! Tells watchers that events were stored: a hint, then they read.
//!
//! A hint carries no data and may be lost or merged; a watcher reads [`crate::store::Store::feed_after`] from the
//! last number it saw. The same shape works when the hint comes from another process through the database.

use tokio::sync::watch;

/// Announces the newest feed number; cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveHints {
    newest: watch::Sender<i64>,
}

impl Default for LiveHints {
    fn default() -> Self {
        Self { newest: watch::Sender::new(0) }
    }
}

impl LiveHints {
    /// Says that events up to `feed_number` can be read.
    pub fn stored_through(&self, feed_number: i64) {
        self.newest.send_if_modified(|newest| {
            let rises = feed_number > *newest;
            *newest = feed_number.max(*newest);
            rises
        });
    }

    /// Waits for hints; the first `changed` comes with the next stored batch.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }
}
