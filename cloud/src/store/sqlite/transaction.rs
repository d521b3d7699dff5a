//! A transaction or a reader of SQLite, as operations see it.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection as Sqlite, ErrorCode, params_from_iter};

use super::super::StoreError;
use super::super::events::{Outcome, Prepared};
use super::super::names::Names;
use super::super::sql::{Connection, Dialect, Enough, Row, Value};
use super::ingest;

/// A connection with an open transaction; a reader has no names and takes no events.
pub(super) struct SqliteConnection<'a> {
    pub(super) sqlite: &'a Sqlite,
    pub(super) names: Option<&'a mut Names>,
}

impl Connection for SqliteConnection<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let touched = self
            .sqlite
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(values)))
            .map_err(store_error)?;
        Ok(touched as u64)
    }

    fn query(
        &mut self,
        sql: &str,
        values: &[Value],
        each: &mut dyn FnMut(&Row) -> Result<Enough, StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.sqlite.prepare_cached(sql).map_err(store_error)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values)).map_err(store_error)?;
        // A statement that changes rows has changed all of them before it shows the first.
        while let Some(row) = rows.next().map_err(store_error)? {
            let read = (0..columns).map(|index| row.get_ref(index).map_err(store_error).and_then(value));
            if each(&Row::new(read.collect::<Result<_, _>>()?))? == Enough::Yes {
                break;
            }
        }
        Ok(())
    }

    fn insert_events(&mut self, batch: &[Prepared]) -> Result<Vec<Outcome>, StoreError> {
        let names = self.names.take().ok_or_else(|| StoreError::Database("a reader takes no events".into()))?;
        let outcomes = ingest::insert_events(self, names, batch);
        self.names = Some(names);
        outcomes
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
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

fn value(column: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|error| StoreError::Database(format!("text: {error}")))?;
            Value::Text(text.to_owned())
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}
