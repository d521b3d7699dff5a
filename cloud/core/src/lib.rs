//! Decisions of the cloud, without I/O.

pub mod access;
pub mod account;
pub mod analytics;
pub mod audit;
pub mod command;
pub mod desired;
pub mod idempotency;
pub mod label;
pub mod letters;
pub mod notify;
pub mod pace;
pub mod page;
pub mod people;
pub mod presence;
pub mod range;
pub mod relay;
pub mod retention;
pub mod rights;
pub mod rules;
pub mod second_factor;
pub mod spreadsheet;
pub mod throttle;
