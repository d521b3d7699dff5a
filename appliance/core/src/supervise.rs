//! When a camera's source counts as dead and when it is tried again.
