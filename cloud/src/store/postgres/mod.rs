//! PostgreSQL: one database, any number of processes of the cloud.
//!
//! An operation runs on a thread that may wait and owns its connection until the transaction has ended, so nobody
//! who stops waiting for the answer can leave one open. Writes are serialisable, as SQLite's are, and run again when
//! they met another one; batches of events queue at one lock instead, because running a batch twice is dear.

mod error;
#[cfg(test)]
mod event_tests;
mod events;
mod migrate;
mod news;
mod partitions;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod translate;
#[cfg(test)]
mod upgrade_tests;
mod value;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use tokio::sync::{Mutex, broadcast};
use tokio_util::task::AbortOnDropHandle;

use self::error::{Again, store_error};
use self::session::{Begin, Ended, run};
pub use self::settings::{PostgresSettings, UrlError};
use super::names::Names;
use super::sql::Transaction;
use super::turns::Turns;
use super::{News, StoreError, TenantKey};
use crate::clock;

/// Connections for lists, which may take long.
const LIST_CONNECTIONS: usize = 6;
/// Lists of one tenant that run at once; the rest is for others, however slow its lists are.
const LISTS_PER_TENANT: usize = LIST_CONNECTIONS / 2;
/// Connections for single rows by key, so that slow lists never hold up signing in or connecting.
const LOOKUP_CONNECTIONS: usize = 4;
/// Connections for writes. More would only meet each other more often.
const WRITE_CONNECTIONS: usize = 4;
/// Longest time a list may take before it is broken off.
const LIST_LIMIT: Duration = Duration::from_secs(5);
/// Longest time of one statement of a write; the longest is an insert of 5,000 events, a fraction of a second.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for a lock: longer than a process that hangs inside a transaction is left alone (10 s).
const LOCK_LIMIT: Duration = Duration::from_secs(15);
/// So often a write that met another one is run again, after pauses of up to [`LONGEST_PAUSE`].
const ATTEMPTS: u32 = 12;
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// A row that was made twice at the same time is seen on the second try; if not, it is a defect.
const DOUBLE_ATTEMPTS: u32 = 3;
/// Time between two looks whether partitions must be made.
const PARTITION_PERIOD: Duration = Duration::from_secs(3_600);

/// An open PostgreSQL database.
#[derive(Debug)]
pub(super) struct PostgresDatabase {
    lists: Pool,
    turns: Turns,
    lookups: Pool,
    writes: Pool,
    ingest: Pool,
    /// Of the names that events refer to; whoever holds it records events.
    names: Arc<Mutex<Names>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl PostgresDatabase {
    /// Connects, brings the database to the current schema and begins to listen for news.
    pub(super) async fn open(settings: &PostgresSettings, news: broadcast::Sender<News>) -> Result<Self, StoreError> {
        let setup = settings.with("setup", Duration::ZERO, Duration::ZERO);
        let (mut client, connection) =
            setup.config.connect(tls::connector(&setup.tls)?).await.map_err(|error| store_error(&error))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
        migrate::migrate(&mut client).await?;
        partitions::make_ahead(&mut client, clock::now()).await?;
        drop((client, driver));
        let pool = |use_: &str, size, limit| pool(&settings.with(use_, limit, LOCK_LIMIT), size);
        let writes = pool("write", WRITE_CONNECTIONS, WRITE_LIMIT)?;
        let listener = news::listen(settings.with("news", WRITE_LIMIT, LOCK_LIMIT), news);
        let maker = make_partitions(settings.with("partitions", WRITE_LIMIT, Duration::from_secs(3)));
        Ok(Self {
            lists: pool("list", LIST_CONNECTIONS, LIST_LIMIT)?,
            turns: Turns::new(LISTS_PER_TENANT),
            lookups: pool("lookup", LOOKUP_CONNECTIONS, LIST_LIMIT)?,
            writes,
            ingest: pool("ingest", 1, WRITE_LIMIT)?,
            names: Arc::default(),
            _tasks: [
                AbortOnDropHandle::new(tokio::spawn(async { match listener.await {} })),
                AbortOnDropHandle::new(tokio::spawn(maker)),
            ],
        })
    }

    /// Runs `work` in a serialisable transaction, again and again while it meets others. A caller that gives up
    /// waiting leaves a whole transaction behind or none.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut work = work;
        for attempt in 1.. {
            let client = take(&self.writes).await?;
            let (ended, back) = on_thread(move || (run(client, Begin::Write, None, &work), work)).await?;
            work = back;
            match settle(ended, attempt) {
                Some(result) => return result,
                None => pause(attempt).await,
            }
        }
        Err(StoreError::Database("a write has no end".into()))
    }

    /// Runs the recording of a batch.
    pub(super) async fn ingest<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut work = work;
        for attempt in 1.. {
            let names = Arc::clone(&self.names).lock_owned().await;
            let client = take(&self.ingest).await?;
            let (ended, back) = on_thread(move || (run(client, Begin::Ingest, Some(names), &work), work)).await?;
            work = back;
            match settle(ended, attempt) {
                Some(result) => return result,
                None => pause(attempt).await,
            }
        }
        Err(StoreError::Database("a batch has no end".into()))
    }

    /// Runs a list of `tenant`.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        tenant: TenantKey,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns.take(tenant).await?;
        let client = take(&self.lists).await?;
        let ended = on_thread(move || {
            let ended = run(client, Begin::Read, None, work);
            // The turn goes with the work: a caller who gives up does not make room for one more.
            drop(turn);
            ended
        });
        ended.await?.0
    }

    /// Runs a look-up by key.
    pub(super) async fn lookup<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let client = take(&self.lookups).await?;
        on_thread(move || run(client, Begin::Read, None, work)).await?.0
    }
}

/// A result to be told, or `None` when the transaction should run again.
fn settle<T>((result, again): Ended<T>, attempt: u32) -> Option<Result<T, StoreError>> {
    let attempts = match again {
        Again::Conflict => ATTEMPTS,
        Again::Double | Again::StalePlan => DOUBLE_ATTEMPTS,
        Again::No => 1,
    };
    (attempt >= attempts).then_some(result)
}

/// A pause that grows, and differs between those who met.
async fn pause(attempt: u32) {
    let longest = LONGEST_PAUSE.min(Duration::from_millis(2) * 2_u32.saturating_pow(attempt.min(16)));
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}

/// Runs something that waits on a thread where that holds nobody up. It runs to its end whoever waits for the answer.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Database(format!("a transaction was rolled back by a defect: {error}")))
}

fn pool(settings: &PostgresSettings, size: usize) -> Result<Pool, StoreError> {
    // A closed connection is noticed without asking; what a transaction leaves behind is seen to by the session.
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(settings.config.clone(), tls::connector(&settings.tls)?, manager);
    Pool::builder(manager).max_size(size).build().map_err(|error| StoreError::Database(error.to_string()))
}

async fn take(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => store_error(&error),
        other => StoreError::Database(other.to_string()),
    })
}

async fn make_partitions(settings: PostgresSettings) {
    loop {
        tokio::time::sleep(PARTITION_PERIOD.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        if let Err(error) = make_partitions_once(&settings).await {
            tracing::warn!(%error, "the partitions of the coming months can't be made; trying again in an hour");
        }
    }
}

async fn make_partitions_once(settings: &PostgresSettings) -> Result<(), StoreError> {
    let connected = settings.config.connect(tls::connector(&settings.tls)?).await;
    let (mut client, connection) = connected.map_err(|error| store_error(&error))?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    partitions::make_ahead(&mut client, clock::now()).await.map(drop)
}
