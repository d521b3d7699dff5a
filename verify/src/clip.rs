//! The check of an exported clip.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{
    Entry, Excerpt, Finding, Found, Line, Manifest, ManifestError, PartSource, Place, Problem, Treatment, examine_clip,
};
use anyhow::Context as _;

use crate::report::{Checked, Kind, Part, PartState, Told, Verdict};
use crate::signer::{Authorities, Signer};

pub(crate) fn check(path: &Path, authorities: Option<&Authorities>) -> anyhow::Result<Checked> {
    let name = path.display().to_string();
    let cant_read = || format!("{name} can't be read");
    let mut file = BufReader::new(File::open(path).with_context(cant_read)?);
    let place = Place { file: name.clone(), line: None };
    let found = match Found::read(&mut file) {
        Ok(found) => found,
        Err(ManifestError::Read(error)) => return Err(error).with_context(cant_read),
        Err(error) => return Ok(without_manifest(name, place, &error)),
    };
    let facts = examine_clip(&mut file, &found).with_context(cant_read)?;
    let mut findings = found.check(&place, &facts);
    let manifest = found.manifest;
    let signers = signers(&manifest, &place, authorities, &mut findings);
    let told: Vec<_> = findings.iter().map(|found| Told::of(found, authorities.is_some(), &signers)).collect();
    Ok(Checked {
        name,
        verdict: Verdict::of(&told),
        parts: parts(&manifest, &findings),
        gaps: manifest.gaps.iter().filter_map(|gap| gap_in_words(gap)).collect(),
        kind: Kind::Clip {
            camera: Some(manifest.camera.to_string()),
            edge: manifest.edge.as_ref().map(ToString::to_string),
            start: Some(manifest.start),
            end: Some(manifest.end),
            event: manifest.event.map(|event| event.to_string()),
            masked: manifest.treatment == Treatment::Masked,
        },
        signers,
        findings: told,
    })
}

fn without_manifest(name: String, place: Place, error: &ManifestError) -> Checked {
    let finding = Finding { place: Some(place), problem: Problem::Manifest(error.to_string()) };
    let kind = Kind::Clip { camera: None, edge: None, start: None, end: None, event: None, masked: false };
    let findings = vec![Told::of(&finding, false, &[])];
    let (parts, gaps, signers) = (Vec::new(), Vec::new(), Vec::new());
    Checked { name, verdict: Verdict::Altered, kind, parts, gaps, signers, findings }
}

/// Looks at each key that the clip or one of its records is signed with.
fn signers(
    manifest: &Manifest,
    place: &Place,
    authorities: Option<&Authorities>,
    findings: &mut Vec<Finding>,
) -> Vec<Signer> {
    let mut signers = Vec::new();
    for change in &manifest.keys {
        let key = Some(change.public_key.id());
        let own = (manifest.key == key).then_some(manifest.made_at);
        let records = manifest.parts.iter().filter_map(record).filter(|line| line.record().key == key);
        let times: Vec<UtcMillis> = records.map(|line| line.record().at).chain(own).collect();
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { continue };
        let (signer, problems) = Signer::examine(change, manifest.edge.as_ref(), (*first, *last), authorities);
        findings.extend(problems.into_iter().map(|problem| Finding { place: Some(place.clone()), problem }));
        signers.push(signer);
    }
    signers
}

fn record(part: &Excerpt) -> Option<Line> {
    match &part.source {
        PartSource::Sealed(text) => Line::parse(text.as_bytes()).ok(),
        PartSource::Open | PartSource::Unsealed => None,
    }
}

fn parts(manifest: &Manifest, findings: &[Finding]) -> Vec<Part> {
    let changed: Vec<_> = findings
        .iter()
        .filter_map(|finding| match &finding.problem {
            Problem::ClipFragment { fragment, .. } => Some(*fragment),
            _ => None,
        })
        .collect();
    let unfit = |start: UtcMillis| {
        findings.iter().any(|finding| matches!(finding.problem, Problem::Excerpt { start: at, .. } if at == start))
    };
    // Without its tables nothing can be said of any fragment.
    let unreadable = findings.iter().any(|finding| {
        matches!(
            finding.problem,
            Problem::ClipUnreadable(_) | Problem::ClipFragments { .. } | Problem::ClipPayload | Problem::ClipTracks
        )
    });
    let mut begin = 0;
    let part = |part: &Excerpt| {
        let count = usize::try_from(part.count).unwrap_or(usize::MAX);
        let within = begin..begin + count;
        let from = usize::try_from(part.from).unwrap_or(usize::MAX);
        let altered: Vec<_> =
            changed.iter().filter(|at| within.contains(at)).map(|at| at - within.start + from).collect();
        begin = within.end;
        let line = record(part);
        let state = match line {
            _ if unreadable || unfit(part.start) || !altered.is_empty() => PartState::Altered,
            Some(_) => PartState::Ok,
            None => PartState::NotSealed,
        };
        let fragments = format!("fragments {from} to {}", from + count.saturating_sub(1));
        Part { start: part.start, record: line.map(|line| line.record().seq), fragments, state, altered }
    };
    manifest.parts.iter().map(part).collect()
}

fn gap_in_words(text: &str) -> Option<String> {
    let line = Line::parse(text.as_bytes()).ok()?;
    let Entry::Gap(gap) = &line.record().what else { return None };
    let end = gap.end.map_or_else(|| "now".to_owned(), |end| end.to_string());
    // The cause as it stands in the record.
    let cause = serde_json::to_value(gap.cause).ok()?;
    Some(format!("{} to {end}: {}", gap.start, cause.as_str().unwrap_or("unknown")))
}
