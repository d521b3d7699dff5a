//! What a segment's file holds, whole or torn: a file being written, one cut off by a power cut, one with garbage behind.
//!
//! A fragment counts when its tables and its media are all there and its media still has the hash that stands in front:
//! blocks that never reached the disk read as zeros. The first that does not count ends the file; recovery cuts it off
//! there and goes on writing elsewhere.

use std::io::{self, Read, Seek, SeekFrom};

use crate::boxes::{find, header};
use crate::fragment::{FragmentHead, FragmentInfo, HeadError};
use crate::init::{SegmentAbout, read_about, read_tracks};
use crate::table::{MAX_FRAGMENTS, MFRO_BYTES, read_tail};
use crate::track::Tracks;

/// Most bytes in front of the first fragment.
const MAX_INIT_BYTES: u64 = 1 << 20;
/// Most bytes of the boxes that end a file.
const MAX_TAIL_BYTES: u64 = 8 << 20;
/// Bytes read first of each fragment: the tables of a second with sound, mostly.
const HEAD_GUESS: usize = 4096;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The tracks.
    pub tracks: Tracks,
    /// Whose footage it is.
    pub about: SegmentAbout,
    /// The complete fragments, in order, with their hashes.
    pub fragments: Vec<FragmentInfo>,
    /// Bytes up to the end of the last complete fragment, or of the file where it was closed. What is behind is to be
    /// cut off.
    pub good_bytes: u64,
    /// Whether the file ends as a segment ends that was closed in order.
    pub closed: bool,
}

/// Finds what a file holds. One that was closed in order is not read but for its ends; of any other the fragments are
/// read and hashed. `None` when not even the header is whole: there is nothing to be kept.
///
/// # Errors
/// Reading fails for another reason than the end of the file.
pub fn scan(reader: impl Read + Seek) -> io::Result<Option<Scan>> {
    Walk::begin(reader)?.map_or(Ok(None), |walk| walk.quick().map(Some))
}

/// Finds what a file holds by reading and hashing all of it, whether it was closed or not: what is needed to tell that
/// it is still what it was: fragments from the first on that is not are left out.
///
/// # Errors
/// Reading fails for another reason than the end of the file.
pub fn scan_media(reader: impl Read + Seek) -> io::Result<Option<Scan>> {
    Walk::begin(reader)?.map_or(Ok(None), |walk| walk.thorough().map(Some))
}

/// What stands in front of the first fragment, and how many bytes that is: `bytes` begins as a segment's file does, and
/// goes at least that far. `None` when it does not, or is damaged.
#[must_use]
pub fn front(bytes: &[u8]) -> Option<(Tracks, SegmentAbout, usize)> {
    let end = front_end(bytes)?;
    let tracks = read_tracks(find(&bytes[..end], *b"moov")?)?;
    Some((tracks, read_about(&bytes[..end])?, end))
}

/// Goes over one file.
struct Walk<R> {
    reader: R,
    length: u64,
    /// Where the first fragment begins.
    front: u64,
    scan: Scan,
    buffer: Vec<u8>,
}

impl<R: Read + Seek> Walk<R> {
    fn begin(mut reader: R) -> io::Result<Option<Self>> {
        let length = reader.seek(SeekFrom::End(0))?;
        let mut front = Vec::new();
        read_at(&mut reader, 0, MAX_INIT_BYTES.min(64 << 10), &mut front)?;
        let mut read = self::front(&front);
        if read.is_none() && length > front.len() as u64 {
            read_at(&mut reader, 0, MAX_INIT_BYTES, &mut front)?;
            read = self::front(&front);
        }
        let Some((tracks, about, end)) = read else { return Ok(None) };
        let scan = Scan { tracks, about, fragments: Vec::new(), good_bytes: end as u64, closed: false };
        Ok(Some(Self { reader, length, front: end as u64, scan, buffer: front }))
    }

    fn quick(mut self) -> io::Result<Scan> {
        let Some(fragments) = self.tail()? else { return self.thorough() };
        self.scan.fragments = fragments;
        self.scan.good_bytes = self.length;
        self.scan.closed = true;
        Ok(self.scan)
    }

    /// The table at the end, when it is whole and its fragments fill the file up to it.
    fn tail(&mut self) -> io::Result<Option<Vec<FragmentInfo>>> {
        let Some(mfro) = self.length.checked_sub(MFRO_BYTES as u64) else { return Ok(None) };
        read_at(&mut self.reader, mfro, MFRO_BYTES as u64, &mut self.buffer)?;
        let Some((16, kind, _)) = header(&self.buffer) else { return Ok(None) };
        let size = self.buffer.last_chunk().map_or(0, |size| u64::from(u32::from_be_bytes(*size)));
        let start = self.length.checked_sub(size).filter(|start| *start >= self.scan.good_bytes);
        let (Some(start), b"mfro") = (start, &kind) else { return Ok(None) };
        Ok(self.table_at(start)?.filter(|(_, bytes)| *bytes == size).map(|(fragments, _)| fragments))
    }

    /// The table that begins at `start` and the bytes of its box, when it is whole and the fragments end there.
    fn table_at(&mut self, start: u64) -> io::Result<Option<(Vec<FragmentInfo>, u64)>> {
        let size = (self.length - start).min(MAX_TAIL_BYTES);
        read_at(&mut self.reader, start, size, &mut self.buffer)?;
        let Some((size, kind, head)) = header(&self.buffer) else { return Ok(None) };
        let body = usize::try_from(size).ok().and_then(|size| self.buffer.get(head..size));
        let (Some(body), b"mfra") = (body, &kind) else { return Ok(None) };
        let Some(table) = read_tail(body) else { return Ok(None) };
        let mut at = self.front;
        for info in &table.fragments {
            if info.offset != at || info.hash.is_none() {
                return Ok(None);
            }
            at = info.end();
        }
        Ok((at == start).then_some((table.fragments, size)))
    }

    fn thorough(mut self) -> io::Result<Scan> {
        while self.scan.fragments.len() < MAX_FRAGMENTS {
            let Some(info) = self.fragment()? else { break };
            self.scan.good_bytes = info.end();
            self.scan.fragments.push(info);
        }
        let end = self.scan.good_bytes;
        if let Some((table, bytes)) = self.table_at(end)?
            && table == self.scan.fragments
            && end + bytes == self.length
        {
            self.scan.good_bytes = self.length;
            self.scan.closed = true;
        }
        Ok(self.scan)
    }

    /// The next fragment, when it is whole.
    fn fragment(&mut self) -> io::Result<Option<FragmentInfo>> {
        let at = self.scan.good_bytes;
        let Some(head) = self.head(at)? else { return Ok(None) };
        let (head_bytes, media_bytes) = (u64::from(head.head_bytes), u64::from(head.media_bytes));
        if self.length < at + head_bytes + media_bytes || !self.follows(&head) {
            return Ok(None);
        }
        read_at(&mut self.reader, at + head_bytes, media_bytes, &mut self.buffer)?;
        let mut hasher = head.hasher();
        hasher.update(&self.buffer);
        let whole = self.buffer.len() as u64 == media_bytes && hasher.finish() == head.hash;
        Ok(whole.then(|| head.info(at)))
    }

    fn head(&mut self, at: u64) -> io::Result<Option<FragmentHead>> {
        let mut want = HEAD_GUESS;
        loop {
            read_at(&mut self.reader, at, want as u64, &mut self.buffer)?;
            match FragmentHead::parse(&self.buffer) {
                Ok(head) => return Ok(Some(head)),
                Err(HeadError::Short(needed)) if needed > want => want = needed,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Whether a fragment may stand behind those before it, in this file: its tracks are there and time does not go back.
    fn follows(&self, head: &FragmentHead) -> bool {
        let end = self.scan.fragments.last().map_or(0, |last| last.start + u64::from(last.duration));
        let fits = head.start >= end && head.start.checked_add(head.duration().into()).is_some();
        fits && (head.audio.is_empty() || self.scan.tracks.audio.is_some())
    }
}

/// Where the first fragment begins, when all in front of it is whole.
fn front_end(front: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut moov = false;
    loop {
        let rest = &front[at..];
        let (size, kind, _) = header(rest)?;
        let whole = usize::try_from(size).ok().filter(|size| *size <= rest.len());
        match (&kind, whole) {
            (b"ftyp", Some(size)) if at == 0 => at += size,
            (b"moov", Some(size)) if at > 0 && !moov => (at, moov) = (at + size, true),
            (b"uuid", Some(size)) if moov => return Some(at + size),
            _ => return None,
        }
    }
}

/// Reads up to `count` bytes at `at`; fewer where the file ends. What is read is what grows, not what is claimed.
fn read_at(reader: &mut (impl Read + Seek), at: u64, count: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    reader.seek(SeekFrom::Start(at))?;
    reader.take(count).read_to_end(buffer).map(|_| ())
}
