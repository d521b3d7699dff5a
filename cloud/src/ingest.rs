//! From accepted publishes to rows: bounded channel, batched transaction, acknowledgement.
