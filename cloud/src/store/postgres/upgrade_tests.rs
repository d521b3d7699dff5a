//! Databases of earlier versions.

use std::collections::BTreeMap;

use aivms_test_database::TestDatabase;

use super::super::SharedStore;
use super::super::suite::upgrade::{OldDatabase, a_database_of_every_earlier_version_is_upgraded_with_all_its_rows};
use super::migrate::{EVENTS_AFTER, step};
use super::translate::migration;

/// What stands beside the shared tables.
const ROWS_OF_EVENTS: &str = include_str!("../suite/upgrade/03_postgres.sql");

/// Columns, indexes and constraints.
const SCHEMA: &str = "
    select concat_ws(' ', table_name, ordinal_position, column_name, data_type, collation_name, is_nullable,
        is_identity, column_default) from information_schema.columns where table_schema = current_schema()
    union all select indexdef from pg_indexes where schemaname = current_schema()
    union all select concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
        where connamespace = current_schema()::regnamespace
    order by 1";

const TABLES: &str = "
    select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')
        and not relispartition and relname <> 'schema_version' order by 1";

const FAULTS: &str = "
    select indexrelid::regclass from pg_index where not indisvalid
    union all select conrelid::regclass from pg_constraint where not convalidated";

impl OldDatabase for TestDatabase {
    const EVENTS_SINCE: usize = EVENTS_AFTER;

    async fn empty() -> Self {
        Self::create().unwrap()
    }

    async fn step(&mut self, version: usize, rows: &str) {
        let (mut client, connection) = tokio_postgres::connect(self.url(), tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        assert!(step(&mut client).await.unwrap());
        client.batch_execute(&in_postgres(rows)).await.unwrap();
        if version == EVENTS_AFTER {
            client.batch_execute(&in_postgres(ROWS_OF_EVENTS)).await.unwrap();
        }
        drop(client);
        connection.await.unwrap().unwrap();
    }

    async fn open(&self) -> SharedStore {
        super::tests::open(self)
    }

    async fn schema(&self) -> Vec<String> {
        lines(self, SCHEMA)
    }

    async fn counts(&self) -> BTreeMap<String, i64> {
        let count = |table: &String| format!("select '{table}', count(*) from {table}");
        let counts: Vec<_> = lines(self, TABLES).iter().map(count).collect();
        let read = |line: &String| {
            let (table, rows) = line.split_once('|').unwrap();
            (table.to_owned(), rows.parse().unwrap())
        };
        lines(self, &counts.join(" union all ")).iter().map(read).collect()
    }

    async fn faults(&self) -> Vec<String> {
        lines(self, FAULTS)
    }
}

/// Rows in PostgreSQL's words: what differs is how bytes are written.
fn in_postgres(rows: &str) -> String {
    migration(rows).replace("X'", r"'\x")
}

fn lines(database: &TestDatabase, sql: &str) -> Vec<String> {
    database.psql(&[sql]).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_every_earlier_version_is_upgraded_with_its_rows() {
    a_database_of_every_earlier_version_is_upgraded_with_all_its_rows::<TestDatabase>().await;
}
