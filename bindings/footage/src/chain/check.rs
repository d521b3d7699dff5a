//! Walks a chain from its first line and compares it with the segments there are.

use std::collections::BTreeMap;

use aivms_contract::footage::Gap;
use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::findings::{Finding, Level, Problem};
use super::line::Line;
use super::record::{BeginReason, Chained, Entry, KeyChange, Record, SealTime};
use super::seal::{Leaf, SegmentSeal, root_of};
use super::sign::{KeyId, PublicKey};

/// Time between two segments that needs no explanation, in milliseconds: a camera's pause between two pictures.
const SEAM_MS: u64 = 2000;

/// A line of a chain, or a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line from 1; absent where the whole file is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// One segment's file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It reads as a segment.
    Read {
        /// Bytes of the file.
        bytes: u64,
        /// Each fragment, hashed anew.
        leaves: Vec<Leaf>,
        /// The fragments by the file's own table, which `outside` covers; empty when it has none.
        claimed: Vec<Leaf>,
        /// SHA-256 of its decoder parameters.
        tracks: Digest,
        /// SHA-256 of the rest.
        outside: Digest,
    },
    /// It can't be read.
    Unreadable(String),
}

/// A key that signed records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Which.
    pub key: KeyId,
    /// The key and who vouches for it.
    pub introduced: KeyChange,
    /// The edge that the records name.
    pub edge: Option<EdgeId>,
    /// Time of the first and of the last record that it signed.
    pub used: (UtcMillis, UtcMillis),
    /// Records that it signed.
    pub records: u64,
    /// Where it was introduced.
    pub place: Place,
}

/// What a check has found in one chain.
#[derive(Debug, Clone)]
pub struct ChainReport {
    /// The camera.
    pub camera: CameraId,
    /// Lines read.
    pub records: u64,
    /// Segments on record that were not deleted, with the number of their record.
    pub segments: BTreeMap<UtcMillis, u64>,
    /// Segments on record that were deleted.
    pub deleted: u64,
    /// Spans without video on record.
    pub gaps: Vec<Gap>,
    /// The keys that signed, in order.
    pub keys: Vec<KeyUse>,
    /// The last record.
    pub head: Option<Chained>,
    /// What is worth telling, in the order of the chain, then of the files.
    pub findings: Vec<Finding>,
}

/// The check of one camera's chain: first every line, then every file, then [`ChainCheck::finish`].
#[derive(Debug)]
pub struct ChainCheck {
    camera: CameraId,
    anchors: Vec<Chained>,
    after: After,
    at: Option<UtcMillis>,
    key: Option<PublicKey>,
    unsigned_from: Option<(u64, Place)>,
    sealed: BTreeMap<UtcMillis, Sealed>,
    report: ChainReport,
}

/// What the next line must follow.
#[derive(Debug, Clone, Copy)]
enum After {
    Nothing,
    Line(Chained),
    /// A line that could not be read; told already.
    Damage,
}

#[derive(Debug)]
struct Sealed {
    seal: SegmentSeal,
    seq: u64,
    place: Place,
    deleted: bool,
    seen: bool,
}

impl ChainCheck {
    /// Begins with a camera's chain. `anchors` are records known to have been written, from health reports for instance.
    #[must_use]
    pub fn new(camera: CameraId, anchors: Vec<Chained>) -> Self {
        let report = ChainReport {
            camera: camera.clone(),
            records: 0,
            segments: BTreeMap::new(),
            deleted: 0,
            gaps: Vec::new(),
            keys: Vec::new(),
            head: None,
            findings: Vec::new(),
        };
        let (after, sealed) = (After::Nothing, BTreeMap::new());
        Self { camera, anchors, after, at: None, key: None, unsigned_from: None, sealed, report }
    }

    /// Takes the next line, without its end.
    pub fn line(&mut self, place: &Place, bytes: &[u8]) {
        self.report.records += 1;
        let line = match Line::parse(bytes) {
            Ok(line) => line,
            Err(error) => {
                self.find(place, Problem::Line(error));
                self.after = After::Damage;
                return;
            }
        };
        self.check_place(place, &line);
        let is_genuine = self.check_signature(place, &line);
        self.after = After::Line(line.place());
        self.report.head = Some(line.place());
        if is_genuine {
            self.check_times(place, line.record());
            self.apply(place, line.record());
        }
    }

    /// Tells that the last line has no end, and is not to be read.
    pub fn unfinished(&mut self, place: &Place) {
        self.find(place, Problem::Unfinished);
    }

    /// Compares the file of the segment that begins at `start` with its record, and says how bad the worst is that was
    /// found. Called after all lines.
    pub fn file(&mut self, place: &Place, start: UtcMillis, state: &FileState) -> Option<Level> {
        self.compare(place, start, |seal, problems| compare(seal, state, problems))
    }

    /// As [`ChainCheck::file`], of a file whose pictures are not to be read.
    pub fn size(&mut self, place: &Place, start: UtcMillis, found: u64) -> Option<Level> {
        self.compare(place, start, |seal, problems| {
            if seal.bytes != found {
                problems.push(Problem::Length { start, sealed: seal.bytes, found });
            }
        })
    }

    fn compare(
        &mut self,
        place: &Place,
        start: UtcMillis,
        compare: impl FnOnce(&SegmentSeal, &mut Vec<Problem>),
    ) -> Option<Level> {
        let newest = self.sealed.keys().next_back().copied();
        let mut problems = Vec::new();
        match self.sealed.get_mut(&start) {
            None if newest.is_none_or(|newest| start > newest) => problems.push(Problem::NotSealedYet(start)),
            None => problems.push(Problem::Unrecorded(start)),
            Some(sealed) => {
                sealed.seen = true;
                if sealed.deleted {
                    problems.push(Problem::StillThere(start));
                }
                compare(&sealed.seal, &mut problems);
            }
        }
        let worst = problems.iter().map(Problem::level).max();
        problems.into_iter().for_each(|problem| self.find(place, problem));
        worst
    }

    /// What was found in all.
    #[must_use]
    pub fn finish(mut self) -> ChainReport {
        self.check_end();
        self.check_segments();
        self.report
    }

    fn find(&mut self, place: &Place, problem: Problem) {
        self.report.findings.push(Finding { place: Some(place.clone()), problem });
    }

    fn check_place(&mut self, place: &Place, line: &Line) {
        let record = line.record();
        if record.camera != self.camera {
            self.find(place, Problem::Camera(record.camera.clone()));
        }
        let begins = match record.what {
            Entry::Begin { why } if record.seq == 0 && record.prev == Digest::NONE => Some(why),
            _ => None,
        };
        if begins.is_none() && (record.seq == 0 || matches!(record.what, Entry::Begin { .. })) {
            self.find(place, Problem::Begin);
        }
        match (self.after, begins) {
            (After::Nothing, Some(BeginReason::First)) => {}
            (After::Nothing, Some(why)) => self.find(place, Problem::LateBeginning(why)),
            (_, Some(why)) => self.find(place, Problem::BegunAnew(why)),
            (After::Nothing, None) => self.find(place, Problem::NoBeginning { seq: record.seq }),
            (After::Line(last), None) => self.check_link(place, record, last),
            (After::Damage, None) => {}
        }
        let place_in_chain = line.place();
        let other = |anchor: &&Chained| anchor.seq == place_in_chain.seq && anchor.hash != place_in_chain.hash;
        if self.anchors.iter().any(|anchor| other(&anchor)) {
            self.find(place, Problem::OtherChain(record.seq));
        }
    }

    fn check_link(&mut self, place: &Place, record: &Record, last: Chained) {
        let expected = last.seq.saturating_add(1);
        if record.seq > expected {
            self.find(place, Problem::Cut { from: expected, to: record.seq - 1 });
        } else if record.seq < expected {
            self.find(place, Problem::Order { expected, found: record.seq });
        } else if record.prev != last.hash {
            self.find(place, Problem::Link);
        }
    }

    /// Whether the record may be believed: it is signed by the key in use, or from a time without one.
    fn check_signature(&mut self, place: &Place, line: &Line) -> bool {
        let record = line.record();
        let Some(id) = record.key else {
            self.unsigned_from.get_or_insert_with(|| (record.seq, place.clone()));
            return true;
        };
        if let Entry::Key(change) = &record.what
            && change.public_key.id() == id
        {
            if !line.is_signed_by(&change.public_key) {
                self.find(place, Problem::Signature);
                return false;
            }
            if self.key.as_ref().is_some_and(|key| key.id() != id) {
                self.find(place, Problem::KeyNotHandedOver(id));
            }
        } else {
            let Some(key) = self.key.as_ref().filter(|key| key.id() == id) else {
                self.find(place, Problem::ForeignKey(id));
                return false;
            };
            if !line.is_signed_by(key) {
                self.find(place, Problem::Signature);
                return false;
            }
        }
        self.unsigned_from = None;
        if let Some(used) = self.report.keys.iter_mut().rev().find(|used| used.key == id) {
            (used.used.1, used.records) = (record.at.max(used.used.1), used.records + 1);
        }
        true
    }

    fn check_times(&mut self, place: &Place, record: &Record) {
        let last = self.at.replace(record.at);
        if let Some(last) = last.filter(|last| record.at < *last) {
            self.find(place, Problem::ClockBack { seconds: last.since(record.at).as_secs() });
        }
    }

    fn apply(&mut self, place: &Place, record: &Record) {
        match &record.what {
            Entry::Key(change) => self.introduce(place, record, change),
            Entry::Segment(seal) => {
                if self.sealed.get(&seal.start).is_some_and(|sealed| !sealed.deleted) {
                    self.find(place, Problem::SealedTwice(seal.start));
                }
                if seal.sealed == SealTime::Later {
                    self.find(place, Problem::SealedLater(seal.start));
                }
                self.seal(place, record.seq, seal);
            }
            Entry::Deleted(deletion) => {
                for start in deletion.starts.iter().map(|millis| UtcMillis::from_millis(*millis)) {
                    match self.sealed.get_mut(&start) {
                        Some(sealed) => sealed.deleted = true,
                        None => self.find(place, Problem::DeletedUnknown(start)),
                    }
                }
            }
            Entry::Gap(gap) => self.report.gaps.push(gap.clone()),
            Entry::Begin { .. } | Entry::Locked(_) | Entry::Unlocked { .. } => {}
        }
    }

    fn introduce(&mut self, place: &Place, record: &Record, change: &KeyChange) {
        // An unsigned line could name any key.
        let Some(signed_by) = record.key else { return self.find(place, Problem::Signature) };
        let key = change.public_key.id();
        let records = u64::from(signed_by == key);
        self.key = Some(change.public_key.clone());
        self.report.keys.push(KeyUse {
            key,
            introduced: change.clone(),
            edge: record.edge.clone(),
            used: (record.at, record.at),
            records,
            place: place.clone(),
        });
    }

    fn seal(&mut self, place: &Place, seq: u64, seal: &SegmentSeal) {
        if seal.end < seal.start {
            self.find(place, Problem::Times);
        }
        let sealed = Sealed { seal: seal.clone(), seq, place: place.clone(), deleted: false, seen: false };
        if self.sealed.insert(seal.start, sealed).is_some_and(|before| before.deleted) {
            self.report.deleted += 1;
        }
    }

    fn check_end(&mut self) {
        if let Some((seq, place)) = self.unsigned_from.take() {
            let problem =
                if self.report.keys.is_empty() { Problem::NeverSigned } else { Problem::UnsignedTail { seq } };
            self.find(&place, problem);
        }
        let have = self.report.head.map_or(-1, |head| i64::try_from(head.seq).unwrap_or(i64::MAX));
        for anchor in std::mem::take(&mut self.anchors) {
            if i64::try_from(anchor.seq).unwrap_or(i64::MAX) > have {
                let problem = Problem::CutOff { have, want: anchor.seq };
                self.report.findings.push(Finding { place: None, problem });
            }
        }
    }

    fn check_segments(&mut self) {
        let mut last_end: Option<UtcMillis> = None;
        let mut found = Vec::new();
        for (start, sealed) in &self.sealed {
            // A deleted one explains its span as well as one that is there.
            if let Some(end) = last_end.filter(|end| start.since(*end).as_millis() > u128::from(SEAM_MS))
                && !self.report.gaps.iter().any(|gap| covers(gap, end, *start))
            {
                found.push((None, Problem::Unexplained { from: end, to: *start }));
            }
            last_end = Some(last_end.map_or(sealed.seal.end, |end| end.max(sealed.seal.end)));
            if sealed.deleted {
                self.report.deleted += 1;
                continue;
            }
            self.report.segments.insert(*start, sealed.seq);
            if !sealed.seen {
                found.push((Some(sealed.place.clone()), Problem::Missing(*start)));
            }
        }
        self.report.findings.extend(found.into_iter().map(|(place, problem)| Finding { place, problem }));
    }
}

/// Whether a gap on record touches the span; what a camera does at its edges is not measured to the millisecond.
fn covers(gap: &Gap, from: UtcMillis, to: UtcMillis) -> bool {
    gap.start < to && gap.end.is_none_or(|end| end > from)
}

fn compare(seal: &SegmentSeal, state: &FileState, problems: &mut Vec<Problem>) {
    let start = seal.start;
    let (bytes, leaves, claimed, tracks, outside) = match state {
        FileState::Unreadable(problem) => {
            return problems.push(Problem::Unreadable { start, problem: problem.clone() });
        }
        FileState::Read { bytes, leaves, claimed, tracks, outside } => (bytes, leaves, claimed, tracks, outside),
    };
    if *bytes != seal.bytes {
        problems.push(Problem::Length { start, sealed: seal.bytes, found: *bytes });
    }
    if *outside != seal.outside {
        problems.push(Problem::Outside(start));
    }
    if *tracks != seal.tracks {
        problems.push(Problem::Tracks(start));
    }
    if root_of(leaves) == seal.root && leaves.len() == usize::try_from(seal.fragments).unwrap_or(usize::MAX) {
        return;
    }
    let before = problems.len();
    // The file's own table says which fragment it was, provided that nobody touched the table.
    if *outside == seal.outside {
        let altered = claimed.iter().zip(0..).filter(|(claimed, fragment)| leaves.get(*fragment) != Some(claimed));
        // Behind the first that can't be read nothing is known.
        let altered = altered.take_while(|(_, fragment)| *fragment <= leaves.len());
        problems.extend(altered.map(|(leaf, fragment)| Problem::Fragment { start, fragment, wall: leaf.wall }));
    }
    if problems.len() == before {
        problems.push(Problem::Root(start));
    }
}
