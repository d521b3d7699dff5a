//! Brings a database file to the schema this program knows, one numbered step after the other.

use rusqlite::{Connection, TransactionBehavior};

use super::super::StoreError;
use super::super::migrations::STEPS;
use super::transaction::store_error;

/// The version after the last step.
#[expect(clippy::cast_possible_wrap, reason = "there will never be 2^63 steps")]
pub(super) const NEWEST: i64 = STEPS.len() as i64;

/// Applies the missing steps, each in a transaction of its own. The version is the file's `user_version`.
///
/// # Errors
/// The file was written by a newer program, is no SQLite database, or can't be written.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let version: i64 = connection.query_row("pragma user_version", [], |row| row.get(0)).map_err(store_error)?;
    if version > NEWEST {
        return Err(StoreError::Database(format!(
            "the file has schema version {version}, this program knows {NEWEST}: start the newer program"
        )));
    }
    for (number, sql) in (1_i64..).zip(STEPS.iter().copied()).filter(|(number, _)| *number > version) {
        step(connection, number, sql)?;
    }
    Ok(())
}

/// Takes one step, to version `number`.
pub(super) fn step(connection: &mut Connection, number: i64, sql: &str) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
    transaction.execute_batch(sql).map_err(store_error)?;
    transaction.pragma_update(None, "user_version", number).map_err(store_error)?;
    transaction.commit().map_err(store_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gets_the_schema_and_a_second_start_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloud.db");
        let schema = |connection: &Connection| -> Vec<Option<String>> {
            let mut statement = connection.prepare("select sql from sqlite_schema order by name").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let mut first = Connection::open(&path).unwrap();
        migrate(&mut first).unwrap();
        let fresh = schema(&first);
        assert!(fresh.len() > 10);
        drop(first);
        let mut second = Connection::open(&path).unwrap();
        migrate(&mut second).unwrap();
        assert_eq!(schema(&second), fresh);
    }

    #[test]
    fn a_file_of_a_newer_program_is_refused_by_name_of_its_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection).unwrap_err().to_string();
        assert!(error.contains("version 99"), "{error}");
    }
}
