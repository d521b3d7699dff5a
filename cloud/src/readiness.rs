//! Whether this process can do its work now, and if not, why.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::{SharedStore, StoreError};

/// How long an answer counts: balancers ask often, and each look writes to the database.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// How long the database may take for one small write. Commits of full batches take some 150 ms.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Looks, and remembers for a moment what it saw. Cheap to clone; all clones remember together.
#[derive(Debug, Clone)]
pub struct Readiness {
    inner: Arc<Inner>,
}

struct Inner {
    store: SharedStore,
    stop: CancellationToken,
    /// Locked for as long as a look takes, so that many askers cause one.
    seen: Mutex<Option<(Instant, Result<(), Unready>)>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

/// Why the process can't do its work. Its text names no path and no host; the log does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// It has been told to stop.
    #[error("stopping")]
    Stopping,
    /// The database refuses to be written: full, read-only or away.
    #[error("the database can't be written")]
    Unwritable,
    /// The database did not answer in time.
    #[error("the database did not take a write within {} s", WRITE_LIMIT.as_secs())]
    Slow,
    /// The database failed otherwise.
    #[error("the database fails")]
    Failing,
}

impl Readiness {
    /// Looks at `store`, until `stop`: from then on new work belongs to other processes.
    #[must_use]
    pub fn new(store: SharedStore, stop: CancellationToken) -> Self {
        Self { inner: Arc::new(Inner { store, stop, seen: Mutex::default() }) }
    }

    /// Says whether events and changes can be stored, by what was seen within the last 5 s or by a write now.
    ///
    /// # Errors
    /// See [`Unready`].
    pub async fn look(&self) -> Result<(), Unready> {
        if self.inner.stop.is_cancelled() {
            return Err(Unready::Stopping);
        }
        let mut seen = self.inner.seen.lock().await;
        if let Some((at, found)) = &*seen
            && at.elapsed() < GOOD_FOR
        {
            return found.clone();
        }
        let found = self.write().await;
        let before = seen.replace((Instant::now(), found.clone()));
        let was_ready = before.is_none_or(|(_, before)| before.is_ok());
        match &found {
            Ok(()) if !was_ready => tracing::info!("ready again"),
            Err(cause) if was_ready => tracing::error!(%cause, "not ready"),
            _ => {}
        }
        found
    }

    /// Reads would still succeed on a full or read-only disk, so it is a write that is tried.
    async fn write(&self) -> Result<(), Unready> {
        match timeout(WRITE_LIMIT, self.inner.store.try_write(crate::clock::now())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ StoreError::Unwritable(_))) => {
                tracing::warn!(%error, "looking whether the database can be written");
                Err(Unready::Unwritable)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "looking whether the database can be written");
                Err(Unready::Failing)
            }
            Err(_) => Err(Unready::Slow),
        }
    }
}
