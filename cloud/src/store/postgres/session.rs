//! One connection with one transaction, as operations work with it: on a thread that may wait.

use deadpool_postgres::Object;
use futures_util::future::join;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::super::events::{Outcome, Prepared};
use super::super::names::Names;
use super::super::sql::{Connection, Dialect, Enough, Row, Transaction, Value};
use super::super::{News, StoreError};
use super::error::{Again, again, store_error};
use super::events;
use super::news::payloads;
use super::translate::placeholders;
use super::value::{Parameter, row};

/// Statements kept per connection before all are forgotten: more than there are texts, less than would matter to the
/// server's memory.
const STATEMENT_CACHE: usize = 1_000;

/// What kind of transaction begins with the first statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// As if it were alone.
    Write,
    /// Orders itself by the lock of the feed, so it needs no more than to see what was committed before it.
    Ingest,
    /// Sees one state of the database.
    Read,
}

/// A transaction's end: what the work gave, and whether it may be run again.
pub(super) type Ended<T> = (Result<T, StoreError>, Again);

/// A borrowed connection. It goes back to its pool only when its transaction has certainly ended.
pub(super) struct Session {
    client: Option<Object>,
    runtime: Handle,
    begin: Option<Begin>,
    /// What ingest remembers of the names; nobody else inserts events.
    names: Option<OwnedMutexGuard<Names>>,
    /// The first failure. After it PostgreSQL takes nothing more, and a commit would quietly roll back.
    failed: Option<(StoreError, Again)>,
}

/// Runs `work` in a transaction to its end. Must be called on a thread that may wait.
pub(super) fn run<T>(
    client: Object,
    begin: Begin,
    names: Option<OwnedMutexGuard<Names>>,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
) -> Ended<T> {
    let mut session =
        Session { client: Some(client), runtime: Handle::current(), begin: Some(begin), names, failed: None };
    let mut transaction = Transaction::new(&mut session);
    let result = work(&mut transaction);
    let news = transaction.into_news();
    session.end(result, &news)
}

impl Session {
    fn end<T>(mut self, result: Result<T, StoreError>, news: &[News]) -> Ended<T> {
        let result = match (self.failed.take(), result) {
            (Some((error, again)), Ok(_)) => (Err(error), again),
            (Some((_, again)), Err(error)) => (Err(error), again),
            (None, Err(error)) => (Err(error), Again::No),
            (None, Ok(value)) => match self.commit(news) {
                Ok(()) => (Ok(value), Again::No),
                Err(error) => (Err(store_error(&error)), again(&error)),
            },
        };
        if result.0.is_err() {
            self.roll_back();
            if let Some(names) = &mut self.names {
                names.forget();
            }
        }
        if result.1 == Again::StalePlan
            && let Some(client) = &self.client
        {
            client.statement_cache.clear();
        }
        // Certainly ended, so that others may have the connection.
        if !self.is_broken() {
            drop(self.client.take());
        }
        result
    }

    /// The news and the commit travel together. News alone, of a transaction without a statement, is told at once.
    fn commit(&mut self, news: &[News]) -> Result<(), Error> {
        let Some(client) = &self.client else { return Ok(()) };
        let has_begun = self.begin.is_none();
        self.runtime.block_on(async {
            for payload in payloads(news) {
                let told = client.prepare_cached("select pg_notify('aivms_news', $1)").await?;
                client.execute(&told, &[&payload]).await?;
            }
            if has_begun { client.batch_execute("commit").await } else { Ok(()) }
        })
    }

    /// Ends a transaction that failed; a connection on which that fails is closed instead, which ends it as well.
    fn roll_back(&mut self) {
        let Some(client) = &self.client else { return };
        if self.begin.is_none() && self.runtime.block_on(client.batch_execute("rollback")).is_err() {
            self.discard();
        }
    }

    fn is_broken(&self) -> bool {
        self.client.as_ref().is_none_or(|client| client.is_closed())
    }

    fn discard(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }

    /// Runs a statement and returns its rows and how many it touched.
    pub(super) fn rows(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let begin = self.begin;
        let client = self.usable()?;
        let result = self.runtime.block_on(async {
            let statement = client.prepare_cached(sql).await?;
            match begin {
                None => client.query(&statement, values).await,
                // Sent together: one round trip less.
                Some(begin) => {
                    let (begun, rows) = join(client.batch_execute(begin.sql()), client.query(&statement, values)).await;
                    begun.and(rows)
                }
            }
        });
        self.note(result)
    }

    /// Runs a statement and returns how many rows it touched.
    pub(super) fn touch(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        let begin = self.begin;
        let client = self.usable()?;
        let result = self.runtime.block_on(async {
            let statement = client.prepare_cached(sql).await?;
            match begin {
                None => client.execute(&statement, values).await,
                Some(begin) => {
                    let (begun, count) =
                        join(client.batch_execute(begin.sql()), client.execute(&statement, values)).await;
                    begun.and(count)
                }
            }
        });
        self.note(result)
    }

    fn usable(&self) -> Result<&Object, StoreError> {
        let client = self.client.as_ref().filter(|_| self.failed.is_none());
        let client = client.ok_or_else(|| StoreError::Database("the transaction has failed before".into()))?;
        if client.statement_cache.size() > STATEMENT_CACHE {
            client.statement_cache.clear();
        }
        Ok(client)
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, StoreError> {
        // Begun or not, ending it does no harm.
        self.begin = None;
        result.map_err(|error| {
            let told = store_error(&error);
            self.failed = Some((store_error(&error), again(&error)));
            told
        })
    }
}

impl Drop for Session {
    /// Reached with a connection only by a panic: closing it ends the transaction.
    fn drop(&mut self) {
        self.discard();
    }
}

impl Begin {
    fn sql(self) -> &'static str {
        match self {
            Self::Write => "begin isolation level serializable",
            Self::Ingest => "begin isolation level read committed",
            Self::Read => "begin isolation level repeatable read read only",
        }
    }
}

impl Connection for Session {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let parameters: Vec<_> = values.iter().map(Parameter).collect();
        self.touch(&placeholders(sql), &borrowed(&parameters))
    }

    fn query(
        &mut self,
        sql: &str,
        values: &[Value],
        each: &mut dyn FnMut(&Row) -> Result<Enough, StoreError>,
    ) -> Result<(), StoreError> {
        let parameters: Vec<_> = values.iter().map(Parameter).collect();
        for found in self.rows(&placeholders(sql), &borrowed(&parameters))? {
            if each(&row(&found)?)? == Enough::Yes {
                break;
            }
        }
        Ok(())
    }

    fn insert_events(&mut self, batch: &[Prepared]) -> Result<Vec<Outcome>, StoreError> {
        let Some(mut names) = self.names.take() else {
            return Err(StoreError::Database("events are inserted by ingest alone".into()));
        };
        let outcomes = events::insert(self, &mut names, batch);
        self.names = Some(names);
        outcomes
    }
}

fn borrowed<'a>(parameters: &'a [Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect()
}
