//! What a chain says: its records and their kinds.

use aivms_contract::footage::{DeletionReason, Gap, Locked};
use aivms_contract::id::{CameraId, EdgeId, LockId};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::seal::SegmentSeal;
use super::sign::{KeyId, PublicKey};

/// Most segments that one deletion names; more are told in several records, so that a line stays short.
pub const MAX_STARTS: usize = 1024;

/// The form of records described here.
const VERSION: u8 = 1;

/// One entry of a camera's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The form: 1.
    v: Version,
    /// The camera.
    pub camera: CameraId,
    /// The edge; absent before one is known.
    pub edge: Option<EdgeId>,
    /// 0 for the first record of a chain, then one more each.
    pub seq: u64,
    /// When it was written, by the edge's clock.
    pub at: UtcMillis,
    /// SHA-256 of the line before; [`Digest::NONE`] in the first.
    pub prev: Digest,
    /// The key that signed it; absent when it is not signed.
    pub key: Option<KeyId>,
    /// What happened.
    pub what: Entry,
}

/// What happened to a camera's footage, or to its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The chain begins. Only the first record says so.
    Begin {
        /// Why there is none before.
        why: BeginReason,
    },
    /// The edge has another key from the next record on. Signed by the key before, or by the new one itself.
    Key(KeyChange),
    /// A segment was closed.
    Segment(SegmentSeal),
    /// A span without video.
    Gap(Gap),
    /// Segments were deleted. Written before they go.
    Deleted(Deletion),
    /// Footage is kept whatever retention says.
    Locked(Locked),
    /// A lock was taken away.
    Unlocked {
        /// The lock.
        lock_id: LockId,
    },
}

/// Why a chain begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BeginReason {
    /// There was neither footage nor a chain.
    First,
    /// There was footage and no chain: an older version recorded it, or the chain was lost.
    NoChain,
    /// The end of the chain before could not be read.
    Damaged,
}

/// The key that signs from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The key.
    pub public_key: PublicKey,
    /// Who vouches for it: the device's certificate and the authority's, each in DER and base64.
    pub certificates: Vec<String>,
}

/// Segments that were deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// The beginnings of the segments, at most [`MAX_STARTS`], in milliseconds since 1970.
    pub starts: Vec<i64>,
    /// Bytes that became free.
    pub bytes: u64,
    /// Why they went.
    pub reason: DeletionReason,
}

/// When a segment's record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealTime {
    /// When the segment was closed.
    Closed,
    /// At a later start, because it had none: nothing but the disk vouches for the time between.
    Later,
}

/// Where a record stands in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    /// The number of the last line.
    pub seq: u64,
    /// Its SHA-256.
    pub hash: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Version;

impl TryFrom<u8> for Version {
    type Error = String;
    fn try_from(version: u8) -> Result<Self, String> {
        if version == VERSION { Ok(Self) } else { Err(format!("version {version} is not known")) }
    }
}

impl From<Version> for u8 {
    fn from(_: Version) -> Self {
        VERSION
    }
}

impl Record {
    /// The record that follows `last`.
    #[must_use]
    pub fn after(last: Option<Chained>, camera: CameraId, edge: Option<EdgeId>, at: UtcMillis, what: Entry) -> Self {
        let (seq, prev) = last.map_or((0, Digest::NONE), |last| (last.seq + 1, last.hash));
        Self { v: Version, camera, edge, seq, at, prev, key: None, what }
    }
}

impl Entry {
    /// The kind in a word, as it stands in the line.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::Key(_) => "key",
            Self::Segment(_) => "segment",
            Self::Gap(_) => "gap",
            Self::Deleted(_) => "deleted",
            Self::Locked(_) => "locked",
            Self::Unlocked { .. } => "unlocked",
        }
    }
}
