//! Drives both real programs from outside; shared by tests and benchmarks.
