//! The signed chain over footage: what was recorded, what is missing and what was deleted, so that a change shows.
//!
//! Each camera has a chain of [`Record`]s, one [`Line`] of text each. A line names the SHA-256 of the line before it
//! and is signed with the edge's device key. A closed segment's record seals its fragments' hashes and wall times, the
//! decoder's parameters, and every other byte of its file. [`ChainCheck`] finds what does not fit, and a clip carries a
//! [`Manifest`] with the records it was cut from, so that it can be checked alone. `docs/ref/evidence.md` describes the
//! forms byte for byte.

mod check;
mod digest;
mod examine;
mod findings;
mod line;
mod manifest;
mod record;
mod seal;
mod sign;

pub use check::{ChainCheck, ChainReport, FileState, KeyUse, Place};
pub use digest::{Digest, digest_outside, digest_payloads};
pub use examine::{examine_clip, examine_segment};
pub use findings::{Finding, Level, Problem};
pub use line::{Line, LineError, MAX_LINE_BYTES};
pub use manifest::{ClipFacts, Excerpt, Found, MANIFEST_UUID, Manifest, ManifestError, PartSource, Treatment};
pub use record::{BeginReason, Chained, Deletion, Entry, KeyChange, MAX_STARTS, Record, SealTime};
pub use seal::{Leaf, SegmentSeal, decode_leaves, encode_leaves, root_of, tracks_digest};
pub use sign::{KeyId, PublicKey, SignError, Signer};

#[cfg(test)]
mod tests;
