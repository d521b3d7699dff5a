//! The table of a segment's fragments: packed for the index, and at the end of the file so that the index can be made
//! anew without reading media.

use aivms_contract::time::UtcMillis;

use crate::boxes::{Put, Taker, boxed, find_own, full, own};
use crate::fragment::{FRONT_BYTES, FragmentInfo};
use crate::hash::FragmentHash;
use crate::track::{VIDEO_TIMESCALE, VIDEO_TRACK, ticks_to_millis};

/// Version of the packed form.
const VERSION: u8 = 1;
/// Marks our box with the table and the hashes.
const TABLE_BOX: &[u8; 16] = b"aivms fragments\0";
/// Most fragments in a segment: an hour at ten per second. A table that claims more is damaged.
pub const MAX_FRAGMENTS: usize = 36_000;
/// Bytes of the box that ends a file and says where its table begins.
pub(crate) const MFRO_BYTES: usize = 16;

/// The fragments of one segment, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FragmentTable {
    /// Each fragment.
    pub fragments: Vec<FragmentInfo>,
}

/// Says why bytes are no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Their checksum is another.
    #[error("the fragment table is damaged")]
    Damaged,
    /// It is of a later program.
    #[error("the fragment table has version {0}, this program reads up to {VERSION}")]
    Version(u8),
}

impl FragmentTable {
    /// Packs it without the hashes: a version, the number of fragments, about ten bytes for each, a CRC-32.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.fragments.len() * 12);
        out.push(VERSION);
        varint(&mut out, self.fragments.len() as u64);
        let mut before = Expected::default();
        for info in &self.fragments {
            varint(&mut out, u64::from(info.bytes));
            varint(&mut out, u64::from(info.duration) << 1 | u64::from(info.key));
            signed(&mut out, info.offset.wrapping_sub(before.offset).cast_signed());
            signed(&mut out, info.start.wrapping_sub(before.start).cast_signed());
            signed(&mut out, info.wall.as_millis().wrapping_sub(before.wall));
            before = Expected::after(info);
        }
        out.u32(crc32fast::hash(&out));
        out
    }

    /// Reads the packed form.
    ///
    /// # Errors
    /// The bytes are damaged, or of a later version.
    pub fn unpack(packed: &[u8]) -> Result<Self, TableError> {
        let (body, crc) = packed.split_last_chunk::<4>().ok_or(TableError::Damaged)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return Err(TableError::Damaged);
        }
        match body.first() {
            Some(&VERSION) => Self::unpack_body(Taker(&body[1..])).ok_or(TableError::Damaged),
            version => Err(version.map_or(TableError::Damaged, |version| TableError::Version(*version))),
        }
    }

    fn unpack_body(mut taker: Taker<'_>) -> Option<Self> {
        let count = usize::try_from(read_varint(&mut taker)?).ok().filter(|count| *count <= MAX_FRAGMENTS)?;
        let mut fragments = Vec::with_capacity(count.min(taker.0.len()));
        let mut before = Expected::default();
        for _ in 0..count {
            let bytes = u32::try_from(read_varint(&mut taker)?).ok()?;
            let duration = read_varint(&mut taker)?;
            let info = FragmentInfo {
                bytes,
                duration: u32::try_from(duration >> 1).ok()?,
                key: duration & 1 == 1,
                offset: before.offset.wrapping_add_signed(read_signed(&mut taker)?),
                start: before.start.wrapping_add_signed(read_signed(&mut taker)?),
                wall: UtcMillis::from_millis(before.wall.wrapping_add(read_signed(&mut taker)?)),
                hash: None,
            };
            info.offset.checked_add(u64::from(bytes))?;
            info.start.checked_add(u64::from(info.duration))?;
            before = Expected::after(&info);
            fragments.push(info);
        }
        taker.0.is_empty().then_some(Self { fragments })
    }
}

/// What a fragment is expected to begin with, after another one.
#[derive(Default)]
struct Expected {
    offset: u64,
    start: u64,
    wall: i64,
}

impl Expected {
    fn after(info: &FragmentInfo) -> Self {
        let lasts = ticks_to_millis(info.duration.into(), VIDEO_TIMESCALE).cast_signed();
        Self {
            offset: info.offset.wrapping_add(info.bytes.into()),
            start: info.start.wrapping_add(info.duration.into()),
            wall: info.wall.as_millis().wrapping_add(lasts),
        }
    }
}

/// The boxes that end a segment (`mfra`): where the key pictures are, our table with the hashes, and where all this
/// begins. Fragments without a hash leave the hashes out.
#[must_use]
pub fn write_tail(table: &FragmentTable) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + table.fragments.len() * 64);
    boxed(&mut out, *b"mfra", |out| {
        key_pictures(out, &table.fragments);
        own(out, TABLE_BOX, |out| {
            let packed = table.pack();
            out.u32(u32::try_from(packed.len()).unwrap_or(0));
            out.put(&packed);
            let hashes: Option<Vec<FragmentHash>> = table.fragments.iter().map(|info| info.hash).collect();
            let from = out.len();
            for hash in hashes.into_iter().flatten() {
                out.put(&hash.0);
            }
            out.u32(crc32fast::hash(&out[from..]));
        });
        let size = u32::try_from(out.len() + MFRO_BYTES).unwrap_or(0);
        full(out, *b"mfro", 0, 0, |out| out.u32(size));
    });
    out
}

fn key_pictures(out: &mut Vec<u8>, fragments: &[FragmentInfo]) {
    full(out, *b"tfra", 1, 0, |out| {
        out.u32(VIDEO_TRACK);
        // Numbers of the track, table and sample in a fragment take a byte each.
        out.u32(0);
        let keys = fragments.iter().filter(|info| info.key);
        out.u32(u32::try_from(keys.clone().count()).unwrap_or(0));
        for info in keys {
            out.u64(info.start);
            out.u64(info.offset + FRONT_BYTES as u64);
            out.put(&[1, 1, 1]);
        }
    });
}

/// Reads the table in the body of an `mfra` box; `None` when it is not whole.
pub(crate) fn read_tail(mfra: &[u8]) -> Option<FragmentTable> {
    let mut taker = Taker(find_own(mfra, TABLE_BOX)?);
    let length = usize::try_from(taker.u32()?).ok()?;
    let mut table = FragmentTable::unpack(taker.bytes(length)?).ok()?;
    let (hashes, crc) = taker.0.split_last_chunk::<4>()?;
    if crc32fast::hash(hashes) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (hashes, []) = hashes.as_chunks::<32>() else { return None };
    match hashes.len() {
        0 => {}
        count if count == table.fragments.len() => {
            for (info, hash) in table.fragments.iter_mut().zip(hashes) {
                info.hash = Some(FragmentHash(*hash));
            }
        }
        _ => return None,
    }
    Some(table)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small numbers of either sign in few bytes.
fn signed(out: &mut Vec<u8>, value: i64) {
    varint(out, (value << 1 ^ value >> 63).cast_unsigned());
}

fn read_varint(taker: &mut Taker<'_>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = taker.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn read_signed(taker: &mut Taker<'_>) -> Option<i64> {
    let value = read_varint(taker)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}
