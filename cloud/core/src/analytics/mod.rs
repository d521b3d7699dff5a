//! Counting what happened, by hours and days of a stated time zone.
//!
//! Counts of closed quarters of an hour are kept ready ([`Quarter`], in UTC): every time zone in use today has an
//! offset of whole quarters, so the hours and days of each are made of whole quarters. What is not (the first and last
//! minutes of a question, quarters to which an event was added late) is counted from the events themselves:
//! [`cover`] says which is which. So an answer is exact whatever has been counted ahead.

mod buckets;
mod cover;
mod stays;
mod tally;

pub use self::buckets::{Bucket, MAX_BUCKETS, Step, TooMany, Zone, buckets};
pub use self::cover::{Cover, Quarter, Raw, cover};
pub use self::stays::Stays;
pub use self::tally::{Crosses, Tally};

#[cfg(test)]
mod tests;
