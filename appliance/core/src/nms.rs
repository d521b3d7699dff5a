//! Non-maximum suppression: of boxes that mean the same object, the best stays.
