//! One value per fragment, the same whether it lies in a segment or in a clip.
//!
//! Where a fragment begins in its file, and the boxes around it, differ between the two; what it shows does not. So the
//! hash is over the wall time, the sizes, durations, composition offsets and key marks of the pictures, the sizes of the
//! sound's frames, and the bytes of both. The sound's durations are left out: an AAC frame lasts what it lasts, and a
//! clip that closes a gap may stretch the last one to keep sound and pictures together.

use std::fmt;
use std::str::FromStr;

use aivms_contract::time::UtcMillis;
use aws_lc_rs::digest::{Context, SHA256};

use crate::fragment::Fragment;

/// Begins what is hashed, so that no other hash of the system can be mistaken for one of a fragment.
const DOMAIN: &[u8] = b"aivms fragment 1\n";

/// SHA-256 over a fragment's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentHash(pub [u8; 32]);

impl fmt::Display for FragmentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FragmentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FragmentHash({self})")
    }
}

/// Says that a text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct HashError;

impl FromStr for FragmentHash {
    type Err = HashError;
    fn from_str(text: &str) -> Result<Self, HashError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map(|()| Self(hash)).map_err(|_| HashError)
    }
}

/// A picture as the hash sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedPicture {
    /// Bytes.
    pub size: u32,
    /// Ticks of 1/90000 s until the next picture is decoded.
    pub duration: u32,
    /// Ticks from decoding to showing it.
    pub composition: i32,
    /// Whether decoding can start here.
    pub key: bool,
}

/// Hashes a fragment piece by piece: first what it consists of, then the bytes of its pictures, then of its sound.
#[derive(Clone)]
pub struct FragmentHasher(Context);

impl FragmentHasher {
    /// Begins with what a fragment consists of. `wall` is the time of the first picture shown.
    pub fn new(
        wall: UtcMillis,
        video: impl ExactSizeIterator<Item = HashedPicture>,
        audio_sizes: impl ExactSizeIterator<Item = u32>,
    ) -> Self {
        let mut table = Vec::with_capacity(DOMAIN.len() + 24 + video.len() * 13 + audio_sizes.len() * 4);
        table.extend_from_slice(DOMAIN);
        table.extend_from_slice(&wall.as_millis().to_be_bytes());
        table.extend_from_slice(&(video.len() as u64).to_be_bytes());
        for picture in video {
            table.extend_from_slice(&picture.size.to_be_bytes());
            table.extend_from_slice(&picture.duration.to_be_bytes());
            table.extend_from_slice(&picture.composition.to_be_bytes());
            table.push(u8::from(picture.key));
        }
        table.extend_from_slice(&(audio_sizes.len() as u64).to_be_bytes());
        for size in audio_sizes {
            table.extend_from_slice(&size.to_be_bytes());
        }
        let mut context = Context::new(&SHA256);
        context.update(&table);
        Self(context)
    }

    /// Goes on with bytes of samples, in order.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> FragmentHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        FragmentHash(hash)
    }
}

impl fmt::Debug for FragmentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FragmentHasher")
    }
}

/// Hashes a fragment.
#[must_use]
pub fn fragment_hash(fragment: &Fragment) -> FragmentHash {
    let mut hasher = begin(fragment);
    for sample in fragment.video.iter().chain(&fragment.audio) {
        hasher.update(&sample.data);
    }
    hasher.finish()
}

/// Hashes what `fragment` consists of.
pub(crate) fn begin(fragment: &Fragment) -> FragmentHasher {
    let size = |data: &bytes::Bytes| u32::try_from(data.len()).unwrap_or(u32::MAX);
    let video = fragment.video.iter().map(|sample| HashedPicture {
        size: size(&sample.data),
        duration: sample.duration,
        composition: sample.composition,
        key: sample.key,
    });
    FragmentHasher::new(fragment.wall, video, fragment.audio.iter().map(|sample| size(&sample.data)))
}
