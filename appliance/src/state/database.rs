//! The one way a sled database is opened, for `state/` and for the recording index.
//!
//! Stock sled 0.34.7 survives `kill -9` but neither a power cut by itself nor a damaged file, and some damage makes
//! it panic. Opening therefore goes in steps, each of which leaves a working database behind:
//!
//! 1. a leftover `snap.*.generating`, which would make every open fail, is deleted; a missing `conf` is noted;
//! 2. a marker file counts opens that never ended, so that an abort in an open is seen at the next start;
//! 3. sled opens and the caller's inspection reads everything, in a thread of its own under `catch_unwind`, with a
//!    time limit;
//! 4. on failure, or when the marker says so, snapshots (and a suspect `conf`) are set aside and the whole log is
//!    replayed;
//! 5. the inspection compares what was read with what the caller knows from elsewhere: a database that opens empty
//!    without an error is the typical loss;
//! 6. a database that can't be trusted is moved to `<dir>.quarantine-<time>` (one is kept) and an empty one made,
//!    which the caller fills from what the inspection could salvage and from its own second copy.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use aivms_contract::health::Notice;

use super::durable;
use super::mend::{count_open, notice, quarantine, set_snapshots_aside, tidy, wait_for_release};

/// Unfinished opens after which snapshots are set aside before trying.
const SUSPECT_OPENS: u32 = 2;
/// Unfinished opens after which the directory is given up without trying.
const HOPELESS_OPENS: u32 = 5;
/// Below this much free room a failing open is put down to the full disk, not to the files.
const ROOM_TO_OPEN_BYTES: u64 = 4 * 1024 * 1024;

/// How one database is opened.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Name in notices: code `<name>_recovered`.
    pub name: &'static str,
    /// Bytes of sled's page cache; resident memory can be two or three times this.
    pub cache_bytes: u64,
    /// Longest time one attempt to open and inspect may take.
    pub open_limit: Duration,
}

/// What an inspection thinks of the database it has read.
#[derive(Debug)]
pub enum Verdict<T> {
    /// All is there.
    Trusted(T),
    /// Something is missing or unreadable.
    Distrusted {
        /// What could be read.
        salvage: T,
        /// Why the rest can't be trusted, for a person.
        cause: String,
    },
}

/// A database that is open.
#[derive(Debug)]
pub struct Opened<T> {
    /// The database; empty when it had to be made anew.
    pub database: Database,
    /// What the inspection read, or salvaged before the database was made anew; `None` when nothing was readable.
    pub found: Option<T>,
    /// Whether the database is new, so that the caller has to fill it.
    pub renewed: bool,
    /// What went wrong and was mended.
    pub notices: Vec<Notice>,
}

/// Says why a database could not be opened or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// The disk is full; nothing was changed.
    #[error("{dir}: no room left on the disk; free some, the database opens then")]
    NoRoom {
        /// The database.
        dir: PathBuf,
    },
    /// Even an empty database could not be made.
    #[error("{dir}: cannot be opened: {cause}; check the disk and the rights of the directory")]
    Open {
        /// The database.
        dir: PathBuf,
        /// What the file system or sled said.
        cause: String,
    },
    /// A write or a sync failed; the database has to be opened again.
    #[error("{dir}: cannot be written: {cause}")]
    Write {
        /// The database.
        dir: PathBuf,
        /// What the file system or sled said.
        cause: String,
    },
}

/// An open sled database whose flushes reach the disk.
#[derive(Debug)]
pub struct Database {
    dir: PathBuf,
    data: File,
    // The last field, so that the file handle above is closed first.
    db: sled::Db,
}

type Inspection<T> = Arc<dyn Fn(&sled::Db) -> Verdict<T> + Send + Sync>;

/// One attempt that did not give a trusted database.
struct Failed<T> {
    salvage: Option<T>,
    cause: String,
}

impl Database {
    /// Opens `dir` by the steps of this module; `inspect` reads all that has to be right.
    ///
    /// The caller holds a lock that keeps other processes away. Blocks for up to twice the limit of `settings`.
    ///
    /// # Errors
    /// The disk is full, or not even an empty database can be made.
    pub fn open<T, F>(dir: &Path, settings: &DatabaseSettings, inspect: F) -> Result<Opened<T>, DatabaseError>
    where
        T: Send + 'static,
        F: Fn(&sled::Db) -> Verdict<T> + Send + Sync + 'static,
    {
        let inspect: Inspection<T> = Arc::new(inspect);
        let fail = |error: io::Error| refusal(dir, &error.to_string(), error.kind() == io::ErrorKind::StorageFull);
        let mut notices = Vec::new();
        durable::make_dir(dir).map_err(fail)?;
        notices.extend(tidy(dir, settings).map_err(fail)?);
        let marker = durable::beside(dir, "opening");
        let unfinished = count_open(&marker).map_err(fail)?;
        let opened = open_or_renew(dir, settings, &inspect, unfinished, notices)?;
        fs::remove_file(&marker).and_then(|()| durable::sync_parent(&marker)).map_err(fail)?;
        Ok(opened)
    }

    /// Reads or writes; what is written is durable after [`Database::flush`].
    ///
    /// # Errors
    /// sled's own, and its panics over damaged files, which end here.
    pub fn guarded<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, DatabaseError> {
        let fail = |cause: String| DatabaseError::Write { dir: self.dir.clone(), cause };
        catch_unwind(AssertUnwindSafe(|| work(&self.db)))
            .map_err(|_| fail("sled panicked over its files".to_owned()))?
            .map_err(|error| fail(error.to_string()))
    }

    /// Makes all earlier writes survive a power cut: sled's own flush only hands them to the drive.
    ///
    /// # Errors
    /// The disk is full or broken; sled then repeats the error until the database is opened again.
    pub fn flush(&self) -> Result<(), DatabaseError> {
        self.guarded(|db| db.flush())?;
        self.data
            .sync_data()
            .and_then(|()| durable::sync_dir(&self.dir))
            .map_err(|error| DatabaseError::Write { dir: self.dir.clone(), cause: error.to_string() })
    }

    /// Closes the database; a panic of sled over a broken disk ends here.
    pub fn close(self) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }
}

fn open_or_renew<T: Send + 'static>(
    dir: &Path,
    settings: &DatabaseSettings,
    inspect: &Inspection<T>,
    unfinished: u32,
    mut notices: Vec<Notice>,
) -> Result<Opened<T>, DatabaseError> {
    if !dir.join("db").exists() && fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none()) {
        let (database, ()) = create(dir, settings).map_err(|failed| refusal(dir, &failed.cause, no_room(dir)))?;
        return Ok(Opened { database, found: None, renewed: true, notices });
    }
    let Failed { salvage, cause } = match open_existing(dir, settings, inspect, unfinished, &mut notices)? {
        Ok((database, found)) => return Ok(Opened { database, found: Some(found), renewed: false, notices }),
        Err(failed) => failed,
    };
    let refuse = |cause: &str| refusal(dir, cause, no_room(dir));
    let place = quarantine(dir).map_err(|error| refuse(&error.to_string()))?;
    notices.push(notice(settings, &format!("made anew, the old one is in {}: {cause}", place.display())));
    let (database, ()) = create(dir, settings).map_err(|failed| refuse(&failed.cause))?;
    Ok(Opened { database, found: salvage, renewed: true, notices })
}

/// Makes an empty database; nothing has to be right in it.
fn create(dir: &Path, settings: &DatabaseSettings) -> Result<(Database, ()), Failed<()>> {
    attempt(dir, settings, &(Arc::new(|_: &sled::Db| Verdict::Trusted(())) as Inspection<()>))
}

/// Steps 2 to 5: as it is, then without snapshots.
fn open_existing<T: Send + 'static>(
    dir: &Path,
    settings: &DatabaseSettings,
    inspect: &Inspection<T>,
    unfinished: u32,
    notices: &mut Vec<Notice>,
) -> Result<Result<(Database, T), Failed<T>>, DatabaseError> {
    if !dir.join("db").exists() {
        return Ok(Err(failed("its file db is missing")));
    }
    if unfinished >= HOPELESS_OPENS {
        return Ok(Err(Failed {
            salvage: None,
            cause: format!("{unfinished} starts in a row ended while opening it"),
        }));
    }
    let mut suspicion = (unfinished >= SUSPECT_OPENS).then(|| format!("{unfinished} starts ended while opening it"));
    let mut salvage = None;
    if suspicion.is_none() {
        match attempt(dir, settings, inspect) {
            Ok(opened) => return Ok(Ok(opened)),
            Err(_) if no_room(dir) => return Err(DatabaseError::NoRoom { dir: dir.to_owned() }),
            Err(failed) => {
                salvage = failed.salvage;
                suspicion = Some(failed.cause);
            }
        }
    }
    let cause = suspicion.unwrap_or_default();
    set_snapshots_aside(dir).map_err(|error| refusal(dir, &error.to_string(), no_room(dir)))?;
    match attempt(dir, settings, inspect) {
        Ok(opened) => {
            notices.push(notice(settings, &format!("read again from its whole log: {cause}")));
            Ok(Ok(opened))
        }
        Err(_) if no_room(dir) => Err(DatabaseError::NoRoom { dir: dir.to_owned() }),
        Err(failed) => Ok(Err(Failed { salvage: failed.salvage.or(salvage), cause: failed.cause })),
    }
}

/// Step 3: opens and inspects in a helper thread, since damage can make sled panic or hang.
fn attempt<T: Send + 'static>(
    dir: &Path,
    settings: &DatabaseSettings,
    inspect: &Inspection<T>,
) -> Result<(Database, T), Failed<T>> {
    let (send, receive) = mpsc::sync_channel(1);
    let (dir, limit) = (dir.to_owned(), settings.open_limit);
    let (settings, inspect) = (settings.clone(), Arc::clone(inspect));
    let helper = move || {
        let result = catch_unwind(AssertUnwindSafe(|| open_and_inspect(&dir, &settings, &inspect)));
        let _ = send.send(result.unwrap_or_else(|_| Err(failed("sled panicked over its files"))));
    };
    if let Err(error) = thread::Builder::new().name("open-database".into()).spawn(helper) {
        return Err(failed(&format!("no thread to open it in: {error}")));
    }
    receive.recv_timeout(limit).unwrap_or_else(|_| Err(failed(&format!("did not open within {} s", limit.as_secs()))))
}

fn open_and_inspect<T>(
    dir: &Path,
    settings: &DatabaseSettings,
    inspect: &Inspection<T>,
) -> Result<(Database, T), Failed<T>> {
    let database = open_sled(dir, settings).map_err(|cause| failed(&cause))?;
    match inspect(&database.db) {
        Verdict::Trusted(found) => Ok((database, found)),
        Verdict::Distrusted { salvage, cause } => {
            database.close();
            Err(Failed { salvage: Some(salvage), cause })
        }
    }
}

fn open_sled(dir: &Path, settings: &DatabaseSettings) -> Result<Database, String> {
    durable::make_dir(dir).map_err(|error| error.to_string())?;
    wait_for_release(&dir.join("db"));
    let db = sled::Config::default()
        .path(dir)
        .cache_capacity(settings.cache_bytes)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(Some(500))
        .open()
        .map_err(|error| error.to_string())?;
    sync_created(dir).map_err(|error| error.to_string())?;
    let data = File::open(dir.join("db")).map_err(|error| error.to_string())?;
    Ok(Database { dir: dir.to_owned(), data, db })
}

/// Syncs what sled writes at creation and at open and never syncs itself.
fn sync_created(dir: &Path) -> io::Result<()> {
    for name in ["conf", "db"] {
        File::open(dir.join(name))?.sync_all()?;
    }
    durable::sync_dir(dir)?;
    durable::sync_parent(dir)
}

fn failed<T>(cause: &str) -> Failed<T> {
    Failed { salvage: None, cause: cause.to_owned() }
}

fn refusal(dir: &Path, cause: &str, no_room: bool) -> DatabaseError {
    let dir = dir.to_owned();
    if no_room { DatabaseError::NoRoom { dir } } else { DatabaseError::Open { dir, cause: cause.to_owned() } }
}

fn no_room(dir: &Path) -> bool {
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(dir);
    rustix::fs::statvfs(existing).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM_TO_OPEN_BYTES)
}
