//! Where the real model, run time and video lie. `scripts/fetch` puts them there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).expect("tests/ lies in the repository")
}

/// A file that `make setup` fetches into `.cache/`.
///
/// # Errors
/// It is not there; the message names the command that fetches it.
pub fn cached(relative: &str) -> Result<PathBuf> {
    let path = repository().join(".cache").join(relative);
    ensure!(path.exists(), "{} is missing: run `make setup`", path.display());
    Ok(path)
}

/// A program of this workspace, beside the test program that runs.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.ancestors().find(|path| path.join(name).is_file()).map(|directory| directory.join(name));
    profile.ok_or_else(|| anyhow::anyhow!("{name} is not built: run `cargo build --workspace --bins`"))
}

/// The target folder of a measuring program: on the same disk as the project, unlike `/tmp` on some machines.
///
/// # Errors
/// The program has no path.
pub fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.parent().and_then(Path::parent).map(Path::to_owned).context("target folder")
}
