//! Tells watchers that events were stored: a hint, then they read.
