//! The edge program: cameras in, zone events out.
//!
//! The path of the data, by file: [`pipeline`] reads, decodes, detects and tracks; [`aivms_appliance_core::analysis`]
//! decides; [`outbox`] keeps; [`uplink`] sends and deletes what the cloud has stored. [`run`] builds, wires and
//! supervises all of it, and is the only place that spawns long-lived tasks.

pub mod chain;
pub mod cli;
pub mod clips;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod continuity;
pub mod control;
pub mod doctor;
pub mod enroll;
pub mod health;
pub mod identity;
pub mod keeper;
pub mod logging;
pub mod masks;
pub mod outbox;
pub mod pipeline;
pub mod recorder;
pub mod relay;
pub mod retention;
pub mod run;
pub mod snapshots;
pub mod state;
pub mod status;
pub mod temperatures;
#[cfg(test)]
mod testing;
pub mod tracks_file;
pub mod uplink;
pub mod uploads;
pub mod why;
