//! Continuous recording: every camera's main stream as it was encoded, in files that survive anything.
//!
//! The path of a picture: the camera's task hands its unit to [`Recorder`], one small task per connection builds
//! fragments of less than a second from them, and one thread does all file work. [`Footage`] is the read side that
//! everybody else uses: retention, clips, playback, the chain of signatures.
//!
//! What is durable when: a fragment is in the file within a second of its first picture and survives `kill -9` from
//! then on; it is synced so that a power cut costs at most `[recording] sync_s` of video. The files are the truth: the
//! index in `<data>/index` holds one row per closed segment and is rebuilt from the files when it is lost.

mod assembly;
mod catalogue;
mod event;
mod figures;
mod footage;
mod growing;
mod index;
mod layout;
mod losses;
pub mod measure;
mod moving;
mod policy;
mod reader;
#[expect(clippy::module_inception, reason = "the recorder is the part of this that records")]
mod recorder;
mod recover;
mod row;
mod segment;
mod take;
mod ticket;
mod writer;

pub use event::RecorderEvent;
pub use figures::DiskFigures;
pub use footage::{Footage, FootageError, Readiness};
pub use layout::Folders;
pub use policy::{PolicyWatch, RecordingPolicy};
pub use reader::SegmentReader;
pub use recorder::{Recorder, RecorderError, RecorderSettings};
pub use segment::{DiskTier, Segment, SegmentKey, SegmentSummary, Tags};
