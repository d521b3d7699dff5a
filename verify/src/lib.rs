//! Checks exported clips and folders of recordings: what `aivms-verify` and `aivms-appliance verify` do.
//!
//! Needs neither the appliance nor a network, so that whoever is handed a clip can check it alone. Exit codes: 0
//! nothing was changed, 1 something was, 2 it can't be checked.

mod clip;
mod recordings;
mod report;
mod signer;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use aivms_contract::id::CameraId;
use aivms_footage::chain::Chained;
use anyhow::{Context as _, bail};

pub use report::{Checked, Kind, Part, PartState, Report, Told, Verdict};
pub use signer::{Authorities, Signer};

/// Exit code when nothing could be checked.
const CANT_CHECK: u8 = 2;

/// What to check.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Ask {
    /// Clips, folders of recordings, or folders of one camera; several folders of one camera count as one
    #[arg(required = true, value_name = "CLIP|FOLDER")]
    pub paths: Vec<PathBuf>,
    /// Certificates of the authority that certified the edge, in PEM; without it who signed is not checked
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A record known to have been written, such as the cloud has from health reports: it must be in the chain
    #[arg(long = "head", value_name = "CAMERA:NUMBER:SHA256")]
    pub heads: Vec<KnownHead>,
    /// Compare chains, names and sizes only, and don't read the pictures of recordings
    #[arg(long)]
    pub quick: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A record known to have been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHead {
    /// The camera.
    pub camera: CameraId,
    /// The record.
    pub head: Chained,
}

impl FromStr for KnownHead {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(':').collect();
        let [camera, seq, hash] = parts[..] else { return Err("must be CAMERA:NUMBER:SHA256".to_owned()) };
        let camera = camera.parse().map_err(|error| format!("camera: {error}"))?;
        let seq = seq.parse().map_err(|error| format!("number: {error}"))?;
        let hash = hash.parse().map_err(|error| format!("hash: {error}"))?;
        Ok(Self { camera, head: Chained { seq, hash } })
    }
}

/// Checks, prints, and says how it went.
#[must_use]
pub fn main(ask: &Ask) -> ExitCode {
    let report = match check(ask) {
        Ok(report) => report,
        Err(error) => {
            // Nobody is left to tell when even this can't be written.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            return ExitCode::from(CANT_CHECK);
        }
    };
    let text = if ask.json { report.to_json() } else { report.to_string() };
    if io::stdout().lock().write_all(text.as_bytes()).is_err() {
        return ExitCode::from(CANT_CHECK);
    }
    if report.verdict == Verdict::Altered { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Checks everything that is asked for.
///
/// # Errors
/// A path or the authority's certificate can't be read, or holds something else.
pub fn check(ask: &Ask) -> anyhow::Result<Report> {
    let authorities = match &ask.ca {
        Some(path) => {
            let pem = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
            Some(Authorities::from_pem(&pem).with_context(|| path.display().to_string())?)
        }
        None => None,
    };
    let mut checked = Vec::new();
    let mut folders = Vec::new();
    for path in &ask.paths {
        let about = path.metadata().with_context(|| format!("{} can't be read", path.display()))?;
        if about.is_dir() {
            folders.push(path.clone());
        } else {
            checked.push(clip::check(path, authorities.as_ref())?);
        }
    }
    checked.extend(recordings::check(&folders, ask, authorities.as_ref())?);
    if checked.is_empty() {
        bail!("there is nothing to check: no camera has a chain or a recording here");
    }
    Ok(Report::of(checked))
}
