//! Outbox and state over real files, crashes and damage included.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod basics;
mod damaged_outbox;
mod damaged_state;
mod full_disk;
mod kill;
#[path = "../support/no_room.rs"]
mod no_room;
mod order;
mod powercut;
mod site;
mod writer;
