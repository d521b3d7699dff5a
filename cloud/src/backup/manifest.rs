//! What a backup holds, as it says itself.

use std::path::Path;

use aivms_contract::time::UtcMillis;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::files::{Copied, write_new};

/// Name of the manifest in a backup.
const MANIFEST: &str = "manifest.json";
/// Name of the database in a backup.
pub(super) const DATABASE: &str = "cloud.db";
/// The form of backups this program writes and reads.
const FORMAT: u32 = 1;

/// The list of a backup's files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// 1.
    format: u32,
    /// The version that wrote it, for a person.
    program: String,
    /// When it was finished.
    pub(super) made_at: UtcMillis,
    /// Every file beside the manifest.
    pub(super) files: Vec<Copied>,
}

impl Manifest {
    pub(super) fn new(made_at: UtcMillis, files: Vec<Copied>) -> Self {
        Self { format: FORMAT, program: env!("CARGO_PKG_VERSION").to_owned(), made_at, files }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("the manifest")?;
        write_new(&folder.join(MANIFEST), &text)
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// It is missing, damaged, or of another form; or it names files outside its folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read(&path)
            .with_context(|| format!("{}: can't be read; a backup is whole only with it", path.display()))?;
        let manifest: Self = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        if manifest.format != FORMAT {
            bail!("{}: has format {}, this program reads {FORMAT}", path.display(), manifest.format);
        }
        for file in &manifest.files {
            let inner = file.path == DATABASE || file.path.strip_prefix("data/").is_some_and(is_name);
            if !inner {
                bail!("{}: names {:?}, which is no file of a backup", path.display(), file.path);
            }
        }
        if !manifest.files.iter().any(|file| file.path == DATABASE) {
            bail!("{}: names no database", path.display());
        }
        Ok(manifest)
    }
}

/// Whether a text is the name of a file and no way to another folder.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}
