//! Manifests: what a clip takes with it of the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use aivms_contract::id::{CameraId, EventId};
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{
    Entry, Excerpt, KeyChange, KeyId, Leaf, Line, Manifest, PartSource, Signer, Treatment, digest_outside,
    digest_payloads, encode_leaves,
};
use aivms_footage::{FragmentInfo, scan, scan_media};

use super::file::{files, folder};
use super::writer::key_change;
use super::{Chain, ChainError};
use crate::clock;

/// Where a clip comes from.
#[derive(Debug, Clone)]
pub struct ClipOrigin {
    /// The camera.
    pub camera: CameraId,
    /// Wall time of the first picture shown.
    pub start: UtcMillis,
    /// Wall time of the end.
    pub end: UtcMillis,
    /// The event it was cut for.
    pub event: Option<EventId>,
    /// What was done to the pictures.
    pub treatment: Treatment,
    /// The segments, in order.
    pub parts: Vec<ClipPart>,
}

/// What a clip has of one segment: a run of fragments.
#[derive(Debug, Clone)]
pub struct ClipPart {
    /// Beginning of the segment.
    pub start: UtcMillis,
    /// Its file, from which hashes are read that `fragments` does not have.
    pub path: PathBuf,
    /// Whether it was closed.
    pub closed: bool,
    /// All its fragments.
    pub fragments: Vec<FragmentInfo>,
    /// The first fragment in the clip, from 0.
    pub from: usize,
    /// How many fragments are in the clip.
    pub count: usize,
    /// Of each of them the pictures and AAC frames, as `ClipPlan::fragments` says; empty when re-encoded.
    pub samples: Vec<(u32, u32)>,
}

impl Chain {
    /// Appends the manifest to a finished clip, which must not be changed after. Blocks; syncing is for the caller.
    ///
    /// # Errors
    /// A file can't be read or written, or there is no signature. The clip is then as it was.
    pub fn seal_clip(&self, clip: &Path, origin: &ClipOrigin) -> Result<(), ChainError> {
        let disk = |source| ChainError::Disk { path: clip.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).open(clip).map_err(disk)?;
        let bytes = file.metadata().map_err(disk)?.len();
        let outside = digest_outside(&mut file, bytes).map_err(disk)?;
        let payloads = match origin.treatment {
            Treatment::Copied => None,
            Treatment::Masked => Some(digest_payloads(&mut file, bytes).map_err(disk)?),
        };
        let identity = self.shared.identity.borrow().clone();
        let mut keys = BTreeMap::new();
        if let Some(identity) = &identity {
            keys.insert(identity.public_key().id(), key_change(identity)?);
        }
        let found = self.find(origin, &mut keys)?;
        let manifest = Manifest {
            camera: origin.camera.clone(),
            edge: Some(self.shared.settings.edge.clone()),
            start: origin.start,
            end: origin.end,
            event: origin.event,
            made_at: clock::now(),
            treatment: origin.treatment,
            bytes,
            outside,
            payloads,
            parts: origin.parts.iter().map(|part| part.excerpt(&found)).collect::<Result<_, _>>()?,
            gaps: found.gaps,
            keys: keys.into_values().collect(),
            head: self.head(&origin.camera),
            key: None,
        };
        let signed = manifest.seal(identity.as_deref().map(|identity| identity as &dyn Signer))?;
        if let Err(source) = file.write_all(&signed) {
            let _ = file.set_len(bytes);
            return Err(disk(source));
        }
        Ok(())
    }

    /// Finds the lines about a clip in its camera's chain, the newest file first, and the keys that signed them.
    fn find(&self, origin: &ClipOrigin, keys: &mut BTreeMap<KeyId, KeyChange>) -> Result<Found, ChainError> {
        let mut wanted: BTreeSet<UtcMillis> =
            origin.parts.iter().filter(|part| part.closed).map(|part| part.start).collect();
        let mut found = Found::default();
        let mut missing_keys = BTreeSet::new();
        for path in files(&folder(&self.shared.settings.recordings, &origin.camera)).iter().rev() {
            let text = std::fs::read(path).map_err(|source| ChainError::Disk { path: path.clone(), source })?;
            let mut oldest = None;
            // The last line may be being written.
            for line in text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n")) {
                let Ok(line) = Line::parse(line) else { continue };
                oldest.get_or_insert(line.record().at);
                match &line.record().what {
                    Entry::Segment(seal) if origin.has(seal.start) => {
                        wanted.remove(&seal.start);
                        missing_keys.extend(line.record().key);
                        found.segments.insert(seal.start, line.as_str().to_owned());
                    }
                    Entry::Gap(gap) if gap.start < origin.end && gap.end.is_none_or(|end| end > origin.start) => {
                        missing_keys.extend(line.record().key);
                        found.gaps.push(line.as_str().to_owned());
                    }
                    Entry::Key(change) => {
                        found.keys.insert(change.public_key.id(), change.clone());
                    }
                    _ => {}
                }
            }
            for key in &missing_keys {
                if let Some(change) = found.keys.get(key) {
                    keys.entry(*key).or_insert_with(|| change.clone());
                }
            }
            missing_keys.retain(|key| !keys.contains_key(key));
            let is_older = oldest.is_some_and(|oldest| oldest < origin.start);
            if is_older && missing_keys.is_empty() && wanted.is_empty() {
                break;
            }
        }
        Ok(found)
    }
}

/// What the chain says about a clip.
#[derive(Debug, Default)]
struct Found {
    segments: BTreeMap<UtcMillis, String>,
    gaps: Vec<String>,
    keys: BTreeMap<KeyId, KeyChange>,
}

impl ClipOrigin {
    fn has(&self, start: UtcMillis) -> bool {
        self.parts.iter().any(|part| part.start == start)
    }
}

impl ClipPart {
    fn excerpt(&self, found: &Found) -> Result<Excerpt, ChainError> {
        let source = match found.segments.get(&self.start) {
            Some(line) => PartSource::Sealed(line.clone()),
            None if self.closed => PartSource::Unsealed,
            None => PartSource::Open,
        };
        let leaves = self.leaves(matches!(source, PartSource::Sealed(_)))?;
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Excerpt {
            start: self.start,
            source,
            leaves: encode_leaves(&leaves),
            from: number(self.from),
            count: number(self.count),
            samples: self.samples.clone(),
        })
    }

    /// The leaves of the whole segment; read from the file where they are not known. One that was sealed meanwhile has
    /// more fragments than the caller knew.
    fn leaves(&self, is_sealed: bool) -> Result<Vec<Leaf>, ChainError> {
        let known: Vec<_> = self.fragments.iter().filter_map(Leaf::of).collect();
        if known.len() == self.fragments.len() && (self.closed || !is_sealed) {
            return Ok(known);
        }
        leaves_of(&self.path, self.closed || is_sealed)
    }
}

/// The leaves of a segment by its file: from its own table when it is closed, hashed anew otherwise.
pub(super) fn leaves_of(path: &Path, closed: bool) -> Result<Vec<Leaf>, ChainError> {
    let disk = |source| ChainError::Disk { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(disk)?;
    let scanned = if closed { scan(&mut file) } else { scan_media(&mut file) }.map_err(disk)?;
    let no_segment = || ChainError::Segment { path: path.to_owned(), problem: "it is not a segment".to_owned() };
    Ok(scanned.ok_or_else(no_segment)?.fragments.iter().filter_map(Leaf::of).collect())
}
