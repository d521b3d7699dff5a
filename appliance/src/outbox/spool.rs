//! The on-disk form of the outbox, shared by writer, reader and recovery scan.
//!
//! A spool file is a run of records. The first is the file's head: kind 0, its payload says whose outbox it is. Each
//! further record is one envelope. All numbers are big-endian.
//!
//! ```text
//! magic 4 | payload length 4 | sequence 8 | kind 1 | group 3 | CRC32 4 | payload
//! ```
//!
//! Records that were synced together form a group; each says at which offset its group begins. Only the last group of
//! the newest file can have been cut short by a crash, so damage before it is damage to kept events.
//! The CRC covers everything but magic and itself. The magic holds bytes that no UTF-8 text can hold, so none lies
//! inside a payload, and the scan finds the next record behind a damaged one.

use std::fmt;
use std::path::{Path, PathBuf};

use aivms_contract::id::{EdgeId, OutboxId};
use aivms_contract::limits::MAX_PAYLOAD_BYTES;
use aivms_contract::topic::UpKind;
use serde::{Deserialize, Serialize};

/// Bytes of a record before its payload.
pub(crate) const HEAD_BYTES: usize = 24;
/// Largest record.
pub(crate) const MAX_RECORD_BYTES: usize = HEAD_BYTES + MAX_PAYLOAD_BYTES;

const MAGIC: [u8; 4] = [0xf5, 0xc1, 0xfe, 0xa7];
const HEAD_KIND: u8 = 0;
const SUFFIX: &str = ".spool";

/// The durable kinds in the order in which a full outbox sheds them; the last is never shed.
pub(crate) const SHEDDING_ORDER: [UpKind; 7] = [
    UpKind::Detections,
    UpKind::Health,
    UpKind::Snapshots,
    UpKind::Clips,
    UpKind::Footage,
    UpKind::ZoneEvents,
    UpKind::Alerts,
];

/// Whose outbox a spool file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The outbox its sequence numbers count in.
    pub(crate) outbox: OutboxId,
    /// The edge that speaks in its envelopes.
    pub(crate) edge: EdgeId,
}

/// One record whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// For an envelope its sequence number; for a file's head the first one the file may hold.
    pub(crate) seq: u64,
    /// The envelope's kind; none for a head.
    pub(crate) kind: Option<UpKind>,
    /// Offset in the file at which the records synced together with this one begin.
    pub(crate) group: u32,
    /// The envelope's or the head's JSON.
    pub(crate) payload: &'a [u8],
}

/// Largest offset that fits into the field.
const MAX_GROUP_OFFSET: u32 = 0xff_ffff;

/// What a walk over a file finds next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A record and the offset at which it begins.
    Record(Record<'a>, usize),
    /// Bytes that are no record, from an offset to the next record or to the end.
    Damage {
        /// Where the damage begins.
        at: usize,
        /// How far it goes.
        bytes: usize,
    },
}

/// Place of `kind` in [`SHEDDING_ORDER`].
pub(crate) fn class(kind: UpKind) -> usize {
    SHEDDING_ORDER.iter().position(|other| *other == kind).unwrap_or(SHEDDING_ORDER.len() - 1)
}

/// Adds the record of one envelope; `group` is the offset at which the records synced together with it begin.
pub(crate) fn push_record(out: &mut Vec<u8>, seq: u64, kind: UpKind, group: u64, json: &[u8]) {
    let group = u32::try_from(group).unwrap_or(MAX_GROUP_OFFSET).min(MAX_GROUP_OFFSET);
    push(out, seq, kind_code(kind), group, json);
}

/// Adds the head of a file whose records begin at or after `first`.
pub(crate) fn push_head(out: &mut Vec<u8>, first: u64, owner: &Owner) {
    let json = serde_json::to_vec(owner).expect("ids always serialise");
    push(out, first, HEAD_KIND, 0, &json);
}

/// Reads a file's head.
pub(crate) fn head_of(record: &Record<'_>) -> Option<Owner> {
    if record.kind.is_some() {
        return None;
    }
    serde_json::from_slice(record.payload).ok()
}

/// Bytes the record of an envelope takes.
pub(crate) fn record_bytes(json: &[u8]) -> u64 {
    (HEAD_BYTES + json.len()) as u64
}

/// Walks over the bytes of a file from its start or from a record's offset.
pub(crate) fn walk(bytes: &[u8]) -> Walk<'_> {
    Walk { bytes, at: 0 }
}

/// See [`walk`].
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let at = self.at;
        if at >= self.bytes.len() {
            return None;
        }
        if let Some(record) = record_at(self.bytes, at) {
            self.at = at + HEAD_BYTES + record.payload.len();
            return Some(Piece::Record(record, at));
        }
        self.at =
            (at + 1..self.bytes.len()).find(|next| record_at(self.bytes, *next).is_some()).unwrap_or(self.bytes.len());
        Some(Piece::Damage { at, bytes: self.at - at })
    }
}

/// Name of a spool file: its first sequence number, and a number that tells a file from the one it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct FileName {
    /// No record in the file has a lower sequence number.
    pub(crate) first: u64,
    /// Higher than in every file made before.
    pub(crate) turn: u64,
}

impl FileName {
    /// Reads the name of a spool file; `None` for any other file.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (first, turn) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        Some(Self { first: first.parse().ok()?, turn: turn.parse().ok()? })
    }

    /// Where the file lies.
    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:010}{SUFFIX}", self.first, self.turn)
    }
}

fn push(out: &mut Vec<u8>, seq: u64, kind: u8, group: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payloads are limited to MAX_PAYLOAD_BYTES");
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&(u32::from(kind) << 24 | group).to_be_bytes());
    let crc = checksum(&out[start + 4..start + 20], payload);
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(payload);
}

fn record_at(bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let rest = &bytes[at..];
    let (head, rest) = rest.split_first_chunk::<HEAD_BYTES>()?;
    let fields = head.strip_prefix(&MAGIC)?;
    let number =
        |range: std::ops::Range<usize>| fields[range].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let length = usize::try_from(number(0..4)).ok().filter(|length| *length <= MAX_PAYLOAD_BYTES)?;
    let payload = rest.get(..length)?;
    if u64::from(checksum(&fields[..16], payload)) != number(16..20) {
        return None;
    }
    let kind = match fields[12] {
        HEAD_KIND => None,
        code => Some(kind_of(code)?),
    };
    let group = u32::try_from(number(13..16)).ok()?;
    Some(Record { seq: number(4..12), kind, group, payload })
}

fn checksum(fields: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(payload);
    hasher.finalize()
}

/// Codes are on disk: never change one.
const KIND_CODES: [(u8, UpKind); 7] = [
    (1, UpKind::Detections),
    (2, UpKind::ZoneEvents),
    (3, UpKind::Alerts),
    (4, UpKind::Health),
    (5, UpKind::Clips),
    (6, UpKind::Snapshots),
    (7, UpKind::Footage),
];

fn kind_code(kind: UpKind) -> u8 {
    KIND_CODES.iter().find(|(_, known)| *known == kind).expect("a body has one of the durable kinds").0
}

fn kind_of(code: u8) -> Option<UpKind> {
    KIND_CODES.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Vec<(UpKind, String)>> {
        proptest::collection::vec((proptest::sample::select(&SHEDDING_ORDER[..]), "\\PC{0,60}"), 1..20)
    }

    fn encode(records: &[(UpKind, String)]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for (seq, (kind, json)) in records.iter().enumerate() {
            starts.push(bytes.len());
            push_record(&mut bytes, seq as u64, *kind, 0, json.as_bytes());
        }
        (bytes, starts)
    }

    fn read(bytes: &[u8]) -> (Vec<(u64, UpKind, String)>, usize) {
        let (mut found, mut damages) = (Vec::new(), 0);
        for piece in walk(bytes) {
            match piece {
                Piece::Record(record, _) => {
                    let text = String::from_utf8(record.payload.to_vec()).unwrap();
                    found.push((record.seq, record.kind.unwrap(), text));
                }
                Piece::Damage { .. } => damages += 1,
            }
        }
        (found, damages)
    }

    proptest! {
        #[test]
        fn a_changed_byte_costs_exactly_the_record_it_lies_in(
            records in records(), at: proptest::sample::Index, change in 1..=255_u8,
        ) {
            let (mut bytes, starts) = encode(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let hit = starts.iter().rposition(|start| *start <= at).unwrap();
            let (found, damages) = read(&bytes);
            let expected: Vec<_> = records.iter().enumerate().filter(|(seq, _)| *seq != hit)
                .map(|(seq, (kind, text))| (seq as u64, *kind, text.clone())).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(damages, 1);
        }

        #[test]
        fn a_torn_tail_costs_exactly_the_records_it_cuts(records in records(), at: proptest::sample::Index) {
            let (bytes, starts) = encode(&records);
            let at = at.index(bytes.len());
            let whole = starts.iter().filter(|start| **start <= at).count() - 1;
            prop_assert_eq!(read(&bytes[..at]).0.len(), whole);
        }

        #[test]
        fn file_names_read_back_and_sort_by_first_sequence_number(a: u64, b: u64, turn in 0..10_000_000_000_u64) {
            let (one, two) = (FileName { first: a, turn }, FileName { first: b, turn });
            prop_assert_eq!(FileName::parse(&one.to_string()), Some(one));
            prop_assert_eq!(one.to_string().cmp(&two.to_string()), one.cmp(&two));
        }
    }
}
