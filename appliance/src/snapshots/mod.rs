//! Snapshots: each followed object where it is shown best, and what somebody asks for.
//!
//! The analysis says which pictures are worth taking ([`PictureSink`]); [`SnapshotService`] takes them, one after the
//! other, out of the recorded main stream at full size, so that no camera's decoder works for them. Boxes are drawn only
//! where that is asked for. What leaves goes through [`crate::masks`].

mod boxes;
mod service;
mod sink;
mod taker;

pub use boxes::RecentBoxes;
pub use service::{Ask, SnapshotService, Snapshots, requests};
pub use sink::{PictureSink, Pictures, channel};
pub use taker::{TakeError, Taker};

#[cfg(test)]
mod tests;
