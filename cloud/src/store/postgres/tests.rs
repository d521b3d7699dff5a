//! The suite, and what only PostgreSQL must keep.

use std::sync::Arc;

use aivms_test_database::TestDatabase;
use tokio::runtime::Handle;

use super::super::suite::store_suite;
use super::super::{SharedStore, Store};

fn open(database: &TestDatabase) -> SharedStore {
    let settings = database.url().parse().unwrap();
    let opened = tokio::task::block_in_place(|| Handle::current().block_on(Store::open_postgres(&settings)));
    Arc::new(opened.unwrap())
}

store_suite!(TestDatabase::create().unwrap(), open);
