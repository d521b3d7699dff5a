//! Footage as bytes: fragmented MP4, its index, clips, and the signed chain over it.
//!
//! Pure: bytes and times come in, bytes go out. Nothing here opens a file, reads a clock or knows a camera's network.
//!
//! A picture's way into a file: [`access_unit`] takes it out of the byte stream, [`times`] gives it a decode time,
//! [`gather`] joins pictures and sound into fragments, [`fragment`] writes them behind the header of [`init`], and
//! [`table`] ends the file. The way back: [`scan`] finds what a file holds, [`fragment`] reads one fragment, [`clip`]
//! makes a clip of whole ones. [`hash`] gives a fragment the same value in both, and [`chain`] signs it.

pub mod access_unit;
mod boxes;
pub mod byte_stream;
pub mod chain;
pub mod clip;
pub mod fragment;
pub mod gather;
pub mod hash;
mod hevc;
pub mod init;
mod parameters;
pub mod scan;
pub mod table;
pub mod times;
pub mod track;

pub use access_unit::{AccessUnits, VideoPicture};
pub use byte_stream::ByteStream;
pub use clip::{ClipPlan, ClipPlanner};
pub use fragment::{Fragment, FragmentHead, FragmentInfo, Sample, read_fragment, write_fragment};
pub use gather::{Gather, Shot};
pub use hash::{FragmentHash, fragment_hash};
pub use init::{SegmentAbout, init_segment, init_segment_live};
pub use scan::{Scan, front, scan, scan_media};
pub use table::{FragmentTable, write_tail};
pub use times::{DecodeTimes, Timed};
pub use track::{AudioTrack, Tracks, VideoCodec, VideoTrack};
