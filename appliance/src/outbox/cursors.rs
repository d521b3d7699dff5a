//! What `state/` knows about the outbox. Losing it loses no event: the files are scanned and sent again.

use serde::{Deserialize, Serialize};

use super::index::{Fills, Index};
use super::spool::{FileName, Owner};

/// Most files listed, oldest first, so that the list stays below the size of a value.
const MAX_LISTED: usize = 700;

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

/// The spool files there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Whose outbox it is.
    #[serde(flatten)]
    pub(crate) owner: Owner,
    /// Name, last sequence number so far, entries so far.
    pub(crate) files: Vec<(FileName, u64, u64)>,
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

impl Listed {
    pub(crate) fn of(owner: &Owner, index: &Index) -> Self {
        let listed = index.files.iter().take(MAX_LISTED);
        Self {
            owner: owner.clone(),
            files: listed.map(|file| (file.name, file.last, file.fills.total().entries)).collect(),
        }
    }
}
