//! The wire between edge and cloud: ids, time, geometry, topics and messages.
//!
//! Pure data. Nothing here opens a socket, reads a clock or draws a random
//! number; callers pass those in. Every value is checked when it is built or
//! parsed, so code that holds a [`id::CameraId`] or a [`geometry::Polygon`]
//! never checks it again.
//!
//! Messages are JSON, so that a person reads them with `mosquitto_sub`. Events
//! and acknowledgements tolerate unknown fields (an older cloud reads a newer
//! edge); configuration refuses them (a misspelt key must not pass silently).
//! Golden files in `tests/golden/` hold one message of every kind and version
//! and are decoded for ever.

pub mod ack;
pub mod alert;
pub mod clip;
pub mod command;
pub mod desired;
pub mod detection;
pub mod edge_api;
pub mod envelope;
pub mod footage;
pub mod geometry;
pub mod health;
pub mod id;
pub mod identity;
pub mod limits;
pub mod media;
pub mod relay;
pub mod schedule;
pub mod snapshot;
pub mod status;
pub mod temperature;
pub mod time;
pub mod topic;
pub mod why;
pub mod zone_event;

/// Version of topics and envelopes described by this crate; also the `v1` of every topic.
pub const VERSION: u8 = 1;
