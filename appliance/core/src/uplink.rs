//! The window of the outbox in flight: what to send next, what an acknowledgement covers.
