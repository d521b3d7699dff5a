//! Connections: one writer thread that owns the only write connection, and readers on blocking threads.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::super::names::Names;
use super::super::sql::Transaction;
use super::super::turns::Turns;
use super::super::{News, StoreError, TenantKey};
use super::claim::Claim;
use super::migrate::migrate;
use super::readers::Readers;
use super::transaction::{SqliteConnection, store_error};

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
/// Prepared statements kept per connection: more than there are texts.
const STATEMENT_CACHE: usize = 64;
/// WAL pages after which the writer checkpoints; the default of 1,000 costs 40 % more CPU per event.
const CHECKPOINT_PAGES: i64 = 16_000;

type Job = Box<dyn FnOnce(&mut Connection, &mut Names) + Send>;

/// An open database file.
#[derive(Debug)]
pub(in super::super) struct SqliteDatabase {
    /// Taken when closing, so that the writer sees the end of the queue.
    writer: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    lists: Arc<Readers>,
    /// Turns at `lists`.
    turns: Turns,
    lookups: Arc<Readers>,
    news: broadcast::Sender<News>,
    /// Dropped after the file is closed.
    _claim: Claim,
}

impl SqliteDatabase {
    /// Opens or makes the file, brings it to the current schema and starts the writer.
    pub(in super::super) fn open(path: &Path, news: broadcast::Sender<News>) -> Result<Self, StoreError> {
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
            turns: Turns::new(LISTS_PER_TENANT),
            lookups: Arc::new(Readers::open(path, LOOKUP_READERS, LIST_TIME_LIMIT)?),
            news,
            _claim: claim,
        })
    }

    /// Runs `work` in one transaction on the writer thread; its answer comes after the commit is on disk. A caller
    /// that gives up waiting leaves a whole transaction behind, never half of one.
    pub(in super::super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let news = self.news.clone();
        let job: Job = Box::new(move |connection, names| {
            let result = in_transaction(connection, names, &news, work);
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
    pub(in super::super) async fn list<T: Send + 'static>(
        &self,
        tenant: TenantKey,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns.take(tenant).await?;
        // The turn goes with the work: a caller who gives up does not make room for one more.
        let work = move |transaction: &mut Transaction<'_>| {
            let result = work(transaction);
            drop(turn);
            result
        };
        self.lists.run(work).await
    }

    /// Runs a look-up by key on a reader.
    pub(in super::super) async fn lookup<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.lookups.run(work).await
    }
}

impl Drop for SqliteDatabase {
    /// Ends the writer after the transactions already queued, so that the file is closed when this returns.
    fn drop(&mut self) {
        self.writer = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been logged by the writer.
            let _ = thread.join();
        }
    }
}

pub(super) fn connect(path: &Path, cache_mib: i64) -> Result<Connection, StoreError> {
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

pub(super) fn pragma(connection: &Connection, name: &str, value: i64) -> Result<(), StoreError> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(no_rows).map_err(store_error)
}

/// Some pragmas answer with their new value and some with nothing; both are fine.
fn no_rows(error: rusqlite::Error) -> rusqlite::Result<()> {
    if matches!(error, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(error) }
}

pub(super) fn stopped() -> StoreError {
    StoreError::Database("the store has been closed".into())
}

fn in_transaction<T>(
    connection: &mut Connection,
    names: &mut Names,
    news: &broadcast::Sender<News>,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
    let mut connection = SqliteConnection { sqlite: &begun, names: Some(names) };
    let mut transaction = Transaction::new(&mut connection);
    let result = work(&mut transaction)?;
    let told = transaction.into_news();
    begun.commit().map_err(store_error)?;
    for one in told {
        // An error means that nobody listens.
        let _ = news.send(one);
    }
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

    fn count(transaction: &mut Transaction<'_>) -> Result<i64, StoreError> {
        number(transaction, "select count(*) from tenants")
    }

    fn number(transaction: &mut Transaction<'_>, sql: &str) -> Result<i64, StoreError> {
        transaction.first(sql, &[], |row| row.get(0)).map(Option::unwrap_or_default)
    }

    fn add(transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        let sql = "insert into tenants (tenant_id, name, created_at) values (hex(randomblob(8)), '', 0)";
        transaction.execute(sql, &[]).map(drop)
    }

    fn open() -> (tempfile::TempDir, SqliteDatabase) {
        let directory = tempfile::tempdir().unwrap();
        let database = SqliteDatabase::open(&directory.path().join("cloud.db"), broadcast::Sender::new(8)).unwrap();
        (directory, database)
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_a_whole_transaction() {
        let (_directory, database) = open();
        for _ in 0..50 {
            let work = database.write(|transaction| {
                add(transaction)?;
                std::thread::sleep(Duration::from_millis(1));
                add(transaction)
            });
            // Polled once: the work is on its way, its answer is never awaited.
            let _ = tokio::time::timeout(Duration::ZERO, work).await;
        }
        let rows = database.write(count).await.unwrap();
        assert_eq!(rows, 100);
        assert_eq!(database.lookup(count).await.unwrap(), rows);
    }

    #[tokio::test]
    async fn a_failed_or_panicking_write_leaves_nothing_and_stops_nobody() {
        let (_directory, database) = open();
        let failed: Result<(), _> = database.write(|transaction| add(transaction).and(Err(StoreError::NotFound))).await;
        assert!(matches!(failed, Err(StoreError::NotFound)));
        let panicked: Result<(), _> = database
            .write(|transaction| {
                add(transaction)?;
                panic!("a defect")
            })
            .await;
        assert!(matches!(panicked, Err(StoreError::Database(_))));
        database.write(add).await.unwrap();
        assert_eq!(database.lookup(count).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_question_that_takes_too_long_is_broken_off_and_its_reader_goes_on() {
        let (directory, database) = open();
        let path = directory.path().join("cloud.db");
        let readers = Arc::new(Readers::open(&path, 1, Duration::from_millis(50)).unwrap());
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
        for _ in 0..2 {
            let broken = readers.run(move |transaction| number(transaction, endless));
            assert!(matches!(broken.await, Err(StoreError::TooSlow)));
            assert_eq!(readers.run(count).await.unwrap(), 0);
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
                    database.list(TenantKey(1), move |transaction| number(transaction, endless)).await
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
        let refused = database.lookup(|transaction| transaction.execute("delete from tenants", &[])).await;
        assert!(matches!(refused, Err(StoreError::Unwritable(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_apart_and_over_when_there_is_room_again() {
        let (_directory, database) = open();
        let limit = |pages: i64| {
            move |transaction: &mut Transaction<'_>| {
                number(transaction, &format!("pragma max_page_count = {pages}")).map(drop)
            }
        };
        let fill = |transaction: &mut Transaction<'_>| (0..10_000).try_for_each(|_| add(transaction));
        database.write(limit(40)).await.unwrap();
        let full = database.write(fill).await;
        assert!(matches!(full, Err(StoreError::Unwritable(_))), "{full:?}");
        assert_eq!(database.lookup(count).await.unwrap(), 0);
        database.write(limit(1_000_000)).await.unwrap();
        database.write(fill).await.unwrap();
        assert_eq!(database.lookup(count).await.unwrap(), 10_000);
    }
}
