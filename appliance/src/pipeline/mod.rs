//! One camera: source, decode, detect, track, under its own supervision.
