//! A real PostgreSQL for tests, from the system's package (`scripts/setup test`).
//!
//! [`TestDatabase`] is what most tests want: an empty database of their own on a server that all tests of the user
//! share, because making a server takes a second of processor time and a database takes a twentieth of one.
//! [`TestServer`] is a server of one test's own, to be stopped, started, and set up differently.
//!
//! Neither outlives its users, however those end: the shared server's keeper asks the kernel whether anybody still
//! holds a lock that every user takes, an own server's keeper reads a pipe that closes with the test.

mod binaries;
mod server;
mod shared;

pub use self::server::{SMALL_MACHINE, TestServer};
pub use self::shared::TestDatabase;
