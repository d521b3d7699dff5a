//! A copy of a database file that is in use.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::super::StoreError;
use super::migrate::NEWEST;
use super::transaction::store_error;

/// Longest wait for a lock of the program that writes; it holds one for a moment at its start only.
const PATIENCE: Duration = Duration::from_secs(30);

/// Copies the database at `path` to the new file `into`, as it is at one instant: with everything that was committed
/// before the call. The program that writes goes on meanwhile; its log of changes can't be shortened until the copy is
/// done. Needs as much room as the data takes. Blocks.
///
/// # Errors
/// There is no database, `into` can't be made, or the copy is damaged.
pub fn snapshot_sqlite(path: &Path, into: &Path) -> Result<(), StoreError> {
    // For looking only: nothing here may checkpoint or repair what another program has open.
    let connection = open_to_look(path)?;
    let target = into.to_str().ok_or_else(|| StoreError::Database(format!("{}: is not UTF-8", into.display())))?;
    connection.execute("vacuum into ?1", [target]).map_err(|error| named(into, error))?;
    drop(connection);
    let made = |error: std::io::Error| StoreError::Unwritable(format!("{}: {error}", into.display()));
    let file = File::options().write(true).open(into).map_err(made)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(made)?;
    file.sync_all().map_err(made)?;
    check_sqlite(into)
}

/// Checks that the file at `path` is a whole database of a version this program knows. Blocks.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_sqlite(path: &Path) -> Result<(), StoreError> {
    let connection = open_to_look(path)?;
    let version: i64 =
        connection.query_row("pragma user_version", [], |row| row.get(0)).map_err(|error| named(path, error))?;
    if !(1..=NEWEST).contains(&version) {
        let reason = format!("{}: has schema version {version}, this program knows 1 to {NEWEST}", path.display());
        return Err(StoreError::Database(reason));
    }
    let found: String =
        connection.query_row("pragma quick_check(1)", [], |row| row.get(0)).map_err(|error| named(path, error))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Database(format!("{}: {found}", path.display()))) }
}

fn open_to_look(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| named(path, error))?;
    connection.busy_timeout(PATIENCE).map_err(store_error)?;
    Ok(connection)
}

fn named(path: &Path, error: rusqlite::Error) -> StoreError {
    match store_error(error) {
        StoreError::Unwritable(reason) => StoreError::Unwritable(format!("{}: {reason}", path.display())),
        other => StoreError::Database(format!("{}: {other}", path.display())),
    }
}
