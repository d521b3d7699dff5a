//! What `state/` knows about the outbox. Losing it loses no event: the files are scanned and sent again.

use serde::{Deserialize, Serialize};

use super::index::{Fills, Index};
use super::spool::Owner;

/// The cursors; put at most once a second, and durably before a file is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursors {
    /// Whose outbox it is.
    #[serde(flatten)]
    pub(crate) owner: Owner,
    /// Everything up to here is in the cloud's database.
    pub(crate) acknowledged: u64,
    /// Everything up to here was on disk at least.
    pub(crate) kept: u64,
    /// No sequence number above this was used.
    pub(crate) high_water: u64,
    /// Entries dropped by the shedding rule since the outbox was made.
    pub(crate) shed: u64,
    /// Entries and bytes per kind that wait, in shedding order.
    pub(crate) owed: Fills,
}

impl Cursors {
    pub(crate) fn of(owner: &Owner, index: &Index, high_water: u64) -> Self {
        Self {
            owner: owner.clone(),
            acknowledged: index.acknowledged,
            kept: index.last(),
            high_water,
            shed: index.shed,
            owed: index.owed(),
        }
    }
}
