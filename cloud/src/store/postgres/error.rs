//! What a failure of PostgreSQL means to callers.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::StoreError;
use super::settings::sources;

/// Whether the same transaction may work when it runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It met another one.
    Conflict,
    /// It made a row that another one made at the same time; a transaction that looks first sees it the next time.
    Double,
    /// The statement was prepared before a newer program changed the schema.
    StalePlan,
    /// No.
    No,
}

/// Says what a failure means to callers. Details of the server are left out: they quote rows.
pub(super) fn store_error(error: &Error) -> StoreError {
    let Some(code) = error.code() else {
        // No answer of the server at all: unreachable, or gone in the middle.
        return StoreError::Unwritable(format!("no connection to the database: {}", sources(error)));
    };
    let text = match error.as_db_error() {
        Some(told) => format!("{} (SQLSTATE {})", told.message(), code.code()),
        None => sources(error),
    };
    match *code {
        SqlState::QUERY_CANCELED => StoreError::TooSlow,
        SqlState::DISK_FULL
        | SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::OUT_OF_MEMORY
        | SqlState::IO_ERROR
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => StoreError::Unwritable(text),
        _ if again(error) == Again::Conflict => StoreError::Unwritable(text),
        _ => StoreError::Database(text),
    }
}

/// Says whether the transaction may be run again.
pub(super) fn again(error: &Error) -> Again {
    match error.code() {
        Some(code) if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
            Again::Conflict
        }
        Some(code) if *code == SqlState::UNIQUE_VIOLATION => Again::Double,
        Some(code) if *code == SqlState::FEATURE_NOT_SUPPORTED && error_says(error, "cached plan") => Again::StalePlan,
        _ => Again::No,
    }
}

fn error_says(error: &Error, part: &str) -> bool {
    error.as_db_error().is_some_and(|told| told.message().contains(part))
}
