//! Clips: whole fragments of several segments as one flat MP4 with its tables in front, made in a single pass.
//!
//! First a plan from the fragments' tables alone, which says where every byte comes from; then the media is copied
//! through. Nothing is encoded anew and no media is held in memory. Gaps are closed up: what follows a gap begins
//! where the video before it ends, and [`ClipPlan::offset_of`] says where in the clip a wall time lies. An edit list
//! hides what lies before the wanted start, since decoding has to begin with a key picture, and after the wanted end;
//! browsers show the last fragment to its end all the same, so a plan should hold none that begins behind.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::time::Duration;

use aivms_contract::time::UtcMillis;

use crate::fragment::FragmentHead;
use crate::hash::FragmentHash;
use crate::track::Tracks;

pub use crate::clip::extra::{EXTRA_HEAD_BYTES, extra_box, find_extra};
pub use crate::clip::read::{ClipFile, read_clip};

mod extra;
mod layout;
mod map;
mod read;

use crate::clip::layout::layout;
use crate::clip::map::TimeMap;

/// Says why a fragment cannot be in a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// No fragment was given.
    #[error("there is no footage for the clip")]
    Empty,
    /// Decoding cannot begin there: the clip's first fragment, or one that does not continue the one before it.
    #[error("decoding cannot begin at {0}, where the clip or its video after a gap begins")]
    NoKey(UtcMillis),
    /// The tracks are others from here on: the clip ends before, and another one begins here.
    #[error("the camera's stream is another one from {0} on")]
    OtherTracks(UtcMillis),
}

/// A fragment in a clip, for whoever wants to check it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipFragment {
    /// Wall time of its first picture shown.
    pub wall: UtcMillis,
    /// Its pictures.
    pub pictures: u32,
    /// Its AAC frames.
    pub sounds: u32,
    /// Its hash, where the one who planned knew it.
    pub hash: Option<FragmentHash>,
}

/// Bytes to copy from a segment into the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaRange {
    /// Number of the segment as [`ClipPlanner::segment`] gave it.
    pub segment: usize,
    /// First byte in the segment's file.
    pub offset: u64,
    /// Bytes.
    pub bytes: u32,
}

/// A fragment that goes into the clip.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) head: FragmentHead,
    pub(crate) range: MediaRange,
    pub(crate) hash: Option<FragmentHash>,
}

impl Piece {
    /// Whether it is of the same segment and begins where `before` ends.
    fn continues(&self, before: &Self) -> bool {
        let end = before.head.start.saturating_add(before.head.duration().into());
        (self.range.segment, self.head.start) == (before.range.segment, end)
    }
}

/// Collects the tables of the fragments that a clip is to hold.
#[derive(Debug, Clone)]
pub struct ClipPlanner {
    tracks: Tracks,
    wanted: Range<UtcMillis>,
    pieces: Vec<Piece>,
    segments: usize,
}

impl ClipPlanner {
    /// Begins a clip of `wanted`, of footage with these tracks.
    #[must_use]
    pub fn new(tracks: Tracks, wanted: Range<UtcMillis>) -> Self {
        Self { tracks, wanted, pieces: Vec::new(), segments: 0 }
    }

    /// Goes over to the next segment and gives its number in this clip, counted from 0. `start` is the wall time of the
    /// first fragment wanted of it.
    ///
    /// # Errors
    /// Its tracks are others: a clip ends there.
    pub fn segment(&mut self, tracks: &Tracks, start: UtcMillis) -> Result<usize, ClipError> {
        if *tracks != self.tracks {
            return Err(ClipError::OtherTracks(start));
        }
        self.segments += 1;
        Ok(self.segments - 1)
    }

    /// Adds a fragment of the current segment that begins at `offset` in its file. `hash` is handed through.
    ///
    /// # Errors
    /// It begins with no key picture and does not continue the fragment before it.
    pub fn fragment(&mut self, head: FragmentHead, offset: u64, hash: Option<FragmentHash>) -> Result<(), ClipError> {
        let segment = self.segments.saturating_sub(1);
        let offset = offset + u64::from(head.head_bytes);
        let range = MediaRange { segment, offset, bytes: head.media_bytes };
        let piece = Piece { head, range, hash };
        let key = piece.head.video.first().is_some_and(|picture| picture.key);
        if !key && !self.pieces.last().is_some_and(|last| piece.continues(last)) {
            return Err(ClipError::NoKey(piece.head.wall));
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// The plan.
    ///
    /// # Errors
    /// No fragment was added.
    pub fn plan(self) -> Result<ClipPlan, ClipError> {
        let map = TimeMap::new(&self.pieces, &self.wanted).ok_or(ClipError::Empty)?;
        let header = layout(&self.tracks, &self.pieces, &map);
        let fragments = self.pieces.iter().map(|piece| ClipFragment {
            wall: piece.head.wall,
            pictures: u32::try_from(piece.head.video.len()).unwrap_or(u32::MAX),
            sounds: u32::try_from(piece.head.audio.len()).unwrap_or(u32::MAX),
            hash: piece.hash,
        });
        let fragments = fragments.collect();
        let media = self.pieces.iter().map(|piece| piece.range).collect();
        Ok(ClipPlan { tracks: self.tracks, header, media, fragments, map })
    }
}

/// Where every byte of a clip comes from, and when what is shown in it was.
#[derive(Debug, Clone)]
pub struct ClipPlan {
    tracks: Tracks,
    /// All in front of the media.
    pub header: Vec<u8>,
    /// The media, in order.
    pub media: Vec<MediaRange>,
    /// The fragments, in order; as many as media ranges.
    pub fragments: Vec<ClipFragment>,
    map: TimeMap,
}

impl ClipPlan {
    /// The codecs in the form of RFC 6381.
    #[must_use]
    pub fn codecs(&self) -> String {
        self.tracks.codecs()
    }

    /// Bytes of the clip, without what [`extra_box`] adds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.header.len() as u64 + self.media.iter().map(|range| u64::from(range.bytes)).sum::<u64>()
    }

    /// Wall time of the first picture shown.
    #[must_use]
    pub fn start(&self) -> UtcMillis {
        self.map.start_wall()
    }

    /// Length of what is shown.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.map.duration()
    }

    /// Where in the clip the picture of a wall time is shown: from the first picture shown. A time in a gap is where
    /// the video after it begins, one before the clip 0, one behind it the clip's length.
    #[must_use]
    pub fn offset_of(&self, wall: UtcMillis) -> Duration {
        self.map.offset_of(wall)
    }

    /// Whether video of a wall time is in the clip.
    #[must_use]
    pub fn covers(&self, wall: UtcMillis) -> bool {
        self.map.spans().iter().any(|span| span.contains(&wall))
    }

    /// The spans of wall time that are shown, in order. Between two of them is a gap; gaps of less than a picture are
    /// not counted.
    #[must_use]
    pub fn shown(&self) -> Vec<Range<UtcMillis>> {
        self.map.spans()
    }

    /// Writes the clip: `copy` is to write the bytes of each range, in order.
    ///
    /// # Errors
    /// Writing or copying fails.
    pub fn write<W: Write>(
        &self,
        out: &mut W,
        mut copy: impl FnMut(&MediaRange, &mut W) -> io::Result<()>,
    ) -> io::Result<()> {
        out.write_all(&self.header)?;
        self.media.iter().try_for_each(|range| copy(range, out))
    }
}

/// Copies a range of `segment` through `buffer`, which may be used again and holds the bytes afterwards.
///
/// # Errors
/// Reading or writing fails, or the segment ends before the range does.
pub fn copy_range(
    range: &MediaRange,
    segment: &mut (impl Read + Seek),
    out: &mut impl Write,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    let bytes = range.bytes as usize;
    buffer.resize(bytes, 0);
    segment.seek(SeekFrom::Start(range.offset))?;
    segment.read_exact(buffer)?;
    out.write_all(buffer)
}
