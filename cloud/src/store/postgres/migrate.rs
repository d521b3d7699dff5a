//! Brings a database to the schema this program knows, one numbered step after the other; any number of processes may
//! start at once.

use tokio_postgres::Client;

use super::super::StoreError;
use super::super::migrations::STEPS;
use super::error::store_error;
use super::translate::migration;

/// The step after which events get their form of this database: it leaves that part of the shared schema to it.
pub(super) const EVENTS_AFTER: usize = 3;
const EVENTS: &str = include_str!("events.sql");

/// Any number that no other program in the same database uses: "aivm" in ASCII.
pub(super) const MIGRATION_LOCK: i64 = 0x6169_766d;

/// Applies the missing steps, each in a transaction of its own.
///
/// # Errors
/// The database was written by a newer program, does not keep Unicode, or can't be written.
pub(super) async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    check_encoding(client).await?;
    while step(client).await? {}
    Ok(())
}

/// Applies the next step; false when there is none.
pub(super) async fn step(client: &mut Client) -> Result<bool, StoreError> {
    let told = |error: tokio_postgres::Error| store_error(&error);
    // The lock serves instead: who waits for it must see what the one before has done.
    let begun = client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::ReadCommitted).start();
    let transaction = begun.await.map_err(told)?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await.map_err(told)?;
    transaction
        .batch_execute("create table if not exists schema_version (version bigint not null)")
        .await
        .map_err(told)?;
    let found = transaction.query_opt("select max(version) from schema_version", &[]).await.map_err(told)?;
    let version = found.and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or_default();
    let done = usize::try_from(version).unwrap_or_default();
    if done > STEPS.len() {
        return Err(StoreError::Database(format!(
            "the database has schema version {version}, this program knows {}: start the newer program",
            STEPS.len()
        )));
    }
    let Some(sql) = STEPS.get(done) else { return Ok(false) };
    transaction.batch_execute(&migration(sql)).await.map_err(|error| in_step(done + 1, &error))?;
    if done + 1 == EVENTS_AFTER {
        transaction.batch_execute(EVENTS).await.map_err(|error| in_step(done + 1, &error))?;
    }
    let next = version + 1;
    transaction.execute("insert into schema_version (version) values ($1)", &[&next]).await.map_err(told)?;
    transaction.commit().await.map_err(told)?;
    Ok(true)
}

async fn check_encoding(client: &Client) -> Result<(), StoreError> {
    let row = client.query_one("show server_encoding", &[]).await.map_err(|error| store_error(&error))?;
    match row.get::<_, String>(0).as_str() {
        "UTF8" => Ok(()),
        other => Err(StoreError::Database(format!(
            "the database keeps {other}; make one that keeps Unicode: create database … encoding 'UTF8' template template0"
        ))),
    }
}

fn in_step(number: usize, error: &tokio_postgres::Error) -> StoreError {
    match store_error(error) {
        StoreError::Database(reason) => StoreError::Database(format!("schema step {number}: {reason}")),
        other => other,
    }
}
