//! Alert rules: which of the things that happen deserve a person's attention, and why.
//!
//! An [`Occurrence`] is one thing that happened, whatever told of it: an event of an edge, or something that the cloud
//! itself found out about one.

mod occurrence;

pub use self::occurrence::{Kind, Occurrence, Seen, What};
