//! The processes of the cloud that are at work, and the connections they hold.
//!
//! Each process says every few seconds that it lives. When one has been silent for longer than [`LEASE_MS`], another
//! one marks the edges that were connected to it, and only those, as not connected.

use std::sync::atomic::{AtomicI64, Ordering};

use super::sql::{Dialect, Transaction, values};
use super::{EdgeKey, Engine, Store, StoreError};

/// How long a process that says nothing counts as alive, in milliseconds. It says something every 10 s, and it may
/// miss two of them.
const LEASE_MS: i64 = 30_000;

impl Store {
    /// The number of a new connection: higher than that of every connection any process has made before.
    ///
    /// # Errors
    /// The database's own.
    pub async fn next_connection(&self) -> Result<u64, StoreError> {
        let number = match &*self.engine {
            // There is one process, so counting in it spares a commit for each connection.
            Engine::Sqlite(_) => {
                let highest = "select coalesce(max(generation), 0) from edges";
                let counter = self.connections.get_or_try_init(|| async move {
                    self.lookup(move |transaction| number(transaction, highest)).await.map(AtomicI64::new)
                });
                counter.await?.fetch_add(1, Ordering::Relaxed) + 1
            }
            Engine::Postgres(_) => {
                self.write(|transaction| number(transaction, "select nextval('connection_numbers')")).await?
            }
        };
        u64::try_from(number).map_err(|_| StoreError::Database("connections have a negative number".into()))
    }

    /// Enters this process among those at work; others reach it at `address`, if at all. Edges that were connected to a
    /// process that is no more are marked as not connected; an SQLite file has one process, so there all are.
    ///
    /// # Errors
    /// The database's own.
    pub async fn join_processes(&self, address: Option<String>) -> Result<(), StoreError> {
        let process = self.process.clone();
        // It joins once.
        let _ = self.address.set(address.clone());
        self.write(move |transaction| {
            if transaction.dialect() == Dialect::Sqlite {
                transaction.execute("delete from processes", &[])?;
            }
            say_alive(transaction, &process, address.as_deref())?;
            delete_silent(transaction)?;
            let lost = "update edges set connected = 0, process = null
                        where connected = 1 and (process is null or process not in (select id from processes))";
            transaction.execute(lost, &[])?;
            let lost = "delete from relay_homes where process not in (select id from processes)";
            transaction.execute(lost, &[]).map(drop)
        })
        .await
    }

    /// Says that this process lives, and sees to those that have fallen silent. False when this process itself was
    /// taken for dead meanwhile: then it must tell again who is connected to it.
    ///
    /// # Errors
    /// The database's own.
    pub async fn stay_alive(&self) -> Result<bool, StoreError> {
        let (process, address) = (self.process.clone(), self.address.get().cloned().flatten());
        let work = move |transaction: &mut Transaction<'_>| {
            let known = say_alive(transaction, &process, address.as_deref())?;
            let silent = delete_silent(transaction)?;
            silent.iter().try_for_each(|process| forget(transaction, process))?;
            Ok((known, silent))
        };
        let (known, silent) = self.write(work).await?;
        for process in silent {
            tracing::warn!(process, "another process of the cloud has fallen silent; its edges connect elsewhere");
        }
        Ok(known)
    }

    /// Takes this process away from those at work.
    ///
    /// # Errors
    /// The database's own.
    pub async fn leave_processes(&self) -> Result<(), StoreError> {
        let process = self.process.clone();
        self.write(move |transaction| {
            forget(transaction, &process)?;
            transaction.execute("delete from processes where id = ?1", &values![&process]).map(drop)
        })
        .await
    }

    /// Marks an edge as connected whose session has been here all the time.
    ///
    /// # Errors
    /// The database's own.
    pub async fn still_connected(&self, edge: EdgeKey, generation: u64) -> Result<(), StoreError> {
        let generation = i64::try_from(generation).unwrap_or(i64::MAX);
        let process = self.process.clone();
        let sql = "update edges set connected = 1, process = ?3 where id = ?1 and generation = ?2";
        self.write(move |transaction| transaction.execute(sql, &values![edge.0, generation, &process])).await.map(drop)
    }
}

/// True when the process was known.
fn say_alive(transaction: &mut Transaction<'_>, process: &str, address: Option<&str>) -> Result<bool, StoreError> {
    let known = transaction.exists("select id from processes where id = ?1", &values![process])?;
    let sql = format!(
        "insert into processes (id, alive_until, address) values (?1, {} + {LEASE_MS}, ?2)
         on conflict (id) do update set alive_until = excluded.alive_until",
        clock(transaction)
    );
    transaction.execute(&sql, &values![process, address])?;
    Ok(known)
}

fn delete_silent(transaction: &mut Transaction<'_>) -> Result<Vec<String>, StoreError> {
    let sql = format!("delete from processes where alive_until < {} returning id", clock(transaction));
    transaction.all(&sql, &[], |row| row.get(0))
}

/// Marks the edges that were connected to a process that is no more as not connected, and gives their relays free.
fn forget(transaction: &mut Transaction<'_>, process: &str) -> Result<(), StoreError> {
    transaction.execute("delete from relay_homes where process = ?1", &values![process])?;
    let sql = "update edges set connected = 0, process = null where process = ?1";
    transaction.execute(sql, &values![process]).map(drop)
}

/// The database's clock in milliseconds: those of several servers differ.
fn clock(transaction: &Transaction<'_>) -> &'static str {
    match transaction.dialect() {
        Dialect::Sqlite => "cast(unixepoch('subsec') * 1000 as integer)",
        Dialect::Postgres => "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)",
    }
}

fn number(transaction: &mut Transaction<'_>, sql: &str) -> Result<i64, StoreError> {
    transaction.first(sql, &[], |row| row.get(0)).map(Option::unwrap_or_default)
}
