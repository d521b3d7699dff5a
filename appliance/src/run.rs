//! Builds, wires and supervises the running appliance.
