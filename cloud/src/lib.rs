//! The cloud program: edges in over MQTT, people in over HTTP.
//!
//! The path of an event, by file: [`mqtt`] authenticates a connection and checks each packet; [`ingest`] batches;
//! [`store`] records in one transaction; the acknowledgement goes back and [`live`] tells the watchers. The other way,
//! [`dispatch`] brings commands and desired documents from the store to the edges that are connected, and
//! [`edge_watch`] notices those that are not. [`api`] is everything people and enrolling edges call; [`relay`] passes
//! live video and playback on, through `servers` to other processes of the cloud. [`run`] builds, wires and supervises all of it.

pub mod api;
pub mod audit;
pub mod backup;
pub mod ca;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counting;
pub mod dispatch;
pub mod edge_watch;
pub mod escalation;
mod hearing;
mod http;
mod https;
pub mod ingest;
pub mod live;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod mqtt;
pub mod network;
pub mod notify;
pub mod readiness;
pub mod relay;
pub mod retention;
pub mod run;
pub mod sealed;
pub mod secret_file;
mod servers;
mod service;
pub mod store;
pub mod tenants;
