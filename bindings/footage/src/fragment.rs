//! Fragments: at most a second of pictures and sound, each whole in itself, so that a file may end after any of them.
//!
//! A fragment is a `prft` box with the wall time of its first picture shown, a `uuid` box with its hash, a `moof` with
//! the sample tables and an `mdat` with the pictures' bytes, then the sound's. The hash is there because a power cut may
//! leave a fragment of full length with holes in it.

use std::time::Duration;

use aivms_contract::time::UtcMillis;
use bytes::Bytes;

use crate::boxes::{HEADER_BYTES, Put, boxed, full, own};
use crate::hash::{FragmentHash, begin};
use crate::track::{AUDIO_TRACK, VIDEO_TRACK};

pub use crate::fragment::head::{FragmentHead, HeadError, HeadPicture, HeadSound, read_fragment};

mod head;

/// Most bytes of pictures and sound in a fragment: a second of 500 Mbit/s. A file that claims more is damaged.
pub const MAX_FRAGMENT_BYTES: usize = 64 << 20;
/// Most samples in a fragment. A file that claims more is damaged.
pub const MAX_FRAGMENT_SAMPLES: usize = 1 << 14;

/// Bytes of the `prft` box.
pub(crate) const PRFT_BYTES: usize = 32;
/// Bytes of our box with the hash.
const HASH_BOX_BYTES: usize = HEADER_BYTES + 16 + 32;
/// Marks our box with the hash.
pub(crate) const HASH_BOX: &[u8; 16] = b"aivms fragment\0\0";
/// Bytes in front of the `moof` box.
pub(crate) const FRONT_BYTES: usize = PRFT_BYTES + HASH_BOX_BYTES;
/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_TO_UNIX_SECS: u64 = 2_208_988_800;
/// The time in `prft` is the one at which the picture was taken.
const PRFT_CAPTURED: u32 = 24;

/// Sample flags of a picture at which decoding can start.
pub(crate) const KEY_FLAGS: u32 = 0x0200_0000;
/// Sample flags of any other picture.
pub(crate) const DELTA_FLAGS: u32 = 0x0101_0000;
/// Fields in the table of pictures: offset of the data; duration, size, flags, composition of each.
pub(crate) const VIDEO_TRUN: u32 = 0xf01;
/// Fields in the table of sound: offset of the data; duration and size of each.
pub(crate) const AUDIO_TRUN: u32 = 0x301;
/// Positions count from the `moof` box.
pub(crate) const BASE_IS_MOOF: u32 = 0x02_0000;

/// One picture, or one AAC frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Decode time in ticks of the track since the segment's start.
    pub dts: u64,
    /// Ticks from decoding to showing; less than zero where pictures come in another order than they are shown.
    pub composition: i32,
    /// Ticks until the next sample is decoded.
    pub duration: u32,
    /// Whether decoding can start here; always so for sound.
    pub key: bool,
    /// A picture's NAL units, each behind its length in 32 bits; or a raw AAC frame.
    pub data: Bytes,
}

impl Sample {
    /// Time of showing in ticks of the track since the segment's start.
    #[must_use]
    pub fn pts(&self) -> i64 {
        i64::try_from(self.dts).unwrap_or(i64::MAX).saturating_add(i64::from(self.composition))
    }
}

/// Pictures and sound of one fragment. Within a track each sample begins where the one before it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Wall time of the first picture shown.
    pub wall: UtcMillis,
    /// Pictures in decoding order; at least one.
    pub video: Vec<Sample>,
    /// AAC frames.
    pub audio: Vec<Sample>,
}

/// Where a fragment lies and what it is, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentInfo {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes, boxes included.
    pub bytes: u32,
    /// Decode time of the first picture in ticks of 1/90000 s since the segment's start.
    pub start: u64,
    /// Ticks of its pictures in all.
    pub duration: u32,
    /// Wall time of the first picture shown.
    pub wall: UtcMillis,
    /// Whether decoding can start with its first picture.
    pub key: bool,
    /// Hash of its content; absent where it comes from the index, which leaves the hashes to the file.
    pub hash: Option<FragmentHash>,
}

impl FragmentInfo {
    /// Wall time at which its last picture ends.
    #[must_use]
    pub fn wall_end(&self) -> UtcMillis {
        self.wall
            + Duration::from_millis(crate::track::ticks_to_millis(self.duration.into(), crate::track::VIDEO_TIMESCALE))
    }

    /// The byte after its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.bytes)
    }
}

/// Says why a fragment cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// It holds no picture.
    #[error("the fragment holds no picture")]
    NoPicture,
    /// It is larger than [`MAX_FRAGMENT_BYTES`] or [`MAX_FRAGMENT_SAMPLES`].
    #[error("the fragment holds {0} bytes in {1} samples, which is too much for one")]
    TooLarge(usize, usize),
}

/// Appends a fragment to `out` and says where it lies. `offset` is the position in the file at which `out` will be
/// written, counted from what `out` holds already; `sequence` counts the fragments of a file from 1.
///
/// # Errors
/// The fragment holds no picture or too much.
pub fn write_fragment(
    fragment: &Fragment,
    sequence: u32,
    offset: u64,
    out: &mut Vec<u8>,
) -> Result<FragmentInfo, FragmentError> {
    let (first, media) = check(fragment)?;
    let start = out.len();
    let audio_bytes = fragment.audio.len() * 8;
    out.reserve(FRONT_BYTES + 256 + fragment.video.len() * 16 + audio_bytes + media);
    let shown = fragment.video.iter().map(Sample::pts).min().unwrap_or(0);
    prft(out, fragment.wall, u64::try_from(shown).unwrap_or(0));
    own(out, HASH_BOX, |out| out.zeros(32));
    let moof = out.len();
    let places = moof_box(out, fragment, sequence);
    let payload = out.len() - moof + HEADER_BYTES;
    let video_bytes = size_of(&fragment.video);
    for (place, position) in places.into_iter().zip([payload, payload + video_bytes]) {
        out[place..place + 4].copy_from_slice(&offset_of(position).to_be_bytes());
    }
    boxed(out, *b"mdat", |out| {
        for sample in fragment.video.iter().chain(&fragment.audio) {
            out.put(&sample.data);
        }
    });
    let mut hasher = begin(fragment);
    hasher.update(&out[moof + payload..]);
    let hash = hasher.finish();
    out[moof - 32..moof].copy_from_slice(&hash.0);
    Ok(FragmentInfo {
        offset,
        bytes: u32::try_from(out.len() - start).unwrap_or(u32::MAX),
        start: first.dts,
        duration: fragment.video.iter().fold(0, |sum, sample| sum.saturating_add(sample.duration)),
        wall: fragment.wall,
        key: first.key,
        hash: Some(hash),
    })
}

/// Bytes of samples.
fn size_of(samples: &[Sample]) -> usize {
    samples.iter().map(|sample| sample.data.len()).sum()
}

/// The first picture, and the bytes of all samples.
fn check(fragment: &Fragment) -> Result<(&Sample, usize), FragmentError> {
    let first = fragment.video.first().ok_or(FragmentError::NoPicture)?;
    let bytes = size_of(&fragment.video) + size_of(&fragment.audio);
    let samples = fragment.video.len() + fragment.audio.len();
    if bytes > MAX_FRAGMENT_BYTES || samples > MAX_FRAGMENT_SAMPLES {
        return Err(FragmentError::TooLarge(bytes, samples));
    }
    Ok((first, bytes))
}

fn offset_of(position: usize) -> i32 {
    // Tables of at most MAX_FRAGMENT_SAMPLES and media of at most MAX_FRAGMENT_BYTES lie far below.
    i32::try_from(position).unwrap_or(i32::MAX)
}

fn prft(out: &mut Vec<u8>, wall: UtcMillis, media: u64) {
    full(out, *b"prft", 1, PRFT_CAPTURED, |out| {
        out.u32(VIDEO_TRACK);
        out.u64(ntp(wall));
        out.u64(media);
    });
}

/// Wall time as NTP has it: seconds since 1900, whose upper bits are lost, and fractions of 2^-32 s.
pub(crate) fn ntp(wall: UtcMillis) -> u64 {
    let millis = u64::try_from(wall.as_millis()).unwrap_or(0);
    let seconds = (millis / 1000 + NTP_TO_UNIX_SECS) & 0xffff_ffff;
    // Rounded up, so that reading rounds down to the same millisecond.
    seconds << 32 | ((millis % 1000) << 32).div_ceil(1000)
}

/// The wall time of an NTP time between 1970 and 2106.
pub(crate) fn from_ntp(ntp: u64) -> UtcMillis {
    let seconds = ntp >> 32;
    let era = if seconds < NTP_TO_UNIX_SECS { 1 << 32 } else { 0 };
    let millis = (seconds + era - NTP_TO_UNIX_SECS) * 1000 + (((ntp & 0xffff_ffff) * 1000) >> 32);
    UtcMillis::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// Writes the tables and says where the positions of the data are to be filled in.
fn moof_box(out: &mut Vec<u8>, fragment: &Fragment, sequence: u32) -> Vec<usize> {
    let mut places = Vec::with_capacity(2);
    boxed(out, *b"moof", |out| {
        full(out, *b"mfhd", 0, 0, |out| out.u32(sequence));
        places.push(traf(out, VIDEO_TRACK, &fragment.video, VIDEO_TRUN));
        if !fragment.audio.is_empty() {
            places.push(traf(out, AUDIO_TRACK, &fragment.audio, AUDIO_TRUN));
        }
    });
    places
}

fn traf(out: &mut Vec<u8>, track: u32, samples: &[Sample], fields: u32) -> usize {
    let mut place = 0;
    boxed(out, *b"traf", |out| {
        full(out, *b"tfhd", 0, BASE_IS_MOOF, |out| out.u32(track));
        full(out, *b"tfdt", 1, 0, |out| out.u64(samples.first().map_or(0, |sample| sample.dts)));
        full(out, *b"trun", 1, fields, |out| {
            out.u32(u32::try_from(samples.len()).unwrap_or(u32::MAX));
            place = out.len();
            out.u32(0);
            for sample in samples {
                out.u32(sample.duration);
                out.u32(u32::try_from(sample.data.len()).unwrap_or(u32::MAX));
                if fields == VIDEO_TRUN {
                    out.u32(if sample.key { KEY_FLAGS } else { DELTA_FLAGS });
                    out.i32(sample.composition);
                }
            }
        });
    });
    place
}
