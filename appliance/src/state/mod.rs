//! Settings and cursors in sled, guarded against what stock sled does not survive.
//!
//! What is durable when:
//!
//! | | survives `kill -9` | survives a power cut |
//! | --- | --- | --- |
//! | settings ([`Key::is_setting`]), by [`State::put`] or [`State::put_durable`] | on return | on return |
//! | cursors, by [`State::put_durable`] | on return | on return, unless the database has to be made anew |
//! | cursors, by [`State::put`] | within 500 ms | after the next durable put |
//!
//! Settings lie twice: in sled, and with a generation number in `<dir>.json` beside the directory, from which a
//! damaged, emptied or deleted database is filled again. Cursors are worth less: losing one only does work again.
//! All values are held in memory too, so reading never waits for the disk and a full disk stops nothing.

mod copy;
pub mod database;
pub(crate) mod durable;
mod frame;
mod inspect;
mod key;
mod mend;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aivms_contract::health::Notice;
use serde::Serialize;
use serde::de::DeserializeOwned;

use copy::Copy;
use database::{Database, DatabaseError, DatabaseSettings, Opened, Verdict};
use frame::Slot;
use inspect::{Known, inspect, known_from, newest, notice, what_was_missing};
pub use key::Key;

/// How sled's `state/` is opened; facts about a few hundred small rows need no larger cache.
const DATABASE: DatabaseSettings =
    DatabaseSettings { name: "state", cache_bytes: 32 * 1024 * 1024, open_limit: Duration::from_secs(120) };
/// Pause between attempts to reach a database that failed.
const REOPEN_PAUSE: Duration = Duration::from_secs(5);
/// The one row of each tree. A tree per key keeps a page to one value, far from the size sled moves into other files.
const ROW: &[u8] = b"value";

type Slots = BTreeMap<Key, Slot>;

/// Says why a value could not be read or made durable.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process uses the directory.
    #[error("{dir}: in use by another process; stop it first")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The lock or the second copy can't be reached.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The database can't be opened, or a put is in memory but not on the disk; it is written when the disk allows.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The value is larger than sled keeps safely.
    #[error("{}: a value has {bytes} bytes, at most {} fit", key.name(), frame::MAX_FRAME_BYTES)]
    TooLarge {
        /// The value.
        key: Key,
        /// Bytes of its JSON.
        bytes: usize,
    },
    /// The stored value has another form than the caller's type.
    #[error("{}: stored in another form: {source}", key.name())]
    Form {
        /// The value.
        key: Key,
        /// What JSON said.
        source: serde_json::Error,
    },
}

/// The values a restart has to find again. Cheap to clone; the directory is in use until the last clone is gone.
///
/// Reading is quick. Putting a setting, or durably, blocks for two or three disk syncs: call it on a thread that may.
#[derive(Debug, Clone)]
pub struct State {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    slots: RwLock<Slots>,
    disk: Mutex<Disk>,
    starts: u64,
}

#[derive(Debug)]
struct Disk {
    database: Option<Database>,
    /// Until then a database that failed is left alone.
    reopen_at: Instant,
    /// The second copy is behind memory.
    copy_owed: bool,
    generation: u64,
    // Held until the database above is closed.
    _lock: File,
}

impl State {
    /// Opens the database `dir` and its second copy `<dir>.json`, mending what can be mended.
    ///
    /// The notices say what was mended, for the next health report. With a full disk the values come from the
    /// second copy and the database is opened later. Blocks, for up to a few minutes with a sick database.
    ///
    /// # Errors
    /// The directory is in use, or not even an empty database can be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<(Self, Vec<Notice>), StateError> {
        let dir = dir.into();
        let lock = take_lock(&dir)?;
        let copy_path = copy_path(&dir);
        let copy = durable::read_checked::<Copy>(&copy_path).map_err(|source| io_error(&copy_path, source))?;
        let known = known_from(copy);
        let expected = known.slots.clone();
        let mut notices = Vec::new();
        let (database, found, renewed) = match Database::open(&dir, &DATABASE, move |db| inspect(db, &expected)) {
            Ok(Opened { database, found, renewed, notices: mended }) => {
                notices = mended;
                (Some(database), found.unwrap_or_default(), renewed)
            }
            Err(error @ DatabaseError::NoRoom { .. }) => {
                notices.push(notice(&format!("{error}; until then the second copy is used")));
                (None, Slots::new(), false)
            }
            Err(error) => return Err(error.into()),
        };
        notices.extend(what_was_missing(&known, &found, renewed && notices.is_empty()));
        for notice in &notices {
            tracing::warn!(code = notice.code, "{}", notice.message);
        }
        Ok((Self::with(dir, known, found, database, lock, renewed), notices))
    }

    /// How many times this state was opened, this time included; a start that could not write to the disk is not counted.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.inner.starts
    }

    /// Reads a value.
    ///
    /// # Errors
    /// It was stored in another form than `T`.
    pub fn get<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, StateError> {
        let slots = self.inner.slots.read().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get(&key).filter(|slot| slot.json.get() != "null") else { return Ok(None) };
        serde_json::from_str(slot.json.get()).map_err(|source| StateError::Form { key, source })
    }

    /// Puts a value: a setting durably, a cursor so that it reaches the disk within half a second.
    ///
    /// # Errors
    /// As [`State::put_durable`].
    pub fn put<T: Serialize>(&self, key: Key, value: &T) -> Result<(), StateError> {
        self.store(key, value, key.is_setting())
    }

    /// Puts a value and returns when it survives a power cut.
    ///
    /// # Errors
    /// The value is too large and not taken; or the disk is full or broken: then the value is in memory, and reaches
    /// the disk with a later put.
    pub fn put_durable<T: Serialize>(&self, key: Key, value: &T) -> Result<(), StateError> {
        self.store(key, value, true)
    }

    /// Removes a value, as durably as [`State::put`] puts one.
    ///
    /// # Errors
    /// As [`State::put_durable`].
    pub fn remove(&self, key: Key) -> Result<(), StateError> {
        self.store(key, &(), key.is_setting())
    }

    fn with(dir: PathBuf, known: Known, found: Slots, database: Option<Database>, lock: File, fill: bool) -> Self {
        let slots = newest(found, known.slots);
        let generation = slots.values().map(|slot| slot.generation).fold(known.generation, u64::max);
        let last: u64 =
            slots.get(&Key::Starts).and_then(|slot| serde_json::from_str(slot.json.get()).ok()).unwrap_or(0);
        let starts = last.saturating_add(1);
        let disk = Disk { database, reopen_at: Instant::now(), copy_owed: true, generation, _lock: lock };
        let inner = Inner { dir, slots: RwLock::new(slots), disk: Mutex::new(disk), starts };
        let state = Self { inner: Arc::new(inner) };
        if fill {
            let slots = state.snapshot();
            state.disk().write_all(&slots);
        }
        if let Err(error) = state.put_durable(Key::Starts, &starts) {
            tracing::error!(%error, "state is in memory only until the disk allows writing");
        }
        state
    }

    fn store<T: Serialize>(&self, key: Key, value: &T, durable: bool) -> Result<(), StateError> {
        let json = serde_json::value::to_raw_value(value).map_err(|source| StateError::Form { key, source })?;
        let mut disk = self.disk();
        let slot = Slot { generation: disk.generation + 1, json };
        let frame = slot.to_frame().ok_or(StateError::TooLarge { key, bytes: slot.json.get().len() })?;
        disk.generation += 1;
        disk.copy_owed |= key.is_setting();
        self.inner.slots.write().unwrap_or_else(PoisonError::into_inner).insert(key, slot);
        let slots = self.snapshot();
        disk.attach(&self.inner.dir, &slots)?;
        disk.write(key, &frame, durable)?;
        if durable && disk.copy_owed {
            let path = copy_path(&self.inner.dir);
            let copy = Copy::of(disk.generation, &slots);
            durable::write_checked(&path, &copy).map_err(|source| io_error(&path, source))?;
            disk.copy_owed = false;
        }
        Ok(())
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.inner.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Slots {
        self.inner.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(database) = self.disk.get_mut().unwrap_or_else(PoisonError::into_inner).database.take() {
            database.close();
        }
    }
}

impl Disk {
    /// Opens a database that failed earlier, once its pause is over, and writes all of memory to it.
    fn attach(&mut self, dir: &Path, slots: &Slots) -> Result<(), DatabaseError> {
        if self.database.is_some() {
            return Ok(());
        }
        if Instant::now() < self.reopen_at {
            return Err(DatabaseError::Write { dir: dir.to_owned(), cause: "waiting to open it again".to_owned() });
        }
        self.reopen_at = Instant::now() + REOPEN_PAUSE;
        let opened = Database::open(dir, &DATABASE, |_| Verdict::Trusted(()))?;
        self.database = Some(opened.database);
        self.copy_owed = true;
        self.write_all(slots);
        if self.database.is_some() {
            tracing::info!(dir = %dir.display(), "state reaches the disk again");
        }
        Ok(())
    }

    fn write_all(&mut self, slots: &Slots) {
        for (key, slot) in slots {
            if let Some(frame) = slot.to_frame()
                && let Err(error) = self.write(*key, &frame, false)
            {
                tracing::error!(%error, "state could not be written");
            }
        }
    }

    fn write(&mut self, key: Key, frame: &[u8], durable: bool) -> Result<(), DatabaseError> {
        let Some(database) = &self.database else { return Ok(()) };
        let written = insert(database, key, frame).and_then(|()| if durable { database.flush() } else { Ok(()) });
        if written.is_err()
            && let Some(database) = self.database.take()
        {
            // sled repeats an error until it is opened again.
            database.close();
            self.reopen_at = Instant::now() + REOPEN_PAUSE;
        }
        written
    }
}

fn insert(database: &Database, key: Key, frame: &[u8]) -> Result<(), DatabaseError> {
    database.guarded(|db| db.open_tree(key.name())?.insert(ROW, frame).map(|_| ()))
}

fn take_lock(dir: &Path) -> Result<File, StateError> {
    let path = durable::beside(dir, "lock");
    durable::make_dir(dir).map_err(|source| io_error(dir, source))?;
    durable::lock(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => StateError::InUse { dir: dir.to_owned() },
        _ => io_error(&path, source),
    })
}

fn copy_path(dir: &Path) -> PathBuf {
    durable::beside(dir, "json")
}

fn io_error(path: &Path, source: std::io::Error) -> StateError {
    StateError::Io { path: path.to_owned(), source }
}
