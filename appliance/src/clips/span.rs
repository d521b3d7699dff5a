//! The recorded footage of a span, opened for reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use aivms_appliance_core::clip::cut::Piece;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::HeadError;
use aivms_footage::{Fragment, FragmentHead, FragmentInfo, Tracks, front, read_fragment};
use bytes::Bytes;

use crate::chain::ClipPart;
use crate::recorder::{Footage, Segment};

/// Bytes read for a fragment's tables at first: more than those of a second of video with sound.
const TABLE_BYTES: usize = 4096;
/// Bytes read for a file's front at first.
const FRONT_BYTES: usize = 8192;
/// Most bytes that a file's front may have.
const MAX_FRONT_BYTES: usize = 1 << 20;

/// Segments of one camera with their fragments. Their files stay readable when retention deletes or moves them
/// meanwhile.
pub(crate) struct Span {
    segments: Vec<Opened>,
    /// The codec parameters that occur, each once.
    kinds: Vec<Tracks>,
    pieces: Vec<Piece>,
}

struct Opened {
    file: File,
    path: PathBuf,
    start: UtcMillis,
    closed: bool,
    fragments: Arc<[FragmentInfo]>,
}

impl Span {
    /// Opens what there is of a camera from `from` to before `to`. Blocks.
    pub(crate) fn open(footage: &Footage, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> io::Result<Self> {
        let mut span = Self { segments: vec![], kinds: vec![], pieces: vec![] };
        for segment in footage.segments(camera, from, to) {
            if let Err(error) = span.add(segment) {
                // Deleted since it was listed; whatever else it is, the other segments are worth having.
                tracing::warn!(camera.id = camera.as_str(), %error, "a segment is left out");
            }
        }
        Ok(span)
    }

    /// All fragments, in order of time.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The codec parameters of a piece.
    pub(crate) fn tracks(&self, piece: &Piece) -> &Tracks {
        &self.kinds[piece.parameters]
    }

    /// What the index says of a piece.
    pub(crate) fn info(&self, piece: &Piece) -> &FragmentInfo {
        &self.segments[piece.segment].fragments[piece.index]
    }

    /// The segment that `count` pieces are of, for the clip's manifest; `from` is the first.
    pub(crate) fn part(&self, from: &Piece, count: usize, samples: Vec<(u32, u32)>) -> ClipPart {
        let Opened { path, start, closed, fragments, .. } = &self.segments[from.segment];
        ClipPart {
            start: *start,
            path: path.clone(),
            closed: *closed,
            fragments: fragments.to_vec(),
            from: from.index,
            count,
            samples,
        }
    }

    /// Reads the tables of a piece.
    pub(crate) fn head(&self, piece: &Piece) -> io::Result<FragmentHead> {
        let (segment, info) = (&self.segments[piece.segment], self.info(piece));
        let mut wanted = TABLE_BYTES;
        loop {
            let bytes = segment.read(info.offset, wanted.min(info.bytes as usize))?;
            match FragmentHead::parse(&bytes) {
                Ok(head) => return Ok(head),
                Err(HeadError::Short(more)) if more > bytes.len() && more <= info.bytes as usize => wanted = more,
                Err(error) => return Err(segment.damaged(&error)),
            }
        }
    }

    /// Reads a piece, whole.
    pub(crate) fn fragment(&self, piece: &Piece) -> io::Result<Fragment> {
        let (segment, info) = (&self.segments[piece.segment], self.info(piece));
        let bytes: Bytes = segment.read(info.offset, info.bytes as usize)?.into();
        read_fragment(&bytes).map_err(|error| segment.damaged(&error))
    }

    /// Reads bytes of a segment into `buffer`, as many as it holds.
    pub(crate) fn read_into(&self, segment: usize, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.segments[segment].file.read_exact_at(buffer, offset)
    }

    /// The number of codec parameters. What has no sound goes with what has some: each connection begins without, until
    /// the first is heard.
    fn kind(&mut self, tracks: Tracks) -> usize {
        let fits = |kind: &Tracks| {
            let sound_fits = kind.audio.is_none() || tracks.audio.is_none() || kind.audio == tracks.audio;
            kind.video == tracks.video && sound_fits
        };
        let Some(at) = self.kinds.iter().position(fits) else {
            self.kinds.push(tracks);
            return self.kinds.len() - 1;
        };
        if self.kinds[at].audio.is_none() {
            self.kinds[at].audio = tracks.audio;
        }
        at
    }

    fn add(&mut self, segment: Segment) -> io::Result<()> {
        let Segment { path, start, closed, fragments, .. } = segment;
        let opened = Opened { file: File::open(&path)?, path, start, closed, fragments };
        let tracks = opened.tracks()?;
        let parameters = self.kind(tracks);
        let number = self.segments.len();
        let piece = |(index, info): (usize, &FragmentInfo)| Piece {
            segment: number,
            index,
            wall: info.wall,
            ticks: info.duration,
            key: info.key,
            parameters,
        };
        self.pieces.extend(opened.fragments.iter().enumerate().map(piece));
        self.segments.push(opened);
        Ok(())
    }
}

impl Opened {
    fn tracks(&self) -> io::Result<Tracks> {
        let mut wanted = FRONT_BYTES;
        while wanted <= MAX_FRONT_BYTES {
            let mut bytes = vec![0; wanted];
            let read = self.file.read_at(&mut bytes, 0)?;
            if let Some((tracks, _, _)) = front(&bytes[..read]) {
                return Ok(tracks);
            }
            wanted = if read < bytes.len() { usize::MAX } else { wanted * 4 };
        }
        Err(self.damaged(&"its front can't be read"))
    }

    fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        self.file.read_exact_at(&mut buffer, offset)?;
        Ok(buffer)
    }

    fn damaged(&self, cause: &dyn std::fmt::Display) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {cause}", self.path.display()))
    }
}
