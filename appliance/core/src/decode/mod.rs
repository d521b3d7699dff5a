//! From a detector's output tensors to boxes, per model family.
