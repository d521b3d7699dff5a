//! Files of earlier versions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::migrations::STEPS;
use super::super::suite::upgrade::{OldDatabase, a_database_of_every_earlier_version_is_upgraded_with_all_its_rows};
use super::super::{SharedStore, Store};
use super::migrate::step;

struct OldFile(TempDir);

impl OldFile {
    fn path(&self) -> PathBuf {
        self.0.path().join("cloud.db")
    }

    fn texts(&self, sql: &str) -> Vec<String> {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

impl OldDatabase for OldFile {
    const EVENTS_SINCE: usize = 1;

    async fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn step(&mut self, version: usize, rows: &str) {
        let mut connection = Connection::open(self.path()).unwrap();
        step(&mut connection, i64::try_from(version).unwrap(), STEPS[version - 1]).unwrap();
        connection.execute_batch(rows).unwrap();
    }

    async fn open(&self) -> SharedStore {
        Arc::new(Store::open_sqlite(&self.path()).unwrap())
    }

    async fn schema(&self) -> Vec<String> {
        self.texts(
            "select type || ' ' || name || ' ' || coalesce(sql, '') from sqlite_schema
             where name not like 'sqlite_stat%' order by 1",
        )
    }

    async fn counts(&self) -> BTreeMap<String, i64> {
        let tables = self.texts("select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'");
        let connection = Connection::open(self.path()).unwrap();
        let count =
            |table: &str| connection.query_row(&format!("select count(*) from {table}"), [], |row| row.get(0)).unwrap();
        tables.into_iter().map(|table| (table.clone(), count(&table))).collect()
    }

    async fn faults(&self) -> Vec<String> {
        let mut faults =
            self.texts("select \"table\" || ' refers to nothing in ' || parent from pragma_foreign_key_check");
        faults.extend(self.texts("pragma integrity_check").into_iter().filter(|found| found != "ok"));
        faults
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_every_earlier_version_is_upgraded_with_all_its_rows() {
    a_database_of_every_earlier_version_is_upgraded_with_all_its_rows::<OldFile>().await;
}
