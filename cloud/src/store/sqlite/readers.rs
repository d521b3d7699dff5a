//! Readers: connections that can only read, lent to blocking tasks.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::super::StoreError;
use super::super::sql::Transaction;
use super::database::{connect, pragma, stopped};
use super::transaction::{SqliteConnection, store_error};

/// Steps of SQLite's virtual machine between two looks at the clock, some tens of microseconds.
const STEPS_PER_LOOK: i32 = 5_000;

/// Connections that are lent to one piece of work at a time.
#[derive(Debug)]
pub(super) struct Readers {
    free: Semaphore,
    idle: Mutex<Vec<Connection>>,
    time_limit: Duration,
}

impl Readers {
    /// Opens `count` connections that can only read.
    pub(super) fn open(path: &Path, count: usize, time_limit: Duration) -> Result<Self, StoreError> {
        let connections = (0..count).map(|_| {
            let connection = connect(path, 64)?;
            pragma(&connection, "query_only", 1)?;
            Ok(connection)
        });
        let idle = Mutex::new(connections.collect::<Result<Vec<_>, StoreError>>()?);
        Ok(Self { free: Semaphore::new(count), idle, time_limit })
    }

    /// Runs `work` on one of them, on what was committed when it began.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(self);
        // A blocking task is never dropped half-way, so the permit travels with it.
        let permit = self.free.acquire().await.map_err(|_| stopped())?;
        permit.forget();
        let task = tokio::task::spawn_blocking(move || {
            let mut borrowed = Borrowed::take(&readers);
            let connection = borrowed.connection.as_mut().ok_or_else(stopped)?;
            let deadline = Instant::now() + readers.time_limit;
            connection
                .progress_handler(STEPS_PER_LOOK, Some(move || Instant::now() > deadline))
                .map_err(store_error)?;
            let snapshot = connection.transaction().map_err(store_error)?;
            work(&mut Transaction::new(&mut SqliteConnection { sqlite: &snapshot, names: None }))
        });
        task.await.map_err(|error| StoreError::Database(format!("reading: {error}")))?
    }
}

/// A connection on loan; goes back when dropped, also by a panic.
struct Borrowed<'a> {
    connection: Option<Connection>,
    readers: &'a Readers,
}

impl<'a> Borrowed<'a> {
    fn take(readers: &'a Readers) -> Self {
        let connection = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { connection, readers }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.connection.take());
        self.readers.free.add_permits(1);
    }
}
