//! Footage as bytes: fragmented MP4, its index, clips, and the signed chain over it.
//!
//! Pure: bytes and times come in, bytes go out. Nothing here opens a file, reads a clock or knows a camera's network.
