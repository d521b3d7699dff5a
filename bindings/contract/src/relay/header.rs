//! The fixed head of every binary frame.

use crate::time::UtcMillis;

/// Bytes of a head; what it describes follows.
pub const HEADER_BYTES: usize = 32;
/// Version of the layout.
const VERSION: u8 = 1;
/// Flag: decoding can start here.
const KEY: u8 = 1;

/// What a binary frame is and when it was filmed.
///
/// Big-endian: version (u8), kind (u8), flags (u8: 1 is a key picture), 0 (u8), stream (u32), wall time (i64), time of
/// sending (i64), duration (u32), media time (u32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What follows.
    pub kind: FrameKind,
    /// Whether decoding can start with this fragment.
    pub key: bool,
    /// The stream, or the number of the request for kinds that answer one.
    pub stream: u32,
    /// Of a fragment: wall time of its first picture. Of an init segment: wall time of media time zero of the fragments
    /// behind it. Of others: beginning of the time they tell of.
    pub wall: UtcMillis,
    /// When the edge sent it, by the edge's clock.
    pub sent_at: UtcMillis,
    /// Length in milliseconds.
    pub duration_ms: u32,
    /// Of a fragment: media time of its first picture in milliseconds.
    pub media_ms: u32,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// `ftyp` and `moov`.
    Init,
    /// `moof` and `mdat`.
    Fragment,
    /// A JPEG file.
    Jpeg,
    /// A JSON array of [`super::BoxesAt`].
    Boxes,
    /// A kind this version does not know; ignored.
    Unknown(u8),
}

/// Says why a binary frame can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameHeaderError {
    /// It ends within the head.
    #[error("a binary frame must have a head of {HEADER_BYTES} bytes, has {0}")]
    Short(usize),
    /// Another layout.
    #[error("a binary frame of version {0} is not understood")]
    Version(u8),
}

impl FrameHeader {
    /// The head in bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = VERSION;
        bytes[1] = self.kind.number();
        bytes[2] = if self.key { KEY } else { 0 };
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.wall.as_millis().to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sent_at.as_millis().to_be_bytes());
        bytes[24..28].copy_from_slice(&self.duration_ms.to_be_bytes());
        bytes[28..32].copy_from_slice(&self.media_ms.to_be_bytes());
        bytes
    }

    /// A whole frame: the head and what it describes.
    #[must_use]
    pub fn frame(&self, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
        frame.extend_from_slice(&self.to_bytes());
        frame.extend_from_slice(body);
        frame
    }

    /// Reads the head of a frame and gives what follows it.
    ///
    /// # Errors
    /// The frame is too short or of another version.
    pub fn read(frame: &[u8]) -> Result<(Self, &[u8]), FrameHeaderError> {
        let (head, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(FrameHeaderError::Short(frame.len()))?;
        if head[0] != VERSION {
            return Err(FrameHeaderError::Version(head[0]));
        }
        let header = Self {
            kind: FrameKind::from_number(head[1]),
            key: head[2] & KEY != 0,
            stream: u32::from_be_bytes(part(head, 4)),
            wall: UtcMillis::from_millis(i64::from_be_bytes(part(head, 8))),
            sent_at: UtcMillis::from_millis(i64::from_be_bytes(part(head, 16))),
            duration_ms: u32::from_be_bytes(part(head, 24)),
            media_ms: u32::from_be_bytes(part(head, 28)),
        };
        Ok((header, body))
    }
}

impl FrameKind {
    fn number(self) -> u8 {
        match self {
            Self::Init => 1,
            Self::Fragment => 2,
            Self::Jpeg => 3,
            Self::Boxes => 4,
            Self::Unknown(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Init,
            2 => Self::Fragment,
            3 => Self::Jpeg,
            4 => Self::Boxes,
            other => Self::Unknown(other),
        }
    }
}

/// `N` bytes from `start` on; the places are constants within the head.
fn part<const N: usize>(head: &[u8; HEADER_BYTES], start: usize) -> [u8; N] {
    std::array::from_fn(|place| head[start + place])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The head as it is on the wire for ever.
    const GOLDEN: &str = "0102010000000007000001a2035c59a2000001a2035c5a6a000000c800000fa0";

    #[test]
    fn a_head_of_version_1_reads_and_prints_for_ever() {
        let header = FrameHeader {
            kind: FrameKind::Fragment,
            key: true,
            stream: 7,
            wall: UtcMillis::from_millis(1_795_352_713_634),
            sent_at: UtcMillis::from_millis(1_795_352_713_834),
            duration_ms: 200,
            media_ms: 4_000,
        };
        let text: String = header.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, GOLDEN);
        assert_eq!(FrameHeader::read(&header.frame(b"moof")), Ok((header, &b"moof"[..])));
    }

    #[test]
    fn a_frame_that_is_cut_or_of_another_version_is_refused_in_words() {
        assert_eq!(FrameHeader::read(&[1; 31]), Err(FrameHeaderError::Short(31)));
        assert_eq!(FrameHeader::read(&[2; 40]), Err(FrameHeaderError::Version(2)));
    }

    proptest! {
        #[test]
        fn printing_and_reading_a_head_are_inverses(
            (number, key, stream) in (any::<u8>(), any::<bool>(), any::<u32>()),
            (wall, sent) in (0i64..253_402_300_799_999, 0i64..253_402_300_799_999),
            (duration_ms, media_ms) in (any::<u32>(), any::<u32>()),
            body in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let [wall, sent_at] = [wall, sent].map(UtcMillis::from_millis);
            let kind = FrameKind::from_number(number);
            let header = FrameHeader { kind, key, stream, wall, sent_at, duration_ms, media_ms };
            let frame = header.frame(&body);
            prop_assert_eq!(FrameHeader::read(&frame), Ok((header, &body[..])));
        }

        #[test]
        fn any_bytes_are_read_or_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = FrameHeader::read(&bytes);
        }
    }
}
