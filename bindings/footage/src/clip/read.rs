//! Reading a clip back: to check its fragments against their hashes.

use std::io::{self, Read, Seek, SeekFrom};

use aivms_contract::time::UtcMillis;

use crate::boxes::{Taker, each, find, find_path, header};
use crate::fragment::MAX_FRAGMENT_BYTES;
use crate::hash::{FragmentHash, FragmentHasher, HashedPicture};
use crate::init::read_tracks;
use crate::track::Tracks;

/// Most bytes of a clip's tables: a day of pictures.
const MAX_TABLE_BYTES: u64 = 256 << 20;

/// A clip's tables.
#[derive(Debug, Clone)]
pub struct ClipFile {
    /// The tracks.
    pub tracks: Tracks,
    /// The pictures, in decoding order.
    pub pictures: Vec<HashedPicture>,
    /// Bytes of each AAC frame.
    pub sounds: Vec<u32>,
    /// First byte of the media, and the byte behind the last.
    pub media: std::ops::Range<u64>,
}

/// Reads the tables of a clip that was written here; `None` when it is something else, or damaged.
///
/// # Errors
/// Reading fails for another reason than the end of the file.
pub fn read_clip(mut reader: impl Read + Seek) -> io::Result<Option<ClipFile>> {
    let length = reader.seek(SeekFrom::End(0))?;
    let Some((begin, end)) = top_level(&mut reader, 0, *b"ftyp")? else { return Ok(None) };
    let _ = begin;
    let Some((moov, moov_end)) = top_level(&mut reader, end, *b"moov")? else { return Ok(None) };
    let Some((media, media_end)) = top_level(&mut reader, moov_end, *b"mdat")? else { return Ok(None) };
    if moov_end - moov > MAX_TABLE_BYTES || media_end > length {
        return Ok(None);
    }
    let mut tables = Vec::new();
    reader.seek(SeekFrom::Start(moov))?;
    reader.take(moov_end - moov).read_to_end(&mut tables)?;
    Ok(parse(&tables, media..media_end))
}

impl ClipFile {
    /// Hashes the fragments of a clip, given of each the wall time, the pictures and the AAC frames it consists of.
    /// `None` when they are not as many as the clip has, or its media does not last.
    ///
    /// # Errors
    /// Reading fails for another reason than the end of the file.
    pub fn hashes(
        &self,
        mut reader: impl Read + Seek,
        fragments: &[(UtcMillis, u32, u32)],
    ) -> io::Result<Option<Vec<FragmentHash>>> {
        let (mut pictures, mut sounds) = (self.pictures.as_slice(), self.sounds.as_slice());
        let mut hashes = Vec::with_capacity(fragments.len());
        let mut left = self.media.end - self.media.start;
        reader.seek(SeekFrom::Start(self.media.start))?;
        for (wall, picture_count, sound_count) in fragments {
            let Some((these, after)) = pictures.split_at_checked(*picture_count as usize) else { return Ok(None) };
            let Some((heard, later)) = sounds.split_at_checked(*sound_count as usize) else { return Ok(None) };
            (pictures, sounds) = (after, later);
            let bytes: u64 = these.iter().map(|p| u64::from(p.size)).chain(heard.iter().map(|s| u64::from(*s))).sum();
            if bytes > MAX_FRAGMENT_BYTES as u64 || bytes > left {
                return Ok(None);
            }
            left -= bytes;
            let mut data = Vec::new();
            reader.by_ref().take(bytes).read_to_end(&mut data)?;
            let mut hasher = FragmentHasher::new(*wall, these.iter().copied(), heard.iter().copied());
            hasher.update(&data);
            hashes.push(hasher.finish());
        }
        Ok((pictures.is_empty() && sounds.is_empty() && left == 0).then_some(hashes))
    }
}

/// The body of the box that begins at `at`, when it is of that kind.
fn top_level(reader: &mut (impl Read + Seek), at: u64, wanted: [u8; 4]) -> io::Result<Option<(u64, u64)>> {
    let mut front = Vec::with_capacity(16);
    reader.seek(SeekFrom::Start(at))?;
    reader.take(16).read_to_end(&mut front)?;
    let found = header(&front).filter(|(_, kind, _)| *kind == wanted);
    Ok(found.and_then(|(size, _, head)| Some((at + head as u64, at.checked_add(size)?))))
}

fn parse(moov: &[u8], media: std::ops::Range<u64>) -> Option<ClipFile> {
    let tracks = read_tracks(moov)?;
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for (_, trak) in each(moov).filter(|(kind, _)| kind == b"trak") {
        let tables = find_path(trak, &[b"mdia", b"minf", b"stbl"])?;
        if find(find(tables, *b"stsd")?.get(8..)?, *b"mp4a").is_some() {
            sounds = sizes(tables)?;
        } else {
            pictures = video(tables)?;
        }
    }
    Some(ClipFile { tracks, pictures, sounds, media })
}

fn video(tables: &[u8]) -> Option<Vec<HashedPicture>> {
    let sizes = sizes(tables)?;
    let durations = runs(find(tables, *b"stts")?, sizes.len())?;
    let compositions = match find(tables, *b"ctts") {
        Some(table) => runs(table, sizes.len())?,
        None => vec![0; sizes.len()],
    };
    let mut pictures: Vec<HashedPicture> = sizes
        .into_iter()
        .zip(durations)
        .zip(compositions)
        .map(|((size, duration), composition)| HashedPicture {
            size,
            duration,
            composition: composition.cast_signed(),
            key: false,
        })
        .collect();
    for key in numbers(find(tables, *b"stss")?.get(4..)?)? {
        pictures.get_mut((key as usize).checked_sub(1)?)?.key = true;
    }
    Some(pictures)
}

fn sizes(tables: &[u8]) -> Option<Vec<u32>> {
    let table = find(tables, *b"stsz")?;
    (Taker(table.get(4..8)?).u32()? == 0).then(|| numbers(table.get(8..)?)).flatten()
}

/// A count and as many numbers, and nothing more.
fn numbers(table: &[u8]) -> Option<Vec<u32>> {
    let mut taker = Taker(table);
    let count = taker.u32()? as usize;
    let (values, []) = taker.0.as_chunks::<4>() else { return None };
    (values.len() == count).then(|| values.iter().map(|value| u32::from_be_bytes(*value)).collect())
}

/// A table in which each value stands with how often it follows itself: `count` values in all.
fn runs(table: &[u8], count: usize) -> Option<Vec<u32>> {
    let mut taker = Taker(table.get(4..)?);
    let mut values = Vec::with_capacity(count);
    for _ in 0..taker.u32()? {
        let (times, value) = (taker.u32()? as usize, taker.u32()?);
        if times > count - values.len() {
            return None;
        }
        values.resize(values.len() + times, value);
    }
    (values.len() == count).then_some(values)
}
