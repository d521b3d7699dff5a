//! Clips: spans of recorded video cut for events and on command, and handed to the cloud.
//!
//! [`ClipService`] keeps the list of what is to be cut and does it, one after the other; which, when and of what is
//! decided in [`aivms_appliance_core::clip`]. A clip is made of whole recorded fragments, so nothing is encoded anew and
//! each fragment keeps its hash; only a camera with privacy masks has its clips encoded again ([`crate::masks`]).

mod causes;
mod cutter;
mod jobs;
mod masked;
mod service;
mod span;
mod written;

pub use causes::Told;
pub use cutter::{Causes, CutError, Cutter, Nearest};
pub use service::{Ask, ClipService, Clips, channel};

pub(crate) use masked::{format, unit};
pub(crate) use span::Span;
pub(crate) use written::{HashedFile, Written};

#[cfg(test)]
mod tests;
