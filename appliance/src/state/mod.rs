//! Settings and cursors in sled, guarded against what stock sled does not survive.
