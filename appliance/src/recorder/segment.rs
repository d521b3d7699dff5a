//! What is known of one segment: a file of about a minute of one camera's video.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::FragmentInfo;
use aivms_footage::track::{VIDEO_TIMESCALE, ticks_to_millis};

/// Names a segment: a camera has no two that begin in the same millisecond.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey {
    /// The camera.
    pub camera: CameraId,
    /// Beginning of the segment; also the name of its file.
    pub start: UtcMillis,
}

/// The disk that a segment lies on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskTier {
    /// The one that is recorded to.
    #[default]
    Fast,
    /// The one that older segments are moved to, where there is one.
    Slow,
}

/// What happened in a segment, as far as it decides how long it is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tags(u8);

impl Tags {
    /// Nothing is known to have happened.
    pub const NONE: Self = Self(0);
    /// Something moved in the picture.
    pub const MOTION: Self = Self(1);
    /// An object was followed.
    pub const OBJECT: Self = Self(2);
    /// It belongs to a zone event.
    pub const EVENT: Self = Self(4);
    /// All of them: what a segment counts as when its tags were lost with the index, so that it is kept in doubt.
    pub const ALL: Self = Self(7);

    /// Takes the bits as [`Tags::bits`] gives them; unknown ones are dropped.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The bits: 1 motion, 2 object, 4 event.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Tags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Tags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// One segment with the table of its fragments.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The camera.
    pub camera: CameraId,
    /// Wall time of its first picture.
    pub start: UtcMillis,
    /// Wall time at which its last picture ends.
    pub end: UtcMillis,
    /// The file.
    pub path: PathBuf,
    /// The disk that it lies on.
    pub tier: DiskTier,
    /// Bytes of the file; of one still open, those of its complete fragments.
    pub bytes: u64,
    /// What happened in it.
    pub tags: Tags,
    /// Whether nothing is added to it any more.
    pub closed: bool,
    /// Its complete fragments, in order, each on the disk's file system; the last ones of an open segment may not have
    /// been synced yet.
    pub fragments: Arc<[FragmentInfo]>,
}

impl Segment {
    /// What names it.
    #[must_use]
    pub fn key(&self) -> SegmentKey {
        SegmentKey { camera: self.camera.clone(), start: self.start }
    }
}

/// One segment without its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Wall time of its first picture.
    pub start: UtcMillis,
    /// Wall time at which its last picture ends.
    pub end: UtcMillis,
    /// Bytes of the file.
    pub bytes: u64,
    /// The disk that it lies on.
    pub tier: DiskTier,
    /// What happened in it.
    pub tags: Tags,
    /// Whether nothing is added to it any more.
    pub closed: bool,
}

/// Wall time at which a fragment's pictures end, all of them taken in the order of decoding, where the segment's first
/// one begins at the wall time it says. Unlike the times of showing, which go ahead and back where pictures come in
/// another order than they are shown, the fragments of a segment follow one another without gap or overlap by it.
pub(super) fn wall_end(first: &FragmentInfo, of: &FragmentInfo) -> UtcMillis {
    wall_at(first, of.start.saturating_add(of.duration.into()))
}

/// As [`wall_end`], where a fragment begins.
pub(super) fn wall_start(first: &FragmentInfo, of: &FragmentInfo) -> UtcMillis {
    wall_at(first, of.start)
}

fn wall_at(first: &FragmentInfo, ticks: u64) -> UtcMillis {
    first.wall + Duration::from_millis(ticks_to_millis(ticks.saturating_sub(first.start), VIDEO_TIMESCALE))
}

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.camera, self.start)
    }
}

impl DiskTier {
    /// Its name in health reports: `fast` or `slow`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }
}
