//! Tracks against zones on media time: enter, exit, dwell.
