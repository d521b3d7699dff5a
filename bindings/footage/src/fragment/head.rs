//! Reading a fragment: its tables alone, or all of it.

use aivms_contract::time::UtcMillis;
use bytes::Bytes;

use super::{
    AUDIO_TRUN, BASE_IS_MOOF, DELTA_FLAGS, FRONT_BYTES, Fragment, FragmentInfo, HASH_BOX, KEY_FLAGS,
    MAX_FRAGMENT_BYTES, MAX_FRAGMENT_SAMPLES, PRFT_BYTES, Sample, VIDEO_TRUN, from_ntp,
};
use crate::boxes::{HEADER_BYTES, Kind, Taker, each, find, find_own, header};
use crate::hash::{FragmentHash, FragmentHasher, HashedPicture};
use crate::track::{AUDIO_TRACK, VIDEO_TRACK};

/// Most bytes before the data: each sample has at most 16 bytes of table.
const MAX_HEAD_BYTES: usize = 1024 + MAX_FRAGMENT_SAMPLES * 16;

/// A picture in a fragment's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadPicture {
    /// Bytes.
    pub size: u32,
    /// Ticks until the next picture is decoded.
    pub duration: u32,
    /// Ticks from decoding to showing.
    pub composition: i32,
    /// Whether decoding can start here.
    pub key: bool,
}

/// An AAC frame in a fragment's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSound {
    /// Bytes.
    pub size: u32,
    /// Ticks of the sound's track until the next frame.
    pub duration: u32,
}

/// A fragment's tables: all of it but the samples' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentHead {
    /// Number of the fragment in its file.
    pub sequence: u32,
    /// Wall time of the first picture shown.
    pub wall: UtcMillis,
    /// Hash of its content as it stands in the fragment; [`FragmentHead::hasher`] tells whether it is right.
    pub hash: FragmentHash,
    /// Decode time of the first picture in ticks since the segment's start.
    pub start: u64,
    /// The pictures.
    pub video: Vec<HeadPicture>,
    /// Time of the first AAC frame in ticks of the sound's track since the segment's start; 0 without sound.
    pub audio_start: u64,
    /// The AAC frames.
    pub audio: Vec<HeadSound>,
    /// Bytes before the samples' own.
    pub head_bytes: u32,
    /// Bytes of the samples: those of the pictures, then those of the sound.
    pub media_bytes: u32,
}

/// Says why bytes are no fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// They end before the tables do.
    #[error("at least {0} bytes are needed to read the fragment")]
    Short(usize),
    /// They are something else, or damaged.
    #[error("the fragment is damaged: {0}")]
    Damaged(&'static str),
}

use HeadError::{Damaged, Short};

impl FragmentHead {
    /// Reads the tables of the fragment that begins with `bytes`; its samples need not be there.
    ///
    /// # Errors
    /// `bytes` ends before the samples begin, or is no fragment.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let ((wall, hash), rest) = front(bytes)?;
        let (moof_bytes, kind, _) = box_header(rest, FRONT_BYTES)?;
        let mdat_at = FRONT_BYTES.saturating_add(moof_bytes);
        if kind != *b"moof" || mdat_at > MAX_HEAD_BYTES {
            return Err(Damaged("no tables of a fragment's size follow the wall time"));
        }
        let (moof, mdat) = rest.split_at_checked(moof_bytes).ok_or(Short(mdat_at + HEADER_BYTES))?;
        let (mdat_bytes, kind, mdat_head) = box_header(mdat, mdat_at)?;
        if kind != *b"mdat" || mdat_head != HEADER_BYTES || mdat_bytes > MAX_FRAGMENT_BYTES + HEADER_BYTES {
            return Err(Damaged("no media of a fragment's size follows the tables"));
        }
        let media = mdat_bytes - HEADER_BYTES;
        let head = Self {
            head_bytes: short(mdat_at + HEADER_BYTES)?,
            media_bytes: short(media)?,
            hash,
            ..tables(&moof[HEADER_BYTES..], moof_bytes + HEADER_BYTES, wall)?
        };
        let sizes = head.video.iter().map(|p| u64::from(p.size)).chain(head.audio.iter().map(|s| u64::from(s.size)));
        if sizes.sum::<u64>() != media as u64 {
            return Err(Damaged("the samples are not as large as the media"));
        }
        Ok(head)
    }

    /// Bytes of the whole fragment.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.head_bytes + self.media_bytes
    }

    /// Bytes of the pictures.
    #[must_use]
    pub fn video_bytes(&self) -> u32 {
        self.video.iter().map(|picture| picture.size).sum()
    }

    /// Ticks of its pictures in all.
    #[must_use]
    pub fn duration(&self) -> u32 {
        self.video.iter().fold(0, |sum, picture| sum.saturating_add(picture.duration))
    }

    /// Begins the fragment's hash: the samples' bytes are to follow.
    #[must_use]
    pub fn hasher(&self) -> FragmentHasher {
        let video = self.video.iter().map(|picture| HashedPicture {
            size: picture.size,
            duration: picture.duration,
            composition: picture.composition,
            key: picture.key,
        });
        FragmentHasher::new(self.wall, video, self.audio.iter().map(|sound| sound.size))
    }

    /// What the index holds of a fragment that begins at `offset`.
    #[must_use]
    pub fn info(&self, offset: u64) -> FragmentInfo {
        FragmentInfo {
            offset,
            bytes: self.bytes(),
            start: self.start,
            duration: self.duration(),
            wall: self.wall,
            key: self.video.first().is_some_and(|picture| picture.key),
            hash: Some(self.hash),
        }
    }
}

/// Reads a whole fragment. Its samples share `bytes`.
///
/// # Errors
/// `bytes` ends before the fragment does, or is no fragment.
pub fn read_fragment(bytes: &Bytes) -> Result<Fragment, HeadError> {
    let head = FragmentHead::parse(bytes)?;
    if bytes.len() < head.bytes() as usize {
        return Err(Short(head.bytes() as usize));
    }
    let mut at = head.head_bytes as usize;
    let mut take = |size: u32| {
        let data = bytes.slice(at..at + size as usize);
        at += size as usize;
        data
    };
    let mut dts = head.start;
    let video = head.video.iter().map(|picture| {
        let HeadPicture { size, duration, composition, key } = *picture;
        let sample = Sample { dts, composition, duration, key, data: take(size) };
        dts = dts.saturating_add(duration.into());
        sample
    });
    let video = video.collect();
    let mut dts = head.audio_start;
    let audio = head.audio.iter().map(|sound| {
        let sample = Sample { dts, composition: 0, duration: sound.duration, key: true, data: take(sound.size) };
        dts = dts.saturating_add(sound.duration.into());
        sample
    });
    Ok(Fragment { wall: head.wall, video, audio: audio.collect() })
}

fn short(size: usize) -> Result<u32, HeadError> {
    u32::try_from(size).map_err(|_| Damaged("a box is too large"))
}

/// Size, kind and header's size of the box at the front of `bytes`, which lies `at` bytes into the fragment.
fn box_header(bytes: &[u8], at: usize) -> Result<(usize, Kind, usize), HeadError> {
    if bytes.len() < HEADER_BYTES {
        return Err(Short(at + HEADER_BYTES));
    }
    let (size, kind, head) = header(bytes).ok_or(Damaged("a box is smaller than its own header"))?;
    Ok((usize::try_from(size).map_err(|_| Damaged("a box is too large"))?, kind, head))
}

/// The wall time and the hash at the front, and what follows them.
fn front(bytes: &[u8]) -> Result<((UtcMillis, FragmentHash), &[u8]), HeadError> {
    let (size, kind, _) = box_header(bytes, 0)?;
    if kind != *b"prft" || size != PRFT_BYTES {
        return Err(Damaged("no wall time stands in front"));
    }
    let (front, rest) = bytes.split_at_checked(FRONT_BYTES).ok_or(Short(FRONT_BYTES + HEADER_BYTES))?;
    let ntp = front.get(16..24).and_then(|ntp| ntp.try_into().ok()).map(u64::from_be_bytes);
    let hash = find_own(&front[PRFT_BYTES..], HASH_BOX).and_then(|hash| hash.try_into().ok()).map(FragmentHash);
    let read = ntp.map(from_ntp).zip(hash).ok_or(Damaged("no hash follows the wall time"))?;
    Ok((read, rest))
}

/// Reads the tables in `moof`; the samples' bytes begin `payload` bytes after the box does.
fn tables(moof: &[u8], payload: usize, wall: UtcMillis) -> Result<FragmentHead, HeadError> {
    let sequence = find(moof, *b"mfhd").and_then(|body| Taker(body.get(4..)?).u32());
    let mut head = FragmentHead {
        sequence: sequence.ok_or(Damaged("it has no number"))?,
        wall,
        hash: FragmentHash([0; 32]),
        start: 0,
        video: Vec::new(),
        audio_start: 0,
        audio: Vec::new(),
        head_bytes: 0,
        media_bytes: 0,
    };
    for (kind, traf) in each(moof).skip(1) {
        let table = (kind == *b"traf").then(|| run(traf)).flatten().ok_or(Damaged("a table is not ours"))?;
        let before: usize = head.video.iter().map(|picture| picture.size as usize).sum();
        if table.position != payload + before {
            return Err(Damaged("the samples do not lie where they should"));
        }
        match table.track {
            VIDEO_TRACK if head.video.is_empty() => (head.start, head.video) = (table.start, pictures(&table)?),
            AUDIO_TRACK if head.audio.is_empty() && !head.video.is_empty() => {
                (head.audio_start, head.audio) = (table.start, sounds(&table)?);
            }
            _ => return Err(Damaged("the tracks are not those of a fragment")),
        }
    }
    if head.video.is_empty() { Err(Damaged("it holds no picture")) } else { Ok(head) }
}

/// One track's table.
struct Run<'a> {
    track: u32,
    start: u64,
    fields: u32,
    count: usize,
    /// Where its samples begin, from the beginning of the `moof` box.
    position: usize,
    entries: &'a [u8],
}

fn run(traf: &[u8]) -> Option<Run<'_>> {
    let mut tfhd = Taker(find(traf, *b"tfhd")?);
    let base = tfhd.version()?.1;
    let track = tfhd.u32()?;
    let mut tfdt = Taker(find(traf, *b"tfdt")?);
    let version = tfdt.version()?.0;
    let start = tfdt.wide(version)?;
    let mut trun = Taker(find(traf, *b"trun")?);
    let fields = trun.version()?.1;
    let count = usize::try_from(trun.u32()?).ok().filter(|count| *count <= MAX_FRAGMENT_SAMPLES)?;
    let position = usize::try_from(trun.i32()?).ok()?;
    (base == BASE_IS_MOOF).then_some(Run { track, start, fields, count, position, entries: trun.0 })
}

fn pictures(table: &Run<'_>) -> Result<Vec<HeadPicture>, HeadError> {
    let (entries, []) = table.entries.as_chunks::<16>() else {
        return Err(Damaged("the pictures' table is not whole"));
    };
    if table.fields != VIDEO_TRUN || entries.len() != table.count {
        return Err(Damaged("the pictures' table is not ours"));
    }
    entries.iter().map(|entry| picture(entry).ok_or(Damaged("a picture's marks are not ours"))).collect()
}

fn picture(entry: &[u8; 16]) -> Option<HeadPicture> {
    let mut taker = Taker(entry);
    let (duration, size, flags, composition) = (taker.u32()?, taker.u32()?, taker.u32()?, taker.i32()?);
    let key = match flags {
        KEY_FLAGS => true,
        DELTA_FLAGS => false,
        _ => return None,
    };
    Some(HeadPicture { size, duration, composition, key })
}

fn sounds(table: &Run<'_>) -> Result<Vec<HeadSound>, HeadError> {
    let (entries, []) = table.entries.as_chunks::<8>() else {
        return Err(Damaged("the sound's table is not whole"));
    };
    if table.fields != AUDIO_TRUN || entries.len() != table.count {
        return Err(Damaged("the sound's table is not ours"));
    }
    let sound = |entry: &[u8; 8]| {
        let mut taker = Taker(entry);
        Some(HeadSound { duration: taker.u32()?, size: taker.u32()? })
    };
    entries.iter().map(|entry| sound(entry).ok_or(Damaged("the sound's table is not whole"))).collect()
}
