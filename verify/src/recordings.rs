//! The check of folders of recordings: each camera's chain from its first line, and each file that it seals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{ChainCheck, ChainReport, FileState, Finding, Level, Place, Problem, examine_segment};
use anyhow::Context as _;

use crate::Ask;
use crate::report::{Checked, Kind, Part, PartState, Told, Verdict};
use crate::signer::{Authorities, Signer};

/// What the folders have of one camera.
#[derive(Debug, Default)]
struct Camera {
    folders: Vec<PathBuf>,
    chain: Vec<PathBuf>,
    segments: BTreeSet<(UtcMillis, PathBuf)>,
}

pub(crate) fn check(folders: &[PathBuf], ask: &Ask, authorities: Option<&Authorities>) -> anyhow::Result<Vec<Checked>> {
    let mut cameras: BTreeMap<CameraId, Camera> = BTreeMap::new();
    for folder in folders {
        let inside = entries(folder).with_context(|| format!("{} can't be read", folder.display()))?;
        let is_camera = inside.iter().any(|path| path.file_name().is_some_and(|name| name == "chain"));
        for path in if is_camera { vec![folder.clone()] } else { inside } {
            let named = path.canonicalize().unwrap_or_else(|_| path.clone());
            let Some(camera) = named.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
            if path.is_dir() {
                cameras.entry(camera).or_default().add(path);
            }
        }
    }
    cameras.retain(|_, camera| !camera.chain.is_empty() || !camera.segments.is_empty());
    Ok(cameras.iter().map(|(id, camera)| camera.check(id, ask, authorities)).collect())
}

impl Camera {
    fn add(&mut self, folder: PathBuf) {
        for path in entries(&folder).unwrap_or_default() {
            let inside = entries(&path).unwrap_or_default();
            if path.file_name().is_some_and(|name| name == "chain") {
                self.chain.extend(inside.into_iter().filter(|path| has_extension(path, "chain")));
            } else {
                let segment = |path: PathBuf| {
                    let start = path.file_stem()?.to_str()?.parse().ok()?;
                    Some((UtcMillis::from_millis(start), path))
                };
                self.segments.extend(inside.into_iter().filter(|path| has_extension(path, "mp4")).filter_map(segment));
            }
        }
        self.chain.sort();
        self.folders.push(folder);
    }

    fn check(&self, id: &CameraId, ask: &Ask, authorities: Option<&Authorities>) -> Checked {
        let heads = ask.heads.iter().filter(|known| known.camera == *id).map(|known| known.head).collect();
        let mut check = ChainCheck::new(id.clone(), heads);
        let mut unreadable: Vec<_> = self.chain.iter().filter_map(|path| read_chain(path, &mut check).err()).collect();
        let mut states = BTreeMap::new();
        for (start, path) in &self.segments {
            let place = place_of(path, None);
            let worst = if ask.quick {
                path.metadata().ok().and_then(|about| check.size(&place, *start, about.len()))
            } else {
                check.file(&place, *start, &read_segment(path))
            };
            let state = match worst {
                Some(Level::Broken) => PartState::Altered,
                _ => PartState::Ok,
            };
            // A segment may lie on both disks while it is moved.
            let before = states.entry(*start).or_insert(state);
            if state == PartState::Altered {
                *before = state;
            }
        }
        let mut report = check.finish();
        report.findings.append(&mut unreadable);
        self.tell(report, states, ask.quick, authorities)
    }

    fn tell(
        &self,
        mut report: ChainReport,
        mut states: BTreeMap<UtcMillis, PartState>,
        quick: bool,
        authorities: Option<&Authorities>,
    ) -> Checked {
        let mut signers = Vec::new();
        for used in &report.keys {
            let (signer, problems) = Signer::examine(&used.introduced, used.edge.as_ref(), used.used, authorities);
            let place = Some(used.place.clone());
            report.findings.extend(problems.into_iter().map(|problem| Finding { place: place.clone(), problem }));
            signers.push(signer);
        }
        for start in report.segments.keys() {
            states.entry(*start).or_insert(PartState::Altered);
        }
        let part = |(start, state): (UtcMillis, PartState)| {
            let record = report.segments.get(&start).copied();
            let state = if record.is_none() && state == PartState::Ok { PartState::NotSealed } else { state };
            Part { start, record, fragments: String::new(), state, altered: altered(&report.findings, start) }
        };
        let parts = states.into_iter().map(part).collect();
        let told: Vec<_> =
            report.findings.iter().map(|found| Told::of(found, authorities.is_some(), &signers)).collect();
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        Checked {
            name: format!("camera {} in {}", report.camera, folders.join(" and ")),
            verdict: Verdict::of(&told),
            kind: Kind::Recording {
                camera: report.camera.to_string(),
                records: report.records,
                deleted: report.deleted,
                head: report.head,
                media_read: !quick,
            },
            parts,
            gaps: report.gaps.iter().map(|gap| format!("from {}", gap.start)).collect(),
            signers,
            findings: told,
        }
    }
}

fn altered(findings: &[Finding], of: UtcMillis) -> Vec<usize> {
    let fragment = |finding: &Finding| match finding.problem {
        Problem::Fragment { start, fragment, .. } if start == of => Some(fragment),
        _ => None,
    };
    findings.iter().filter_map(fragment).collect()
}

/// Feeds a file of the chain to the check.
fn read_chain(path: &Path, check: &mut ChainCheck) -> Result<(), Finding> {
    let text = std::fs::read(path).map_err(|error| {
        let problem = Problem::Read(format!("can't be read: {error}"));
        Finding { place: Some(place_of(path, None)), problem }
    })?;
    for (piece, number) in text.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let place = place_of(path, Some(number));
        match piece.strip_suffix(b"\n") {
            Some(line) => check.line(&place, line),
            None => check.unfinished(&place),
        }
    }
    Ok(())
}

fn read_segment(path: &Path) -> FileState {
    let read = File::open(path).and_then(|file| examine_segment(BufReader::new(file)));
    read.unwrap_or_else(|error| FileState::Unreadable(error.to_string()))
}

fn place_of(path: &Path, line: Option<u64>) -> Place {
    Place { file: path.display().to_string(), line }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension == wanted)
}

fn entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}
