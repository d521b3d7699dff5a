//! The DeepStream engine, unchanged, on stand-ins for NVIDIA's elements and on NVIDIA's own metadata libraries where
//! they have been fetched.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod agree;
mod change;
mod faults;
mod memory;
mod mixed;
mod program;
mod site;
mod snapshot;
mod video;
