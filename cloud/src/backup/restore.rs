//! From a backup back to a cloud that can be started.

use std::fs;
use std::path::Path;

use aivms_contract::time::UtcMillis;
use anyhow::{Context, Result, bail};

use super::DATA;
use super::files::{Copied, copy, is_vacant, private_folder, sync_folder};
use super::manifest::{DATABASE, Manifest};
use crate::config::Config;
use crate::store::check_sqlite;

/// Puts the backup in `folder` to where `config` says that the cloud is. Nothing is overwritten. Returns when the
/// backup was made.
///
/// # Errors
/// Says what of the backup is damaged, or which place is taken; then nothing has been put there.
pub fn restore(config: &Config, folder: &Path) -> Result<UtcMillis> {
    if config.database_url.is_some() {
        bail!("the database is PostgreSQL, and this backup holds one of SQLite: restore a dump with pg_restore");
    }
    let manifest = Manifest::read(folder)?;
    let (database, data) = (&config.database_path, config.data_dir());
    if database.exists() {
        bail!("database_path {}: is taken; move it away first, with its -wal and -shm", database.display());
    }
    refuse_left_changes(database)?;
    if !is_vacant(&data)? {
        bail!("data_dir {}: is not empty; move it away first", data.display());
    }
    for file in &manifest.files {
        verify(folder, file)?;
    }
    check_sqlite(&folder.join(DATABASE)).with_context(|| format!("{}: {DATABASE}", folder.display()))?;
    put(config, folder, &manifest).with_context(|| {
        format!("only a part was put back: remove {} and {} and try again", database.display(), data.display())
    })?;
    Ok(manifest.made_at)
}

/// SQLite would play what is left of another database's changes over the one that is put there.
fn refuse_left_changes(database: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut left = database.as_os_str().to_owned();
        left.push(suffix);
        let left = Path::new(&left);
        if left.try_exists().with_context(|| left.display().to_string())? {
            bail!(
                "database_path {}: {} of an earlier database is beside it and would change the restored one; move it \
                 away first, to where that database went",
                database.display(),
                left.display()
            );
        }
    }
    Ok(())
}

fn verify(folder: &Path, file: &Copied) -> Result<()> {
    let path = folder.join(&file.path);
    let found = Copied::of(&path, &file.path)?;
    if found != *file {
        bail!("{}: is not what was backed up: {} bytes of SHA-256 {}", path.display(), found.bytes, found.sha256);
    }
    Ok(())
}

/// The database last, under its name only once it is whole: without it a start makes an empty cloud, but never one
/// with half of this one's.
fn put(config: &Config, folder: &Path, manifest: &Manifest) -> Result<()> {
    let (database, data) = (&config.database_path, config.data_dir());
    private_folder(&data)?;
    for file in &manifest.files {
        if let Some(name) = file.path.strip_prefix(&format!("{DATA}/")) {
            copy(&folder.join(&file.path), &data.join(name), &file.path)?;
        }
    }
    sync_folder(&data)?;
    let above = database.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(above).with_context(|| above.display().to_string())?;
    let part = database.with_extension("part");
    let _ = fs::remove_file(&part);
    copy(&folder.join(DATABASE), &part, DATABASE)?;
    fs::rename(&part, database).with_context(|| database.display().to_string())?;
    sync_folder(above)
}
