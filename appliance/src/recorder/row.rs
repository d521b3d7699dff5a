//! One closed segment as it lies in the index.
//!
//! Key: camera number 2 | start in milliseconds since 1970 8, big-endian, so that a camera's segments lie in order.
//! Value: version 1 | disk 1 | tags 1 | bytes 8 | length in milliseconds 8 | table | CRC32 4 over key and all before it.
//! The CRC covers the key too, so that a row found under another one is not believed.

use aivms_contract::time::UtcMillis;

use super::catalogue::Entry;
use super::segment::{DiskTier, Tags};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 19;
const CRC_BYTES: usize = 4;
/// Largest row: sled puts pages over 128 KiB into files that it never syncs, and a page holds a value and its change.
pub(super) const MAX_ROW_BYTES: usize = 64 * 1024 - 1;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 10;

/// The key of a segment.
pub(super) fn key(camera: u16, start: UtcMillis) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..2].copy_from_slice(&camera.to_be_bytes());
    // Times before 1970 are those of a clock that was never set; they count as 1970.
    key[2..].copy_from_slice(&u64::try_from(start.as_millis()).unwrap_or(0).to_be_bytes());
    key
}

/// Camera number and start of a key.
pub(super) fn of_key(key: &[u8]) -> Option<(u16, UtcMillis)> {
    let (camera, start) = key.split_first_chunk::<2>()?;
    let start = i64::try_from(u64::from_be_bytes(start.try_into().ok()?)).ok()?;
    Some((u16::from_be_bytes(*camera), UtcMillis::from_millis(start)))
}

/// Makes the row of a segment; `None` when its table is too large.
pub(super) fn encode(key: &[u8; KEY_BYTES], start: UtcMillis, entry: Entry, table: &[u8]) -> Option<Vec<u8>> {
    let mut row = Vec::with_capacity(HEAD_BYTES + table.len() + CRC_BYTES);
    row.push(VERSION);
    row.push(u8::from(entry.tier == DiskTier::Slow));
    row.push(entry.tags.bits());
    row.extend_from_slice(&entry.bytes.to_be_bytes());
    row.extend_from_slice(&(entry.end.as_millis() - start.as_millis()).to_be_bytes());
    row.extend_from_slice(table);
    let crc = crc(key, &row);
    row.extend_from_slice(&crc.to_be_bytes());
    (row.len() <= MAX_ROW_BYTES).then_some(row)
}

/// Reads a row: the segment and its table. `None` when any byte of it is wrong.
pub(super) fn decode<'a>(key: &[u8], row: &'a [u8]) -> Option<(UtcMillis, Entry, &'a [u8])> {
    let (_, start) = of_key(key)?;
    let (body, sum) = row.split_last_chunk::<CRC_BYTES>()?;
    let (head, table) = body.split_first_chunk::<HEAD_BYTES>()?;
    if head[0] != VERSION || crc(key, body) != u32::from_be_bytes(*sum) {
        return None;
    }
    let number = |at: usize| Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let length = i64::try_from(number(11)?).ok()?;
    let entry = Entry {
        end: UtcMillis::from_millis(start.as_millis().checked_add(length)?),
        bytes: number(3)?,
        tier: if head[1] == 1 { DiskTier::Slow } else { DiskTier::Fast },
        tags: Tags::from_bits(head[2]),
    };
    Some((start, entry, table))
}

fn crc(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_reads_back_and_a_changed_byte_of_key_or_value_is_seen(
            camera: u16, start in 0..4_000_000_000_000_i64, length in 0..4_000_000_i64, bytes: u64, slow: bool,
            tags in 0..8_u8, table in proptest::collection::vec(any::<u8>(), 0..50),
            at: proptest::sample::Index, change in 1..=255_u8,
        ) {
            let start = UtcMillis::from_millis(start);
            let entry = Entry {
                end: UtcMillis::from_millis(start.as_millis() + length),
                bytes,
                tier: if slow { DiskTier::Slow } else { DiskTier::Fast },
                tags: Tags::from_bits(tags),
            };
            let mut key = key(camera, start);
            let mut row = encode(&key, start, entry, &table).unwrap();
            prop_assert_eq!(of_key(&key), Some((camera, start)));
            prop_assert_eq!(decode(&key, &row), Some((start, entry, table.as_slice())));
            let at = at.index(key.len() + row.len());
            if at < key.len() { key[at] ^= change } else { row[at - key.len()] ^= change }
            prop_assert_eq!(decode(&key, &row), None);
        }
    }
}
