//! Drives both real programs from outside; shared by tests and benchmarks.
//!
//! Nothing here reaches into the programs: they are started as processes, spoken to over HTTP and MQTT, killed with
//! signals, and judged by what their database holds.

pub mod api;
pub mod browser;
pub mod edge_client;
pub mod faulty;
pub mod fixtures;
pub mod fleet;
pub mod ledger;
pub mod live;
pub mod load;
pub mod proxy;
pub mod report;
pub mod site;
pub mod tracking;
pub mod wait;
