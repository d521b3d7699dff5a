//! The recorder over real files: what it is fed is in the footage, whatever is done to it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests fail as tests do")]

mod cuts;
#[path = "../support/disk.rs"]
mod disk;
mod evidence;
mod full_disk;
mod index;
mod kill;
mod machine;
mod machine_cut;
mod material;
#[path = "../support/no_room.rs"]
mod no_room;
mod powercut;
#[path = "../support/probe.rs"]
mod probe;
mod program;
mod rig;
mod torn;
