//! What a check found, as text and as JSON.

use std::fmt;

use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{Chained, Finding, Level, Place, Problem};
use serde::Serialize;

use crate::signer::Signer;

/// All that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The worst of all.
    pub verdict: Verdict,
    /// Each clip and each camera's recording.
    pub checked: Vec<Checked>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was changed, and it is known who says so.
    Sound,
    /// Nothing shows a change, but something that would exclude one is missing.
    Doubtful,
    /// Something was changed, removed, added or put elsewhere.
    Altered,
}

/// One clip, or one camera's recording.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The file or folder.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// Its segments.
    pub parts: Vec<Part>,
    /// Spans without video that are on record.
    pub gaps: Vec<String>,
    /// Who signed.
    pub signers: Vec<Signer>,
    /// What was found.
    pub findings: Vec<Told>,
}

/// What was checked.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A clip.
    Clip {
        /// The camera; absent when the clip has no manifest that can be read.
        camera: Option<String>,
        /// The edge.
        edge: Option<String>,
        /// Wall time of the first picture shown.
        start: Option<UtcMillis>,
        /// Wall time of the end.
        end: Option<UtcMillis>,
        /// The event it was cut for.
        event: Option<String>,
        /// Whether it was re-encoded with the camera's privacy mask.
        masked: bool,
    },
    /// A camera's recording.
    Recording {
        /// The camera.
        camera: String,
        /// Records in its chain.
        records: u64,
        /// Segments deleted, on record.
        deleted: u64,
        /// The last record.
        head: Option<Chained>,
        /// Whether pictures were read, and not only names and sizes compared.
        media_read: bool,
    },
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its beginning.
    pub start: UtcMillis,
    /// The number of its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// The fragments looked at, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fragments: String,
    /// How it is.
    pub state: PartState,
    /// Fragments that were changed, from 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub altered: Vec<usize>,
}

/// How a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// As it was sealed.
    Ok,
    /// No record vouches for it.
    NotSealed,
    /// Changed, missing or put there.
    Altered,
}

/// A finding in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// How much it weighs.
    pub level: Level,
    /// The file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What it is.
    pub text: String,
}

impl Told {
    /// Puts a finding into words. With an authority to ask, what it vouches for is no doubt any more, and what nobody
    /// vouches for is as bad as a change.
    pub(crate) fn of(finding: &Finding, has_authority: bool, signers: &[Signer]) -> Self {
        let vouched = |key| signers.iter().any(|signer| signer.key == key && signer.vouched_for == Some(true));
        let level = match &finding.problem {
            Problem::KeyNotHandedOver(key) if vouched(*key) => Level::Note,
            Problem::NeverSigned | Problem::ClipUnsigned if has_authority => Level::Broken,
            other => other.level(),
        };
        Self { level, place: finding.place.clone(), text: finding.problem.to_string() }
    }
}

impl Verdict {
    /// The verdict that findings lead to.
    pub(crate) fn of(findings: &[Told]) -> Self {
        match findings.iter().map(|told| told.level).max() {
            Some(Level::Broken) => Self::Altered,
            Some(Level::Doubt) => Self::Doubtful,
            Some(Level::Note) | None => Self::Sound,
        }
    }
}

impl Report {
    pub(crate) fn of(checked: Vec<Checked>) -> Self {
        let verdict = checked.iter().map(|checked| checked.verdict).max().unwrap_or(Verdict::Sound);
        Self { verdict, checked }
    }

    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Only maps with other keys than texts could fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checked.iter().try_for_each(|checked| checked.fmt(f))?;
        if self.checked.len() > 1 {
            writeln!(f, "all: {}", self.verdict)?;
        }
        Ok(())
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        self.kind.fmt(f)?;
        // A recording has thousands; those that are as they should be are only counted.
        let all = matches!(self.kind, Kind::Clip { .. });
        self.parts.iter().filter(|part| all || part.state != PartState::Ok).try_for_each(|part| part.fmt(f))?;
        if !all {
            let ok = self.parts.iter().filter(|part| part.state == PartState::Ok).count();
            writeln!(f, "  {ok} of {} segments OK", self.parts.len())?;
        }
        self.gaps.iter().filter(|_| all).try_for_each(|gap| writeln!(f, "  gap {gap}"))?;
        self.signers.iter().try_for_each(|signer| signer.fmt(f))?;
        for told in &self.findings {
            let weight = match told.level {
                Level::Broken => "ALTERED",
                Level::Doubt => "DOUBT  ",
                Level::Note => "note   ",
            };
            match &told.place {
                Some(Place { file, line: Some(line) }) => writeln!(f, "  {weight} {file}, line {line}: {}", told.text)?,
                Some(Place { file, line: None }) => writeln!(f, "  {weight} {file}: {}", told.text)?,
                None => writeln!(f, "  {weight} {}", told.text)?,
            }
        }
        writeln!(f, "  {}", self.verdict)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clip { camera: Some(camera), edge, start: Some(start), end: Some(end), event, masked } => {
                let edge = edge.as_deref().unwrap_or("unknown");
                writeln!(f, "  camera {camera} of edge {edge}, {start} to {end}")?;
                if let Some(event) = event {
                    writeln!(f, "  cut for event {event}")?;
                }
                let treatment =
                    if *masked { "re-encoded with the camera's privacy mask from" } else { "copied, unchanged, from" };
                writeln!(f, "  {treatment}")
            }
            Self::Clip { .. } => Ok(()),
            Self::Recording { records, deleted, head, media_read, .. } => {
                writeln!(f, "  {records} records, {deleted} segments deleted on record")?;
                if let Some(Chained { seq, hash }) = head {
                    writeln!(f, "  ends with record {seq}, {hash}")?;
                }
                if *media_read { Ok(()) } else { writeln!(f, "  pictures were not read") }
            }
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  segment {}", self.start)?;
        if let Some(record) = self.record {
            write!(f, ", record {record}")?;
        }
        if !self.fragments.is_empty() {
            write!(f, ", {}", self.fragments)?;
        }
        let state = match self.state {
            PartState::Ok => "OK",
            PartState::NotSealed => "not sealed",
            PartState::Altered => "ALTERED",
        };
        writeln!(f, ": {state}")
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  signed with key {}", self.key)?;
        if let (Some(edge), Some(tenant), Some(certificate), Some((from, until))) =
            (&self.edge, &self.tenant, self.certificate, self.valid)
        {
            writeln!(f, "    says to be edge {edge} of tenant {tenant}, certificate {certificate}, {from} to {until}")?;
        }
        match self.vouched_for {
            Some(true) => writeln!(f, "    the given authority vouches for it"),
            Some(false) => writeln!(f, "    the given authority does NOT vouch for it"),
            None => writeln!(f, "    not checked: no authority was given"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sound => "OK: nothing was changed",
            Self::Doubtful => "OK as far as can be told: nothing shows a change, but see DOUBT",
            Self::Altered => "ALTERED: see what was found",
        })
    }
}
