//! Decisions of the edge, without I/O: time, pixels and messages come in as values, values go out.
//!
//! The path of a frame: a network's output tensors are turned into boxes ([`decode`], [`nms`], [`letterbox`]),
//! boxes into tracks ([`tracker`]), tracks into reports ([`tracks`]) and zone events ([`zone`]); [`analysis`] joins
//! the last two for one camera under its [`rules`]. [`motion`] says in which pictures nothing changed, [`ground`] how
//! fast something moves over the ground, [`schedule`] when rules are judged; [`replay`] judges recorded tracks again.
//! Nothing here reads a clock, so the same input gives the same bytes.

pub mod analysis;
pub mod backoff;
pub mod best_frame;
pub mod clip;
pub mod continuity;
pub mod decode;
pub mod detection;
pub mod ground;
pub mod letterbox;
pub mod mask;
pub mod model;
pub mod motion;
pub mod nms;
pub mod replay;
pub mod retention;
pub mod rules;
pub mod supervise;
pub mod tracker;
pub mod tracks;
pub mod uplink;
pub mod uploads;
pub mod zone;

pub use aivms_contract::schedule;
