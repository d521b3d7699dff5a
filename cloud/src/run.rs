//! Builds, wires and supervises the running cloud.
