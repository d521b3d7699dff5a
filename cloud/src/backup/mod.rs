//! A copy of everything that makes this cloud this cloud, and the way back.
//!
//! A backup is a folder: the database, the files of `data_dir` (the certificate authority's key and the drawn
//! secrets), and a [`Manifest`] with the size and SHA-256 of each. It is taken while the cloud runs: everything that
//! was acknowledged before the command began is in it. Clips and snapshots are not: they have a place of their own,
//! a folder or bucket, with means of its own.
//!
//! It is not encrypted: whoever keeps it has tools for that and for the keys (`docs/guide/backup.md`), and a key kept
//! by us would only be one more thing to lose. Its folder and files are for their owner only.

mod files;
mod manifest;
mod restore;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::clock;
use crate::config::Config;
use crate::store::snapshot_sqlite;
use files::{Copied, copy, private_folder, sync_folder};
use manifest::{DATABASE, Manifest};

pub use restore::restore;

/// Folder of the copied `data_dir`.
const DATA: &str = "data";
/// What in `data_dir` is only on its way: edges send it again.
const UPLOADS: &str = "uploads";

/// What a backup holds, for a person.
#[derive(Debug)]
pub struct Summary {
    /// Where it is.
    pub folder: PathBuf,
    /// Files, the manifest included.
    pub files: usize,
    /// Bytes of all.
    pub bytes: u64,
}

/// Copies the cloud that `config` describes into `folder`, which must not exist or be empty. The cloud may run.
///
/// # Errors
/// Names what can't be read or written. A folder without a manifest is no backup.
pub fn backup(config: &Config, folder: &Path) -> Result<Summary> {
    refuse_other_databases(config)?;
    private_folder(folder)?;
    if fs::read_dir(folder).with_context(|| folder.display().to_string())?.next().is_some() {
        bail!("{}: is not empty; a backup has a folder of its own", folder.display());
    }
    // The database first: every secret that it depends on was in its file before, so a later copy has it.
    let database = folder.join(DATABASE);
    snapshot_sqlite(&config.database_path, &database)?;
    let mut copied = vec![Copied::of(&database, DATABASE)?];
    private_folder(&folder.join(DATA))?;
    for name in data_files(&config.data_dir())? {
        copied.push(copy(&config.data_dir().join(&name), &folder.join(DATA).join(&name), &format!("{DATA}/{name}"))?);
    }
    // The manifest last: its presence says that everything else is there.
    let bytes = copied.iter().map(|file| file.bytes).sum();
    let files = copied.len() + 1;
    Manifest::new(clock::now(), copied).write(folder)?;
    sync_folder(folder)?;
    Ok(Summary { folder: folder.to_owned(), files, bytes })
}

/// PostgreSQL has better tools than anything here could be.
fn refuse_other_databases(config: &Config) -> Result<()> {
    if config.database_url.is_some() {
        bail!(
            "the database is PostgreSQL: back it up with pg_dump --format=custom --file=cloud.dump \"$DATABASE_URL\", and \
             copy {} beside it",
            config.data_dir().display()
        );
    }
    Ok(())
}

/// The names of the files in `data_dir` that a restored cloud needs.
fn data_files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("data_dir {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| anyhow::anyhow!("data_dir: {} is no file of ours", name.display()))?;
        let is_file = entry.file_type()?.is_file();
        if !is_file && name != UPLOADS {
            bail!("data_dir: {name} is no file of ours; move it elsewhere");
        }
        if is_file && !name.ends_with(".part") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
