//! Measures the edge for its health report and heartbeat.
