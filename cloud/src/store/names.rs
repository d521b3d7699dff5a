//! Row numbers of readable names, so that the big table holds integers.

use std::collections::HashMap;

use super::StoreError;
use super::sql::{Connection, Transaction, values};

/// Names remembered per table before all are forgotten: a hostile edge may invent names, memory must not grow with
/// them. A real fleet has a few thousand.
const REMEMBERED: usize = 100_000;

/// What an engine remembers of the name tables.
#[derive(Debug, Default)]
pub(super) struct Names {
    cameras: Remembered,
    zones: Remembered,
    object_classes: Remembered,
    outboxes: Remembered,
}

/// A table of names; the owner is a tenant, and an edge for outboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameTable {
    Cameras,
    Zones,
    ObjectClasses,
    Outboxes,
}

#[derive(Debug, Default)]
struct Remembered {
    /// By owner, then by name, so that a look-up needs no allocation.
    rows: HashMap<i64, HashMap<Box<str>, i64>>,
    count: usize,
}

impl Names {
    /// The row of `name`, made when there is none.
    pub(super) fn row(
        &mut self,
        connection: &mut dyn Connection,
        table: NameTable,
        owner: i64,
        name: &str,
    ) -> Result<i64, StoreError> {
        let remembered = match table {
            NameTable::Cameras => &mut self.cameras,
            NameTable::Zones => &mut self.zones,
            NameTable::ObjectClasses => &mut self.object_classes,
            NameTable::Outboxes => &mut self.outboxes,
        };
        if let Some(row) = remembered.rows.get(&owner).and_then(|names| names.get(name)) {
            return Ok(*row);
        }
        let row = find_or_insert(connection, table, owner, name)?;
        remembered.keep(owner, name, row);
        Ok(row)
    }

    /// Forgets everything; needed when a transaction that may have made rows was rolled back.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The row of `name`, if there is one.
pub(super) fn find(
    transaction: &mut Transaction<'_>,
    table: NameTable,
    owner: i64,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    transaction.first(find_sql(table), &values![owner, name], |row| row.get(0))
}

fn find_or_insert(
    connection: &mut dyn Connection,
    table: NameTable,
    owner: i64,
    name: &str,
) -> Result<i64, StoreError> {
    let values = values![owner, name];
    if let Some(row) = connection.first(find_sql(table), &values, |row| row.get(0))? {
        return Ok(row);
    }
    // Another process may have made it in between; then the conflict says so and the row can be read.
    if let Some(row) = connection.first(insert_sql(table), &values, |row| row.get(0))? {
        return Ok(row);
    }
    let found = connection.first(find_sql(table), &values, |row| row.get(0))?;
    found.ok_or_else(|| StoreError::Database(format!("{table:?}: a name is neither there nor can it be made")))
}

fn find_sql(table: NameTable) -> &'static str {
    match table {
        NameTable::Cameras => "select id from cameras where tenant = ?1 and name = ?2",
        NameTable::Zones => "select id from zones where tenant = ?1 and name = ?2",
        NameTable::ObjectClasses => "select id from object_classes where tenant = ?1 and name = ?2",
        NameTable::Outboxes => "select id from outboxes where edge = ?1 and name = ?2",
    }
}

fn insert_sql(table: NameTable) -> &'static str {
    match table {
        NameTable::Cameras => {
            "insert into cameras (tenant, name) values (?1, ?2) on conflict (tenant, name) do nothing returning id"
        }
        NameTable::Zones => {
            "insert into zones (tenant, name) values (?1, ?2) on conflict (tenant, name) do nothing returning id"
        }
        NameTable::ObjectClasses => {
            "insert into object_classes (tenant, name) values (?1, ?2) on conflict (tenant, name) do nothing
             returning id"
        }
        NameTable::Outboxes => {
            "insert into outboxes (edge, name) values (?1, ?2) on conflict (edge, name) do nothing returning id"
        }
    }
}

impl Remembered {
    fn keep(&mut self, owner: i64, name: &str, row: i64) {
        if self.count >= REMEMBERED {
            *self = Self::default();
        }
        self.count += 1;
        self.rows.entry(owner).or_default().insert(name.into(), row);
    }
}
