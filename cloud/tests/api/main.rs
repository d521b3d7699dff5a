//! The API over HTTP against the whole running cloud.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod accounts;
mod alerts;
mod analytics;
mod api_keys;
mod audit;
mod back_tests;
mod backup;
mod balancers;
mod cloud;
mod commands;
mod desired;
mod device;
mod document;
mod edge_state;
mod edges;
mod enrollment;
mod events;
mod failures;
mod guessing;
mod idempotency;
mod live;
mod media;
mod mqtt_edge;
mod notifications;
mod operations;
mod operators;
mod people;
mod providers;
mod retention;
mod second_factor;
mod service;
mod sessions;
mod settings;
mod tenants;
