//! What seals a segment: its fragments' hashes and times, its decoder parameters, and the rest of its file.

use aivms_contract::time::UtcMillis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::record::SealTime;
use crate::fragment::FragmentInfo;
use crate::track::{Tracks, VideoCodec};

/// Bytes of a leaf.
const LEAF_BYTES: usize = 40;

/// One fragment as the chain knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// The hash of its samples and their table.
    pub hash: [u8; 32],
    /// Wall time of its first picture.
    pub wall: UtcMillis,
}

/// A closed segment as its record knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentSeal {
    /// Wall time of its first picture, which also names its file.
    pub start: UtcMillis,
    /// Wall time of its end.
    pub end: UtcMillis,
    /// Bytes of the file.
    pub bytes: u64,
    /// Number of fragments.
    pub fragments: u32,
    /// SHA-256 over the leaves of all fragments: [`root_of`].
    pub root: Digest,
    /// SHA-256 of the decoder parameters.
    pub tracks: Digest,
    /// SHA-256 of the file without the payloads of its `mdat` boxes: [`digest_outside`](super::digest_outside).
    pub outside: Digest,
    /// When it was sealed.
    pub sealed: SealTime,
}

/// Says that a text is no list of leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be base64 of {LEAF_BYTES} bytes for each fragment")]
pub struct LeavesError;

impl Leaf {
    /// The 32 bytes of the hash, then the time in milliseconds since 1970, signed, big-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        bytes[..32].copy_from_slice(&self.hash);
        bytes[32..].copy_from_slice(&self.wall.as_millis().to_be_bytes());
        bytes
    }

    /// The leaf of a fragment whose hash is known.
    #[must_use]
    pub fn of(info: &FragmentInfo) -> Option<Self> {
        Some(Self { hash: info.hash?.0, wall: info.wall })
    }

    fn from_bytes(bytes: [u8; LEAF_BYTES]) -> Self {
        let (mut hash, mut millis) = ([0; 32], [0; 8]);
        hash.copy_from_slice(&bytes[..32]);
        millis.copy_from_slice(&bytes[32..]);
        Self { hash, wall: UtcMillis::from_millis(i64::from_be_bytes(millis)) }
    }
}

/// SHA-256 over the leaves' bytes, one after the other.
#[must_use]
pub fn root_of(leaves: &[Leaf]) -> Digest {
    Digest::of(&packed(leaves))
}

/// The leaves in base64.
#[must_use]
pub fn encode_leaves(leaves: &[Leaf]) -> String {
    STANDARD.encode(packed(leaves))
}

/// Reads what [`encode_leaves`] wrote.
///
/// # Errors
/// The text is something else.
pub fn decode_leaves(text: &str) -> Result<Vec<Leaf>, LeavesError> {
    let bytes = STANDARD.decode(text).map_err(|_| LeavesError)?;
    let (leaves, rest) = bytes.as_chunks::<LEAF_BYTES>();
    if rest.is_empty() { Ok(leaves.iter().copied().map(Leaf::from_bytes).collect()) } else { Err(LeavesError) }
}

/// SHA-256 of what a decoder must know before the first picture: of the video the codec (`avc1` or `hvc1`), width and
/// height and the configuration record with its length, then the same of the sound, where there is some: samples per
/// second, channels, AudioSpecificConfig with its length. Numbers have 32 bits, big-endian.
#[must_use]
pub fn tracks_digest(tracks: &Tracks) -> Digest {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = match tracks.video.codec {
        VideoCodec::H264 => b"avc1".to_vec(),
        VideoCodec::H265 => b"hvc1".to_vec(),
    };
    for side in [tracks.video.frame.width, tracks.video.frame.height] {
        bytes.extend_from_slice(&side.to_be_bytes());
    }
    bytes.extend_from_slice(&number(tracks.video.config.len()));
    bytes.extend_from_slice(&tracks.video.config);
    if let Some(audio) = &tracks.audio {
        bytes.extend_from_slice(&audio.sample_rate.to_be_bytes());
        bytes.extend_from_slice(&number(audio.channels.into()));
        bytes.extend_from_slice(&number(audio.config.len()));
        bytes.extend_from_slice(&audio.config);
    }
    Digest::of(&bytes)
}

fn packed(leaves: &[Leaf]) -> Vec<u8> {
    leaves.iter().flat_map(|leaf| leaf.to_bytes()).collect()
}
