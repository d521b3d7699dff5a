//! What a clip carries with it so that it can be checked alone: the records of its segments, and a signature.
//!
//! The manifest is the last box of the file, a `uuid` box that players skip. It holds one signed text of the form of a
//! chain's line: JSON, a tab, the signature.

use std::io::{self, Read, Seek, SeekFrom};

use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use super::check::Place;
use super::digest::Digest;
use super::findings::{Finding, Problem};
use super::line::{Line, LineError, parse_text, seal_text};
use super::record::{Chained, Entry, KeyChange};
use super::seal::{Leaf, decode_leaves, root_of};
use super::sign::{KeyId, SignError, Signer};
use crate::clip::{EXTRA_HEAD_BYTES, extra_box, find_extra};

/// The type of the box.
pub const MANIFEST_UUID: [u8; 16] = *b"aivms:manifest:1";
/// Longest manifest in bytes; one of a clip of a day has about 5 MB.
const MAX_MANIFEST_BYTES: usize = 15 * 1024 * 1024;

/// Where a clip comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The camera.
    pub camera: CameraId,
    /// The edge; absent before one is known.
    pub edge: Option<EdgeId>,
    /// Wall time of the first picture shown.
    pub start: UtcMillis,
    /// Wall time of the end.
    pub end: UtcMillis,
    /// The event it was cut for.
    pub event: Option<EventId>,
    /// When it was made, by the edge's clock.
    pub made_at: UtcMillis,
    /// What was done to the pictures.
    pub treatment: Treatment,
    /// Bytes of the file before the manifest.
    pub bytes: u64,
    /// SHA-256 of the file before the manifest, without the payloads of its `mdat` boxes.
    pub outside: Digest,
    /// SHA-256 of the payloads of its `mdat` boxes, where they were encoded anew. Copied ones have their fragments' hashes.
    pub payloads: Option<Digest>,
    /// What it was cut from, in order.
    pub parts: Vec<Excerpt>,
    /// The chain's lines about spans without video inside.
    pub gaps: Vec<String>,
    /// The keys that signed any of this.
    pub keys: Vec<KeyChange>,
    /// The chain's last record when the clip was made.
    pub head: Option<Chained>,
    /// The key that signed the manifest; absent when it is not signed.
    pub key: Option<KeyId>,
}

/// What was done to pictures and sound on the way into a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Nothing: the samples are the recorded ones.
    Copied,
    /// Re-encoded with the camera's privacy mask, from the segments named.
    Masked,
}

/// The part of a segment that a clip was cut from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excerpt {
    /// Wall time of the segment's first picture.
    pub start: UtcMillis,
    /// What the chain says of it.
    pub source: PartSource,
    /// All fragments of the segment as far as they were known, as [`encode_leaves`](super::encode_leaves) prints them.
    pub leaves: String,
    /// The first fragment in the clip, from 0.
    pub from: u32,
    /// How many fragments of it are in the clip.
    pub count: u32,
    /// Of each fragment in the clip, the pictures and the AAC frames that it consists of; empty in a re-encoded clip.
    pub samples: Vec<(u32, u32)>,
}

/// What the chain says of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartSource {
    /// Its record, the very line.
    Sealed(String),
    /// It was being written when the clip was made.
    Open,
    /// No record of it was found.
    Unsealed,
}

/// Says why there is no manifest to read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file can't be read.
    #[error("can't be read")]
    Read(#[from] io::Error),
    /// No box of ours.
    #[error("is missing: this clip was not made by an appliance, or its end was cut off")]
    None,
    /// It is damaged.
    #[error("{0}")]
    Line(#[from] LineError),
}

/// A manifest with its very text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it says.
    pub manifest: Manifest,
    /// Bytes of the file before it.
    pub at: u64,
    /// Bytes of the file after it.
    pub after: u64,
    text: String,
}

/// What was found in a clip's file, hashed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipFacts {
    /// As [`Manifest::outside`].
    pub outside: Digest,
    /// SHA-256 of the payloads of its `mdat` boxes.
    pub payloads: Digest,
    /// SHA-256 of its decoder parameters.
    pub tracks: Option<Digest>,
    /// The same without sound: what a segment had that began before there was some.
    pub silent: Option<Digest>,
    /// The hash of each fragment, or why there are none.
    pub fragments: Result<Vec<[u8; 32]>, String>,
}

impl Manifest {
    /// The box to append to the clip, signed by `signer` when there is one.
    ///
    /// # Errors
    /// The key gives no signature, or the manifest is too long.
    pub fn seal(mut self, signer: Option<&dyn Signer>) -> Result<Vec<u8>, SignError> {
        self.key = signer.map(|signer| signer.public_key().id());
        let text = seal_text(&self, signer)?;
        if text.len() > MAX_MANIFEST_BYTES {
            return Err(SignError(format!("the manifest is longer than {MAX_MANIFEST_BYTES} bytes")));
        }
        Ok(extra_box(&MANIFEST_UUID, text.as_bytes()))
    }
}

impl Excerpt {
    /// The leaves of the fragments in the clip, of all those of the segment.
    fn used<'a>(&self, all: &'a [Leaf]) -> Option<&'a [Leaf]> {
        let from = usize::try_from(self.from).ok()?;
        all.get(from..from.checked_add(usize::try_from(self.count).ok()?)?)
    }
}

impl Manifest {
    /// Of each fragment that should be in a copied clip, the wall time, the pictures and the AAC frames; `None` when
    /// the manifest does not say it.
    #[must_use]
    pub fn expected(&self) -> Option<Vec<(UtcMillis, u32, u32)>> {
        let mut expected = Vec::new();
        for part in &self.parts {
            let all = decode_leaves(&part.leaves).ok()?;
            let used = part.used(&all).filter(|used| used.len() == part.samples.len())?;
            let fragment = |(leaf, (pictures, sounds)): (&Leaf, &(u32, u32))| (leaf.wall, *pictures, *sounds);
            expected.extend(used.iter().zip(&part.samples).map(fragment));
        }
        Some(expected)
    }
}

impl Found {
    /// Reads the manifest in a clip.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn read(mut file: impl Read + Seek) -> Result<Self, ManifestError> {
        let (at, text) = find_extra(&mut file, &MANIFEST_UUID)?.ok_or(ManifestError::None)?;
        let end = at + (text.len() + EXTRA_HEAD_BYTES) as u64;
        let after = file.seek(SeekFrom::End(0))?.saturating_sub(end);
        let text = String::from_utf8(text).map_err(|_| LineError::Shape)?;
        let (manifest, signed): (Manifest, _) = parse_text(&text)?;
        if manifest.key.is_some() != signed.signature.is_some() {
            return Err(LineError::Key.into());
        }
        Ok(Self { manifest, at, after, text })
    }

    /// Compares the manifest with the clip that it is in. Who the keys belong to is for others.
    #[must_use]
    pub fn check(&self, place: &Place, facts: &ClipFacts) -> Vec<Finding> {
        let mut problems = Vec::new();
        self.check_signature(&mut problems);
        self.check_file(facts, &mut problems);
        let mut leaves = Vec::new();
        let mut records: Vec<Line> = Vec::new();
        for part in &self.manifest.parts {
            self.check_part(part, facts, &mut leaves, &mut records, &mut problems);
        }
        self.check_gaps(&mut problems);
        self.check_media(facts, &leaves, &mut problems);
        problems.into_iter().map(|problem| Finding { place: Some(place.clone()), problem }).collect()
    }

    fn check_signature(&self, problems: &mut Vec<Problem>) {
        let Some(id) = self.manifest.key else { return problems.push(Problem::ClipUnsigned) };
        let key = self.manifest.keys.iter().find(|key| key.public_key.id() == id);
        let signed = parse_text::<Manifest>(&self.text).map(|(_, signed)| signed);
        match (key, signed) {
            (Some(key), Ok(signed)) if signed.is_by(&key.public_key) => {}
            (None, _) => problems.push(Problem::ForeignKey(id)),
            _ => problems.push(Problem::Manifest("has a wrong signature".to_owned())),
        }
    }

    fn check_file(&self, facts: &ClipFacts, problems: &mut Vec<Problem>) {
        if self.at != self.manifest.bytes {
            problems.push(Problem::ClipLength { made: self.manifest.bytes, found: self.at });
        }
        if self.after > 0 {
            problems.push(Problem::Appended(self.after));
        }
        if facts.outside != self.manifest.outside {
            problems.push(Problem::ClipOutside);
        }
    }

    /// Checks one segment's record and adds the leaves that should be in the clip.
    fn check_part(
        &self,
        part: &Excerpt,
        facts: &ClipFacts,
        leaves: &mut Vec<Leaf>,
        records: &mut Vec<Line>,
        problems: &mut Vec<Problem>,
    ) {
        let start = part.start;
        let mut wrong = |problem: &str| problems.push(Problem::Excerpt { start, problem: problem.to_owned() });
        let Ok(all) = decode_leaves(&part.leaves) else { return wrong("lists no fragments that can be read") };
        match part.used(&all) {
            Some(used) => leaves.extend_from_slice(used),
            None => wrong("names fragments that the segment does not have"),
        }
        let text = match &part.source {
            PartSource::Sealed(text) => text,
            PartSource::Open => return problems.push(Problem::FromOpenSegment(start)),
            PartSource::Unsealed => return problems.push(Problem::FromUnsealed(start)),
        };
        let line = match Line::parse(text.as_bytes()) {
            Ok(line) => line,
            Err(error) => return wrong(&error.to_string()),
        };
        if line.record().key.is_some() && !self.is_signed(&line) {
            wrong("has a wrong signature");
        }
        let Entry::Segment(seal) = &line.record().what else { return wrong("is of another kind") };
        let same = line.record().camera == self.manifest.camera && line.record().edge == self.manifest.edge;
        if !same || seal.start != start {
            wrong("is of another camera, edge or time");
        }
        if root_of(&all) != seal.root || Ok(all.len()) != usize::try_from(seal.fragments) {
            wrong("seals other fragments");
        }
        let is_silent = part.samples.iter().all(|(_, sounds)| *sounds == 0);
        let fits = facts.tracks == Some(seal.tracks) || (is_silent && facts.silent == Some(seal.tracks));
        if self.manifest.treatment == Treatment::Copied && facts.tracks.is_some() && !fits {
            problems.push(Problem::ClipTracks);
        }
        if let Some(last) = records.last()
            && line.record().seq == last.record().seq + 1
            && line.record().prev != last.place().hash
        {
            problems.push(Problem::Excerpt { start, problem: "does not follow the one before it".to_owned() });
        }
        records.push(line);
    }

    fn check_gaps(&self, problems: &mut Vec<Problem>) {
        for text in &self.manifest.gaps {
            let start = self.manifest.start;
            let is_right = Line::parse(text.as_bytes()).is_ok_and(|line| {
                (line.record().key.is_none() || self.is_signed(&line)) && matches!(line.record().what, Entry::Gap(_))
            });
            if !is_right {
                problems
                    .push(Problem::Excerpt { start, problem: "holds a gap that no key of it has signed".to_owned() });
            }
        }
    }

    fn is_signed(&self, line: &Line) -> bool {
        self.manifest.keys.iter().any(|key| line.is_signed_by(&key.public_key))
    }

    fn check_media(&self, facts: &ClipFacts, leaves: &[Leaf], problems: &mut Vec<Problem>) {
        if self.manifest.treatment == Treatment::Copied {
            match &facts.fragments {
                Err(problem) => problems.push(Problem::ClipUnreadable(problem.clone())),
                Ok(found) if found.len() != leaves.len() => {
                    problems.push(Problem::ClipFragments { made: leaves.len(), found: found.len() });
                }
                Ok(found) => {
                    let altered =
                        leaves.iter().zip(found).enumerate().filter(|(_, (leaf, found))| leaf.hash != **found);
                    problems.extend(
                        altered.map(|(fragment, (leaf, _))| Problem::ClipFragment { fragment, wall: leaf.wall }),
                    );
                }
            }
        }
        let is_missing = self.manifest.treatment == Treatment::Masked && self.manifest.payloads.is_none();
        if is_missing || self.manifest.payloads.is_some_and(|payloads| payloads != facts.payloads) {
            problems.push(Problem::ClipPayload);
        }
    }
}
