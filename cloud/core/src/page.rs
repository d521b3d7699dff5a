//! Cursors of lists.
