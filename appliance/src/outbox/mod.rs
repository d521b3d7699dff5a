//! What the cloud has not stored yet, on disk.
