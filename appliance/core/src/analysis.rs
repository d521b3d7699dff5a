//! One camera's frames in, its messages out: track reports and zone events together.
