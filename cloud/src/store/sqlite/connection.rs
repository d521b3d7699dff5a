//! Connections: one writer thread that owns the only write connection, and readers on blocking threads.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::super::{StoreError, TenantKey};
use super::claim::Claim;
use super::migrate::migrate;
use super::names::Names;

/// Transactions that may wait for the writer. Callers are few and wait for their answer, so this is only met in a
/// storm of reconnects; then they wait in line, and nothing is dropped.
const WRITE_QUEUE: usize = 64;

/// Readers for lists, which may take long.
const LIST_READERS: usize = 4;
/// Lists of one tenant that run at once; the rest of the readers is for others, however slow its lists are.
const LISTS_PER_TENANT: usize = LIST_READERS / 2;
/// Readers for single rows by key, so that slow lists never hold up signing in or connecting.
const LOOKUP_READERS: usize = 2;
/// Longest time a list may take before it is broken off.
const LIST_TIME_LIMIT: Duration = Duration::from_secs(5);
/// Steps of SQLite's virtual machine between two looks at the clock, some tens of microseconds.
const STEPS_PER_LOOK: i32 = 5_000;

/// Prepared statements kept per connection: more than there are texts.
const STATEMENT_CACHE: usize = 64;
/// WAL pages after which the writer checkpoints; the default of 1,000 costs 40 % more CPU per event.
const CHECKPOINT_PAGES: i64 = 16_000;

type Job = Box<dyn FnOnce(&mut Connection, &mut Names) + Send>;

/// An open database file.
#[derive(Debug)]
pub(super) struct Database {
    /// Taken when closing, so that the writer sees the end of the queue.
    writer: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    lists: Arc<Readers>,
    /// Turns at `lists` of the tenants that use them now.
    turns: Mutex<HashMap<TenantKey, Weak<Semaphore>>>,
    lookups: Arc<Readers>,
    /// Dropped after the file is closed.
    _claim: Claim,
}

#[derive(Debug)]
struct Readers {
    free: Semaphore,
    idle: Mutex<Vec<Connection>>,
    time_limit: Duration,
}

impl Database {
    /// Opens or makes the file, brings it to the current schema and starts the writer.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let claim = Claim::take(path)?;
        let mut connection = connect(path, 256)?;
        for (name, value) in [("journal_mode", "wal"), ("synchronous", "full")] {
            connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(no_rows).map_err(store_error)?;
        }
        pragma(&connection, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        pragma(&connection, "journal_size_limit", 256 * 1024 * 1024)?;
        migrate(&mut connection)?;
        let (writer, jobs) = mpsc::channel(WRITE_QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_until_closed(connection, jobs))
            .map_err(|error| StoreError::Database(format!("starting the writer thread: {error}")))?;
        Ok(Self {
            writer: Some(writer),
            thread: Some(thread),
            lists: Arc::new(Readers::open(path, LIST_READERS, LIST_TIME_LIMIT)?),
            turns: Mutex::default(),
            lookups: Arc::new(Readers::open(path, LOOKUP_READERS, LIST_TIME_LIMIT)?),
            _claim: claim,
        })
    }

    /// Runs `work` in one transaction on the writer thread; its answer comes after the commit is on disk. A caller
    /// that gives up waiting leaves a whole transaction behind, never half of one.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut Names) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection, names| {
            let result = in_transaction(connection, names, work);
            if result.is_err() {
                names.forget();
            }
            // Nobody listens when the caller gave up.
            let _ = answer.send(result);
        });
        let writer = self.writer.as_ref().ok_or_else(stopped)?;
        writer.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Runs a list of `tenant` on a reader.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        tenant: TenantKey,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns_of(tenant).acquire_owned().await.map_err(|_| stopped())?;
        // The turn goes with the work: a caller who gives up does not make room for one more.
        let work = move |connection: &Connection| {
            let result = work(connection);
            drop(turn);
            result
        };
        Readers::run(&self.lists, work).await
    }

    fn turns_of(&self, tenant: TenantKey) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = turns.get(&tenant).and_then(Weak::upgrade) {
            return known;
        }
        turns.retain(|_, turns| turns.strong_count() > 0);
        let made = Arc::new(Semaphore::new(LISTS_PER_TENANT));
        turns.insert(tenant, Arc::downgrade(&made));
        made
    }

    /// Runs a look-up by key on a reader.
    pub(super) async fn lookup<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        Readers::run(&self.lookups, work).await
    }
}

impl Drop for Database {
    /// Ends the writer after the transactions already queued, so that the file is closed when this returns.
    fn drop(&mut self) {
        self.writer = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been logged by the writer.
            let _ = thread.join();
        }
    }
}

impl Readers {
    fn open(path: &Path, count: usize, time_limit: Duration) -> Result<Self, StoreError> {
        let connections = (0..count).map(|_| {
            let connection = connect(path, 64)?;
            pragma(&connection, "query_only", 1)?;
            Ok(connection)
        });
        let idle = Mutex::new(connections.collect::<Result<Vec<_>, StoreError>>()?);
        Ok(Self { free: Semaphore::new(count), idle, time_limit })
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
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
            work(connection)
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

/// Says what a failure of SQLite means to callers.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(super) fn store_error(error: rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure | ErrorCode::PermissionDenied) => {
            StoreError::Unwritable(text)
        }
        Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow,
        _ => StoreError::Database(text),
    }
}

fn connect(path: &Path, cache_mib: i64) -> Result<Connection, StoreError> {
    let name = |error: rusqlite::Error| match store_error(error) {
        StoreError::Unwritable(reason) => StoreError::Unwritable(format!("{}: {reason}", path.display())),
        other => StoreError::Database(format!("{}: {other}", path.display())),
    };
    let connection = Connection::open(path).map_err(name)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(name)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    pragma(&connection, "foreign_keys", 1)?;
    pragma(&connection, "cache_size", -cache_mib * 1024)?;
    pragma(&connection, "temp_store", 2)?;
    Ok(connection)
}

fn pragma(connection: &Connection, name: &str, value: i64) -> Result<(), StoreError> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(no_rows).map_err(store_error)
}

/// Some pragmas answer with their new value and some with nothing; both are fine.
fn no_rows(error: rusqlite::Error) -> rusqlite::Result<()> {
    if matches!(error, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(error) }
}

fn stopped() -> StoreError {
    StoreError::Database("the store has been closed".into())
}

fn in_transaction<T>(
    connection: &mut Connection,
    names: &mut Names,
    work: impl FnOnce(&Transaction<'_>, &mut Names) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
    let result = work(&transaction, names)?;
    transaction.commit().map_err(store_error)?;
    Ok(result)
}

/// The writer thread: one transaction after the other until the store is closed. A panic in one of them rolls that
/// one back and is logged; the others go on.
fn write_until_closed(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut names = Names::default();
    while let Some(job) = jobs.blocking_recv() {
        let run = AssertUnwindSafe(|| job(&mut connection, &mut names));
        if std::panic::catch_unwind(run).is_err() {
            tracing::error!("a write to the database panicked and was rolled back; this is a defect");
            names.forget();
        }
    }
    if let Err(error) = connection.execute_batch("pragma optimize") {
        tracing::warn!(%error, "optimising the database at close");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(connection: &Connection) -> Result<i64, StoreError> {
        connection.query_row("select count(*) from tenants", [], |row| row.get(0)).map_err(store_error)
    }

    fn add(transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let sql = "insert into tenants (tenant_id, name, created_at) values (hex(randomblob(8)), '', 0)";
        transaction.execute(sql, []).map(|_| ()).map_err(store_error)
    }

    fn open() -> (tempfile::TempDir, Database) {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("cloud.db")).unwrap();
        (directory, database)
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_a_whole_transaction() {
        let (_directory, database) = open();
        for _ in 0..50 {
            let work = database.write(|transaction, _| {
                add(transaction)?;
                std::thread::sleep(Duration::from_millis(1));
                add(transaction)
            });
            // Polled once: the work is on its way, its answer is never awaited.
            let _ = tokio::time::timeout(Duration::ZERO, work).await;
        }
        let rows = database.write(|transaction, _| count(transaction)).await.unwrap();
        assert_eq!(rows, 100);
        assert_eq!(database.lookup(count).await.unwrap(), rows);
    }

    #[tokio::test]
    async fn a_failed_or_panicking_write_leaves_nothing_and_stops_nobody() {
        let (_directory, database) = open();
        let failed: Result<(), _> =
            database.write(|transaction, _| add(transaction).and(Err(StoreError::NotFound))).await;
        assert!(matches!(failed, Err(StoreError::NotFound)));
        let panicked: Result<(), _> = database
            .write(|transaction, _| {
                add(transaction)?;
                panic!("a defect")
            })
            .await;
        assert!(matches!(panicked, Err(StoreError::Database(_))));
        database.write(|transaction, _| add(transaction)).await.unwrap();
        assert_eq!(database.lookup(count).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_question_that_takes_too_long_is_broken_off_and_its_reader_goes_on() {
        let (directory, database) = open();
        let path = directory.path().join("cloud.db");
        let readers = Arc::new(Readers::open(&path, 1, Duration::from_millis(50)).unwrap());
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
        for _ in 0..2 {
            let broken = Readers::run(&readers, move |connection| {
                connection.query_row(endless, [], |row| row.get::<_, i64>(0)).map_err(store_error)
            });
            assert!(matches!(broken.await, Err(StoreError::TooSlow)));
            assert_eq!(Readers::run(&readers, count).await.unwrap(), 0);
        }
        drop(database);
    }

    #[tokio::test]
    async fn one_tenant_with_slow_lists_leaves_readers_to_the_others() {
        let (_directory, database) = open();
        let database = Arc::new(database);
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
        let slow: Vec<_> = (0..2 * LIST_READERS)
            .map(|_| {
                let database = Arc::clone(&database);
                tokio::spawn(async move {
                    let work = move |connection: &Connection| {
                        connection.query_row(endless, [], |row| row.get::<_, i64>(0)).map_err(store_error)
                    };
                    database.list(TenantKey(1), work).await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let other = tokio::time::timeout(LIST_TIME_LIMIT / 2, database.list(TenantKey(2), count)).await;
        assert_eq!(other.expect("a reader is free").unwrap(), 0);
        slow.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_reader_can_not_write() {
        let (_directory, database) = open();
        let refused =
            database.lookup(|connection| connection.execute("delete from tenants", []).map_err(store_error)).await;
        assert!(matches!(refused, Err(StoreError::Unwritable(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_apart_and_over_when_there_is_room_again() {
        let (_directory, database) = open();
        let limit = |pages: i64| {
            move |transaction: &Transaction<'_>, _: &mut Names| {
                transaction.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(store_error)
            }
        };
        let fill = |transaction: &Transaction<'_>, _: &mut Names| (0..10_000).try_for_each(|_| add(transaction));
        database.write(limit(40)).await.unwrap();
        let full = database.write(fill).await;
        assert!(matches!(full, Err(StoreError::Unwritable(_))), "{full:?}");
        assert_eq!(database.lookup(count).await.unwrap(), 0);
        database.write(limit(1_000_000)).await.unwrap();
        database.write(fill).await.unwrap();
        assert_eq!(database.lookup(count).await.unwrap(), 10_000);
    }
}
