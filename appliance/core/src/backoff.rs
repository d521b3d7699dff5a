//! Delays between attempts: exponential, capped, with jitter.
