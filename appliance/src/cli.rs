//! The command line: run, enroll, doctor, status.
