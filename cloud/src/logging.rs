//! Logs through tracing: to the journal when there is one, to standard error otherwise.
