//! When a track is worth a message: confirmed, changed, still there, ended.
