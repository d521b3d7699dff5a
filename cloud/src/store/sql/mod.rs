//! What an operation of the store works with, whichever database is behind it: a transaction, values and rows.
//!
//! An operation is written once, as SQL that both databases understand, and runs inside [`Transaction`]. What such
//! SQL looks like:
//!
//! - placeholders are `?1`, `?2`, …; PostgreSQL is given `$1`, `$2`, …;
//! - integers are 64-bit, times are integer milliseconds, truth is 0 or 1, JSON is text;
//! - new rows tell their number by `returning id`; conflicts name their columns;
//! - no functions that only one of them has: no JSON functions, no `max(a, b)`.
//!
//! The few texts that differ ask [`Transaction::dialect`].

mod many;
mod value;

use std::sync::Arc;

use super::events::{Outcome, Prepared};
use super::{Doer, News, StoreError};

pub(crate) use self::value::{Row, Value, values};

/// Which database runs the SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Dialect {
    /// Names the index a list must use, where the planner needs to be told: a suffix of the table's alias.
    pub(crate) fn indexed_by(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!(" indexed by {index}"),
            Self::Postgres => String::new(),
        }
    }

    /// Whether each statement costs a round trip, so that asking for much at once is worth some work.
    pub(crate) fn is_behind_a_network(self) -> bool {
        self == Self::Postgres
    }

    /// The words that join a small table to the one that drives the list. SQLite keeps the order of a cross join.
    pub(crate) fn joined_to_driver(self) -> &'static str {
        match self {
            Self::Sqlite => "cross join",
            Self::Postgres => "join",
        }
    }
}

/// A connection with an open transaction, as the databases implement it.
pub(crate) trait Connection {
    /// Which database this is.
    fn dialect(&self) -> Dialect;
    /// Runs a statement; returns the number of rows it touched.
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError>;
    /// Runs a query and shows each row, until `each` says that it has seen enough.
    fn query(
        &mut self,
        sql: &str,
        values: &[Value],
        each: &mut dyn FnMut(&Row) -> Result<Enough, StoreError>,
    ) -> Result<(), StoreError>;
    /// Stores a batch of events, the one operation each database has its own fastest way for; tells what became of
    /// each, in the order of the batch.
    fn insert_events(&mut self, batch: &[Prepared]) -> Result<Vec<Outcome>, StoreError>;
}

/// Whether a query goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enough {
    /// Show the next row.
    No,
    /// Stop here.
    Yes,
}

impl dyn Connection + '_ {
    /// The first row of a query.
    pub(crate) fn first<T>(
        &mut self,
        sql: &str,
        values: &[Value],
        read: impl FnOnce(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let (mut read, mut found) = (Some(read), None);
        self.query(sql, values, &mut |row| {
            found = read.take().map(|read| read(row)).transpose()?;
            Ok(Enough::Yes)
        })?;
        Ok(found)
    }

    /// All rows of a query.
    pub(crate) fn all<T>(
        &mut self,
        sql: &str,
        values: &[Value],
        mut read: impl FnMut(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.query(sql, values, &mut |row| {
            found.push(read(row)?);
            Ok(Enough::No)
        })?;
        Ok(found)
    }
}

/// One transaction: everything in it happens together, or nothing does.
pub(crate) struct Transaction<'a> {
    connection: &'a mut dyn Connection,
    doer: Option<Arc<Doer>>,
    news: Vec<News>,
}

impl<'a> Transaction<'a> {
    /// A transaction on a connection that has begun one.
    pub(crate) fn new(connection: &'a mut dyn Connection) -> Self {
        Self { connection, doer: None, news: Vec::new() }
    }

    /// Says for whom the transaction works.
    pub(super) fn work_for(&mut self, doer: Option<Arc<Doer>>) {
        self.doer = doer;
    }

    /// For whom the transaction works: the cloud itself when nobody asked for it.
    pub(crate) fn doer(&self) -> Doer {
        self.doer.as_deref().cloned().unwrap_or_else(Doer::system)
    }

    /// Which database this is.
    pub(crate) fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Runs a statement; returns the number of rows it touched.
    pub(crate) fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.connection.execute(sql, values)
    }

    /// The first row of a query.
    pub(crate) fn first<T>(
        &mut self,
        sql: &str,
        values: &[Value],
        read: impl FnOnce(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.connection.first(sql, values, read)
    }

    /// All rows of a query.
    pub(crate) fn all<T>(
        &mut self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.connection.all(sql, values, read)
    }

    /// Whether a query has a row.
    pub(crate) fn exists(&mut self, sql: &str, values: &[Value]) -> Result<bool, StoreError> {
        self.first(sql, values, |_| Ok(())).map(|found| found.is_some())
    }

    /// Stores a batch of events; tells what became of each, in the order of the batch.
    pub(super) fn insert_events(&mut self, batch: &[Prepared]) -> Result<Vec<Outcome>, StoreError> {
        self.connection.insert_events(batch)
    }

    /// Tells this and every other process of the cloud, once the transaction has been committed.
    pub(crate) fn announce(&mut self, news: News) {
        if !self.news.contains(&news) {
            self.news.push(news);
        }
    }

    /// What is to be told after the commit.
    pub(super) fn into_news(self) -> Vec<News> {
        self.news
    }
}
