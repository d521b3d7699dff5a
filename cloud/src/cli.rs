//! The command line: run.
