//! Identifiers drawn by the store.

use aivms_contract::id::IdError;
use aivms_contract::time::UtcMillis;
use ulid::Ulid;

use super::StoreError;

/// Draws an identifier whose order is the order of making.
pub(super) fn draw<T>(make: impl FnOnce(&str) -> Result<T, IdError>, now: UtcMillis) -> Result<T, StoreError> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StoreError::Database("the system has no random numbers".into()))?;
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    let text = Ulid::from_parts(millis, u128::from_be_bytes(random)).to_string().to_ascii_lowercase();
    make(&text).map_err(|error| StoreError::Database(error.to_string()))
}
