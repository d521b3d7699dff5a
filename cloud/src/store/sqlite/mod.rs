//! SQLite: one file, one writer, several readers.
//!
//! Settings come from measurements (WAL, full synchronisation, 16,000 pages between checkpoints): a full
//! synchronisation per commit costs 5 % at 1,000 events per batch and is what makes an acknowledgement true.

mod claim;
mod database;
mod ingest;
mod migrate;
#[cfg(test)]
mod plans;
mod readers;
mod snapshot;
mod transaction;
#[cfg(test)]
mod upgrade_tests;

pub(super) use self::database::SqliteDatabase;
pub use self::snapshot::{check_sqlite, snapshot_sqlite};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::super::Store;
    use super::super::suite::store_suite;

    store_suite!(tempfile::tempdir().unwrap(), |directory: &TempDir| {
        Arc::new(Store::open_sqlite(&directory.path().join("cloud.db")).unwrap())
    });

    #[test]
    fn the_library_has_the_repair_of_the_wal_reset_defect() {
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }
}
