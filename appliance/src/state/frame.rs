//! One value as it lies in sled: version byte, generation, JSON, CRC32 of all before it.

use serde_json::value::RawValue;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;
const CRC_BYTES: usize = 4;

/// Largest value with its frame. sled puts pages over 128 KiB into files it never syncs, and a page holds one value
/// and its latest change.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024 - 1;

/// A value with the count of changes at which it was put.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Rises with every change of any value, so that two copies can be compared.
    pub(crate) generation: u64,
    /// The value; `null` when it was removed.
    pub(crate) json: Box<RawValue>,
}

impl Slot {
    /// The bytes that lie in sled; `None` when the value is too large.
    pub(crate) fn to_frame(&self) -> Option<Vec<u8>> {
        let json = self.json.get().as_bytes();
        let mut frame = Vec::with_capacity(HEAD_BYTES + json.len() + CRC_BYTES);
        frame.push(VERSION);
        frame.extend_from_slice(&self.generation.to_be_bytes());
        frame.extend_from_slice(json);
        frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
        (frame.len() <= MAX_FRAME_BYTES).then_some(frame)
    }

    /// Reads a frame; `None` when any byte of it is wrong.
    pub(crate) fn from_frame(frame: &[u8]) -> Option<Self> {
        let (body, crc) = frame.split_last_chunk::<CRC_BYTES>()?;
        let (head, json) = body.split_first_chunk::<HEAD_BYTES>()?;
        let (version, generation) = head.split_first()?;
        if *version != VERSION || crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let json = RawValue::from_string(String::from_utf8(json.to_vec()).ok()?).ok()?;
        Some(Self { generation: u64::from_be_bytes(generation.try_into().ok()?), json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_reads_back_and_a_changed_byte_is_seen(
            generation: u64, text in "[a-z ]{0,40}", at: proptest::sample::Index, change in 1..=255_u8,
        ) {
            let json = RawValue::from_string(serde_json::to_string(&text).unwrap()).unwrap();
            let mut frame = Slot { generation, json: json.clone() }.to_frame().unwrap();
            let read = Slot::from_frame(&frame).unwrap();
            prop_assert_eq!((read.generation, read.json.get()), (generation, json.get()));
            let at = at.index(frame.len());
            frame[at] ^= change;
            prop_assert!(Slot::from_frame(&frame).is_none());
            prop_assert!(Slot::from_frame(&frame[..at]).is_none());
        }
    }
}
