//! Snapshots: each followed object where it is shown best, and what somebody asks for.

mod sink;

pub use sink::{PictureSink, Pictures, channel};
