//! Reading of columns into checked types.

use std::error::Error;
use std::str::FromStr;

use aivms_contract::time::UtcMillis;
use rusqlite::types::Type;
use rusqlite::{Error as SqliteError, Row};

/// Reads a text column into a type with a form of its own.
pub(super) fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<T> {
    row.get_ref(index)?
        .as_str()?
        .parse()
        .map_err(|error| SqliteError::FromSqlConversionFailure(index, Type::Text, Box::new(error)))
}

/// Reads a time column.
pub(super) fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<UtcMillis> {
    row.get(index).map(UtcMillis::from_millis)
}

/// Reads a time column that may be null.
pub(super) fn optional_time(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<UtcMillis>> {
    row.get::<_, Option<i64>>(index).map(|millis| millis.map(UtcMillis::from_millis))
}
