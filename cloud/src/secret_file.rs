//! Secrets the cloud draws for itself and keeps in files only it can read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Secret;

/// Reads the secret in `path`; draws 256 random bits on first use and keeps them there, mode 0600.
///
/// # Errors
/// The file can't be read or made, others can read it, or it is empty.
pub fn read_or_draw(path: &Path) -> Result<Secret> {
    read_or_make(path, random_text)
}

/// Like [`read_or_draw`], for a secret with a form of its own, of 32 characters at least.
///
/// # Errors
/// The same, and those of `make`.
pub fn read_or_make(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<Secret> {
    match std::fs::read_to_string(path) {
        Ok(text) => check(path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = make()?;
            keep(path, &text).with_context(|| format!("{}: can't be made", path.display()))?;
            Ok(Secret::new(text))
        }
        Err(error) => Err(error).with_context(|| format!("{}: can't be read", path.display())),
    }
}

fn check(path: &Path, text: &str) -> Result<Secret> {
    let mode = std::fs::metadata(path).with_context(|| path.display().to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{}: others can read it; set its mode to 0600, or delete it to sign everybody out", path.display());
    }
    if text.trim().len() < 32 {
        bail!("{}: is damaged; delete it, which signs everybody out", path.display());
    }
    Ok(Secret::new(text.trim().to_owned()))
}

fn random_text() -> Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the system has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Written beside and renamed, so that a crash leaves no half secret.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_private_folder(directory)?;
    let part = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    File::open(directory)?.sync_all()
}

/// Makes a folder with mode 0700 where there is none, and syncs the one above it: a power cut must not take the folder
/// and leave a database that depends on what is in it.
pub(crate) fn make_private_folder(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let above = directory.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(above) {
        Ok(above) => above.sync_all(),
        // Made by somebody else, who answers for it.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_secret_is_kept_and_only_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/jwt-secret");
        let drawn = read_or_draw(&path).unwrap();
        assert_eq!(read_or_draw(&path).unwrap(), drawn);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(read_or_draw(&directory.path().join("other")).unwrap(), drawn);
    }

    #[test]
    fn a_secret_others_can_read_or_a_damaged_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jwt-secret");
        read_or_draw(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(read_or_draw(&path).unwrap_err().to_string().contains("0600"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(read_or_draw(&path).unwrap_err().to_string().contains("damaged"));
    }
}
