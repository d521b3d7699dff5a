//! No tenant sees, changes or even learns of anything of another: tried with every operation of the API's document,
//! every parameter that names a thing, every role, and every door beside the document.
//!
//! Nothing here lists the operations. They come from the document that the running cloud serves; one that the tests
//! don't know how to call fails them, and the message says what to add:
//! - `recipes/` says how a valid request of each operation is made, see [`recipes::Call`];
//! - `docs/ref/roles.md` says who may do it; it is measured, never written by hand.
//!
//! The same over MQTT is in `mqtt_access.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod audited;
#[path = "../api/cloud.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod cloud;
#[path = "../api/device.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod device;
mod document;
mod doors;
mod footage_edge;
mod foreign;
mod limits;
mod once;
mod party;
mod recipes;
mod roles;
mod schemathesis;
mod secrets;
mod security;
mod stock;
