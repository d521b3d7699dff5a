//! Checks cameras, disk, clock, cloud and certificate, and says what to do.
