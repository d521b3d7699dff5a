//! Judges files of tracks again and prints what comes of it.

use std::io::{BufRead, Read as _, Write};
use std::path::{Path, PathBuf};

use aivms_appliance_core::analysis::Findings;
use aivms_appliance_core::replay::{Judge, Record, Replay, ReplayError};
use aivms_contract::id::CameraId;

use super::line::{LineError, parse};
use crate::config::{ConfigError, read_cameras_file};

/// Longest line that is read: many times a frame full of objects, or a header with the longest rules.
const MAX_LINE: u64 = 16 << 20;

/// By whose rules to judge.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// A file of `cameras.json`'s form; the recordings' own rules without it.
    pub cameras: Option<PathBuf>,
    /// The camera in it; the one with the recording's id without it.
    pub camera: Option<CameraId>,
}

/// Says why a file can't be judged.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The rules can't be used.
    #[error(transparent)]
    Rules(#[from] ConfigError),
    /// There is no such camera among the rules.
    #[error("{}: cameras: none has the id {camera}", path.display())]
    NoCamera {
        /// The file of rules.
        path: PathBuf,
        /// The id.
        camera: CameraId,
    },
    /// A file can't be read.
    #[error("{name}: line {line}: can't be read")]
    Read {
        /// The file, or `standard input`.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is no record.
    #[error("{name}: line {line}: {problem}")]
    Line {
        /// The file, or `standard input`.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        problem: LineError,
    },
    /// A record can't be judged.
    #[error("{name}: line {line}: {problem}")]
    Record {
        /// The file, or `standard input`.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        problem: ReplayError,
    },
    /// Nobody takes what is printed.
    #[error("standard output is closed")]
    Write(#[source] std::io::Error),
}

/// Judges the `files` one after the other (`-` is standard input) and prints the messages to `out`, one line of JSON
/// each; with `why`, also the events that something stopped. What does not keep from judging is told to `warn`.
///
/// # Errors
/// Names the file, the line and the field. What comes before is printed.
pub fn replay(
    files: &[PathBuf],
    rules: &Rules,
    why: bool,
    out: &mut impl Write,
    mut warn: impl FnMut(&str),
) -> Result<(), ReadError> {
    let mut replay = Replay::new(judge(rules)?);
    for file in files {
        let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
        let no_line = |source| ReadError::Read { name: name.clone(), line: 1, source };
        let reader: Box<dyn BufRead> = match name.as_str() {
            "standard input" => Box::new(std::io::stdin().lock()),
            _ => Box::new(std::io::BufReader::new(std::fs::File::open(file).map_err(no_line)?)),
        };
        replay_file(&mut replay, &name, reader, &mut |findings| print(&findings, why, out), &mut warn)?;
    }
    print(&replay.finish(), why, out)?;
    out.flush().map_err(ReadError::Write)
}

fn judge(rules: &Rules) -> Result<Judge, ReadError> {
    let Some(path) = &rules.cameras else { return Ok(Judge::Recorded) };
    let cameras = read_cameras_file(path)?;
    let Some(id) = &rules.camera else { return Ok(Judge::SameCamera(cameras)) };
    let camera = cameras.as_slice().iter().find(|camera| camera.id == *id);
    let no_camera = || ReadError::NoCamera { path: path.clone(), camera: id.clone() };
    camera.map(|camera| Judge::Camera(Box::new(camera.clone()))).ok_or_else(no_camera)
}

fn replay_file(
    replay: &mut Replay,
    name: &str,
    mut reader: impl BufRead,
    take: &mut impl FnMut(Findings) -> Result<(), ReadError>,
    warn: &mut impl FnMut(&str),
) -> Result<(), ReadError> {
    let mut bytes = vec![];
    for line in 1.. {
        bytes.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
        let whole = match read.map_err(|source| ReadError::Read { name: name.to_owned(), line, source })? {
            0 => break,
            _ => bytes.ends_with(b"\n"),
        };
        let record = match parse(&bytes) {
            Ok(record) => record,
            Err(LineError::Damaged(_)) if !whole && (bytes.len() as u64) < MAX_LINE => {
                warn(&format!("{name}: line {line}: is cut off, as by a power cut; the recording ends before it"));
                break;
            }
            Err(problem) => return Err(ReadError::Line { name: name.to_owned(), line, problem }),
        };
        match &record {
            Record::Lost(lost) => warn(&format!("{name}: line {line}: {lost} frames were not recorded here")),
            Record::Header(header) if line == 1 && header.part > 0 && !replay.goes_on_with(header) => warn(&format!(
                "{name}: line {line}: part {} of a session, and the part before it is not there: what was in the \
                 picture already begins anew",
                header.part
            )),
            _ => {}
        }
        let findings = replay.take(record);
        take(findings.map_err(|problem| ReadError::Record { name: name.to_owned(), line, problem })?)?;
    }
    Ok(())
}

fn print(findings: &Findings, why: bool, out: &mut impl Write) -> Result<(), ReadError> {
    let mut line = |text: serde_json::Result<String>| {
        text.map_err(std::io::Error::other).and_then(|text| writeln!(out, "{text}")).map_err(ReadError::Write)
    };
    findings.bodies.iter().try_for_each(|body| line(serde_json::to_string(body)))?;
    let decisions = findings.decisions.iter().filter(|_| why);
    decisions
        .map(|decision| serde_json::json!({ "kind": "decision", "body": decision }))
        .try_for_each(|decision| line(serde_json::to_string(&decision)))
}
