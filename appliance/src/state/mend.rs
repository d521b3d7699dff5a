//! What an open does to the files of a sled database before, between and after its attempts.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aivms_contract::health::Notice;

use super::database::DatabaseSettings;
use super::durable;

/// How long an open waits for a database that was just closed in this process.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// Step 1.
pub(super) fn tidy(dir: &Path, settings: &DatabaseSettings) -> io::Result<Vec<Notice>> {
    let mut notices = Vec::new();
    for path in snapshots(dir)? {
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&path)?;
            notices.push(notice(settings, "a snapshot that was never finished was deleted"));
        }
    }
    if dir.join("db").exists() && !dir.join("conf").exists() {
        notices.push(notice(settings, "its file conf was missing and was made again"));
    }
    durable::sync_dir(dir)?;
    Ok(notices)
}

/// Step 2: says how many opens before this one never ended.
pub(super) fn count_open(marker: &Path) -> io::Result<u32> {
    let unfinished = match durable::read_checked::<u32>(marker)? {
        durable::Checked::Sound(count) => count,
        durable::Checked::Absent => 0,
        durable::Checked::Damaged => 1,
    };
    durable::write_checked(marker, &unfinished.saturating_add(1))?;
    Ok(unfinished)
}

/// Step 4: sled replays its whole log when it finds no snapshot, and makes `conf` again with its defaults, which are
/// the ones this program always uses.
pub(super) fn set_snapshots_aside(dir: &Path) -> io::Result<()> {
    let aside = durable::beside(dir, "aside");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir(&aside)?,
    }
    let conf = dir.join("conf");
    for path in snapshots(dir)?.into_iter().chain(conf.exists().then_some(conf)) {
        if let Some(name) = path.file_name() {
            fs::rename(&path, aside.join(name))?;
        }
    }
    durable::sync_dir(&aside)?;
    durable::sync_dir(dir)
}

/// Step 6: moves the directory away, keeping only this one quarantine.
pub(super) fn quarantine(dir: &Path) -> io::Result<PathBuf> {
    let prefix = durable::beside(dir, "quarantine-");
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let place = durable::beside(dir, &format!("quarantine-{millis}"));
    let siblings = dir.parent().map(fs::read_dir).transpose()?.into_iter().flatten();
    for sibling in siblings {
        let path = sibling?.path();
        if path != place && path.to_string_lossy().starts_with(&*prefix.to_string_lossy()) {
            fs::remove_dir_all(&path)?;
        }
    }
    fs::rename(dir, &place)?;
    durable::sync_parent(dir)?;
    Ok(place)
}

fn snapshots(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// sled's threads hold its file a little longer than the database lives, and an open meanwhile would fail as if the
/// files were bad. Other processes are kept away by the caller's lock.
pub(super) fn wait_for_release(data: &Path) {
    let deadline = Instant::now() + RELEASE_PATIENCE;
    while let Ok(file) = File::open(data)
        && matches!(file.try_lock(), Err(TryLockError::WouldBlock))
        && Instant::now() < deadline
    {
        thread::sleep(Duration::from_millis(5));
    }
}

/// A notice about the database of `settings`.
pub(super) fn notice(settings: &DatabaseSettings, message: &str) -> Notice {
    let name = settings.name;
    Notice { code: format!("{name}_recovered"), message: format!("{name} database: {message}"), camera_id: None }
}
