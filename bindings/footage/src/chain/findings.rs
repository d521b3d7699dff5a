//! What a check has found.

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use serde::Serialize;

use super::check::Place;
use super::line::LineError;
use super::record::BeginReason;
use super::sign::KeyId;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Nothing shows a change, and nothing excludes one.
    Doubt,
    /// Something was changed, removed, added or put elsewhere.
    Broken,
}

/// Something that a check has found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file and line, where there is one.
    pub place: Option<Place>,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a chain and the footage under it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A line is damaged.
    #[error("the line {0}")]
    Line(LineError),
    /// The last line has no end.
    #[error("the last record is unfinished: by a crash, after which the appliance cuts it off, or by a change")]
    Unfinished,
    /// Another camera's record.
    #[error("the record is of camera {0}")]
    Camera(CameraId),
    /// The chain's first records are missing.
    #[error("the chain begins with record {seq}, so {seq} records before it are missing")]
    NoBeginning {
        /// The first there is.
        seq: u64,
    },
    /// Records are missing inside.
    #[error("{} records from {from} to {to} are missing before this one", to - from + 1)]
    Cut {
        /// The first missing.
        from: u64,
        /// The last missing.
        to: u64,
    },
    /// A record stands where another belongs.
    #[error("record {found} stands where record {expected} belongs")]
    Order {
        /// What the order asks for.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A record does not follow the one before it.
    #[error("the record was written after another line than the one before it, which was changed or replaced")]
    Link,
    /// Another chain begins.
    #[error("another chain begins here ({}); nothing ties it to the one before", reason_in_words(*.0))]
    BegunAnew(BeginReason),
    /// Says that a chain begins in the middle of one, or the first record does not.
    #[error("only the first record says that a chain begins")]
    Begin,
    /// A chain that had to begin although there was footage.
    #[error("the chain began when there was footage already: {}", reason_in_words(*.0))]
    LateBeginning(BeginReason),
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    Signature,
    /// A key that was not introduced, or that another one has replaced.
    #[error("the record is signed by {0}, which is not the key in use here")]
    ForeignKey(KeyId),
    /// The new key was not approved by the one before.
    #[error("the new key {0} is not approved by the one before it; only its certificate vouches for it")]
    KeyNotHandedOver(KeyId),
    /// The end is not signed though there is a key.
    #[error("the records from {seq} on are not signed, though those before are")]
    UnsignedTail {
        /// The first of them.
        seq: u64,
    },
    /// No record was ever signed.
    #[error("no record is signed: the edge had no certificate; anyone could have written this chain")]
    NeverSigned,
    /// The clock was behind the record before.
    #[error("the edge's clock had been set back by {seconds} s")]
    ClockBack {
        /// By how much.
        seconds: u64,
    },
    /// A segment that ends before it begins.
    #[error("the segment ends before it begins")]
    Times,
    /// A segment has two records.
    #[error("the segment at {0} was sealed before")]
    SealedTwice(UtcMillis),
    /// A segment was sealed long after it was closed.
    #[error("the segment at {0} was sealed at a later start only")]
    SealedLater(UtcMillis),
    /// A deletion of something unknown.
    #[error("a segment at {0} is told to be deleted and was never sealed")]
    DeletedUnknown(UtcMillis),
    /// A sealed segment is not there.
    #[error("the segment at {0} is missing, and no record says that it was deleted")]
    Missing(UtcMillis),
    /// The file of a deleted segment is still there.
    #[error("the segment at {0} is still there, though its deletion is on record")]
    StillThere(UtcMillis),
    /// A file that no record knows, older than the last record.
    #[error("no record knows the segment at {0}: it was put there, or its record was taken away")]
    Unrecorded(UtcMillis),
    /// A file newer than the last record.
    #[error("the segment at {0} is newer than the last record and not sealed yet")]
    NotSealedYet(UtcMillis),
    /// A file can't be read as a segment.
    #[error("the segment at {start} can't be read: {problem}")]
    Unreadable {
        /// Which.
        start: UtcMillis,
        /// Why not.
        problem: String,
    },
    /// A file is longer or shorter.
    #[error("the segment at {start} has {found} bytes, was sealed with {sealed}")]
    Length {
        /// Which.
        start: UtcMillis,
        /// Bytes on record.
        sealed: u64,
        /// Bytes found.
        found: u64,
    },
    /// Headers, tables or times differ.
    #[error("headers, tables or times of the segment at {0} were changed")]
    Outside(UtcMillis),
    /// Decoder parameters differ.
    #[error("the decoder parameters of the segment at {0} were changed")]
    Tracks(UtcMillis),
    /// Pictures or sound differ.
    #[error("pictures or sound of the segment at {start} were changed, fragment {fragment} at {wall}")]
    Fragment {
        /// Which segment.
        start: UtcMillis,
        /// Which fragment, from 0.
        fragment: usize,
        /// Its wall time.
        wall: UtcMillis,
    },
    /// Hashes of fragments do not give the sealed one.
    #[error("the fragments of the segment at {0} are not those that were sealed")]
    Root(UtcMillis),
    /// A known head is beyond the end.
    #[error("the chain ends at record {have}, and record {want} is known to have been written: its end was cut off")]
    CutOff {
        /// The last there is; -1 for none.
        have: i64,
        /// The one known.
        want: u64,
    },
    /// A known head is another record.
    #[error("record {0} is not the one that is known to have been written")]
    OtherChain(u64),
    /// A span without video that nothing explains.
    #[error("there is no video from {from} to {to}, and no record says why")]
    Unexplained {
        /// End of the video before.
        from: UtcMillis,
        /// Beginning of the video after.
        to: UtcMillis,
    },
    /// A clip has no manifest, or one that can't be read.
    #[error("the clip's manifest {0}")]
    Manifest(String),
    /// Bytes before the manifest were added or removed.
    #[error("the file has {found} bytes before its manifest, was made with {made}")]
    ClipLength {
        /// Bytes it was made with.
        made: u64,
        /// Bytes found.
        found: u64,
    },
    /// Bytes after the manifest.
    #[error("{0} bytes were added after the manifest")]
    Appended(u64),
    /// Headers or tables of the clip differ.
    #[error("headers or tables of the clip were changed")]
    ClipOutside,
    /// The clip's media can't be taken apart.
    #[error("the clip's tables can't be read: {0}")]
    ClipUnreadable(String),
    /// Re-encoded media differ.
    #[error("pictures or sound of the clip were changed")]
    ClipPayload,
    /// The clip's decoder parameters are not the segments'.
    #[error("the clip's decoder parameters are not those of its segments")]
    ClipTracks,
    /// A fragment in the clip is not the sealed one.
    #[error("pictures or sound were changed at {wall}, fragment {fragment} of the clip")]
    ClipFragment {
        /// Which, from 0.
        fragment: usize,
        /// Its wall time.
        wall: UtcMillis,
    },
    /// The clip has more or fewer fragments.
    #[error("the clip holds {found} fragments, was made of {made}")]
    ClipFragments {
        /// What the manifest says.
        made: usize,
        /// What is there.
        found: usize,
    },
    /// A record in the manifest is not what it should be.
    #[error("the record of the segment at {start} {problem}")]
    Excerpt {
        /// Which segment.
        start: UtcMillis,
        /// What is wrong.
        problem: String,
    },
    /// The manifest is not signed.
    #[error("the clip is not signed: the edge had no certificate; anyone could have made it")]
    ClipUnsigned,
    /// Some of the clip comes from the segment being written.
    #[error(
        "the segment at {0} was still being written when the clip was made: only the clip's own signature covers it"
    )]
    FromOpenSegment(UtcMillis),
    /// Some of the clip comes from a segment whose record was not found.
    #[error("the chain has no record of the segment at {0}: only the clip's own signature covers it")]
    FromUnsealed(UtcMillis),
    /// A certificate is not what it should be.
    #[error("the certificate of key {key} {problem}")]
    Certificate {
        /// Whose.
        key: KeyId,
        /// What is wrong.
        problem: String,
    },
    /// A certificate had not begun, or had ended, when its key signed.
    #[error(
        "the certificate of key {key} lives from {from} to {until}, and its key signed at {at} by the edge's clock"
    )]
    CertificateTime {
        /// Whose.
        key: KeyId,
        /// Beginning of its life.
        from: UtcMillis,
        /// End of its life.
        until: UtcMillis,
        /// Time of the record or clip.
        at: UtcMillis,
    },
    /// Who signed is not known without an authority to compare with.
    #[error("who signed is not checked: compare the key {0} with the edge's, or give the authority's certificate")]
    SignerUnknown(KeyId),
    /// A file or folder can't be read.
    #[error("{0}")]
    Read(String),
}

impl Finding {
    /// How much it weighs.
    #[must_use]
    pub fn level(&self) -> Level {
        self.problem.level()
    }
}

impl Problem {
    /// How much it weighs.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::ClockBack { .. }
            | Self::SealedLater(_)
            | Self::DeletedUnknown(_)
            | Self::StillThere(_)
            | Self::NotSealedYet(_)
            | Self::LateBeginning(_)
            | Self::Unexplained { .. }
            | Self::FromOpenSegment(_)
            | Self::FromUnsealed(_) => Level::Note,
            Self::NeverSigned | Self::ClipUnsigned | Self::CertificateTime { .. } | Self::SignerUnknown(_) => {
                Level::Doubt
            }
            _ => Level::Broken,
        }
    }
}

fn reason_in_words(why: BeginReason) -> &'static str {
    match why {
        BeginReason::First => "there was neither footage nor a chain",
        BeginReason::NoChain => "there was footage without a chain",
        BeginReason::Damaged => "the end of the chain before could not be read",
    }
}
