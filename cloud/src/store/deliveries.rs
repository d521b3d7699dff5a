//! Messages owed for alerts.

use super::StoreError;
use super::alerts::AlertNews;
use super::sql::Transaction;

/// Writes down which messages are owed for what happened to an alert, in the transaction in which it did.
pub(super) fn owe(_transaction: &mut Transaction<'_>, _news: &AlertNews) -> Result<(), StoreError> {
    Ok(())
}
