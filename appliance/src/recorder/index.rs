//! The index in sled: who numbers cameras, keeps a row per closed segment, and gives tables back.
//!
//! All writing is done by one thread, which puts what came within a second into the database and syncs once. A
//! database that fails is opened anew after a pause; until then rows wait, and what finds no room to wait is found by
//! the next start, which compares index and files.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aivms_contract::health::Notice;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::FragmentInfo;
use aivms_footage::table::FragmentTable;

use super::catalogue::Entry;
use super::row;
use super::segment::SegmentKey;
use crate::state::database::{Database, DatabaseError, DatabaseSettings, Opened, Verdict};

/// How sled's `index/` is opened. A month of sixteen cameras is read in a few seconds.
const DATABASE: DatabaseSettings =
    DatabaseSettings { name: "index", cache_bytes: 64 * 1024 * 1024, open_limit: Duration::from_secs(120) };
/// Changes that may wait for the database: some minutes of retention at work. When it is full the database is stuck;
/// what finds no room is left to the comparison at the next start.
const ORDERS: usize = 8192;
/// Longest time a row waits for others before all are synced.
const GROUP_TIME: Duration = Duration::from_secs(1);
/// Pause before a database that failed is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(5);
const SEGMENTS: &str = "segments";
const CAMERAS: &str = "cameras";

/// A change of the index.
#[derive(Debug)]
enum Order {
    Put(SegmentKey, Entry, Vec<u8>),
    /// Disk and tags, the table stays.
    Change(SegmentKey, Entry),
    Remove(SegmentKey),
    /// Answered when everything before it is on the disk, or the database failed.
    Settle(SyncSender<()>),
    Close,
}

/// The way to the index. Giving an order never waits.
#[derive(Debug)]
pub(super) struct IndexHandle {
    orders: SyncSender<Order>,
    store: Arc<Store>,
}

#[derive(Debug, Default)]
struct Store {
    database: RwLock<Option<Database>>,
    numbers: Mutex<BTreeMap<CameraId, u16>>,
}

/// The thread's end.
#[derive(Debug)]
pub(super) struct IndexKeeper {
    dir: PathBuf,
    orders: Receiver<Order>,
    store: Arc<Store>,
    /// What has not reached the disk yet.
    waiting: VecDeque<Order>,
    sync_at: Option<Instant>,
    reopen_at: Instant,
    pub(super) closed: bool,
}

/// What an index held when it was opened.
#[derive(Debug, Default, Clone)]
pub(super) struct Found {
    /// The rows of each camera, in order.
    pub(super) segments: BTreeMap<CameraId, Vec<(UtcMillis, Entry)>>,
    pub(super) damaged: usize,
    numbers: BTreeMap<CameraId, u16>,
}

/// Makes both ends of the index in `dir`; nothing is opened yet.
pub(super) fn index(dir: PathBuf) -> (IndexHandle, IndexKeeper) {
    let (send, orders) = sync_channel(ORDERS);
    let store = Arc::new(Store::default());
    let handle = IndexHandle { orders: send, store: Arc::clone(&store) };
    let (waiting, reopen_at) = (VecDeque::new(), Instant::now());
    (handle, IndexKeeper { dir, orders, store, waiting, sync_at: None, reopen_at, closed: false })
}

impl IndexHandle {
    /// Adds the row of a segment that was closed.
    pub(super) fn put(&self, key: &SegmentKey, entry: Entry, table: &FragmentTable) {
        self.order(Order::Put(key.clone(), entry, table.pack()));
    }

    /// Changes disk and tags of a segment.
    pub(super) fn change(&self, key: &SegmentKey, entry: Entry) {
        self.order(Order::Change(key.clone(), entry));
    }

    pub(super) fn remove(&self, key: &SegmentKey) {
        self.order(Order::Remove(key.clone()));
    }

    /// Waits until everything ordered so far is on the disk, or can't be. Blocks.
    pub(super) fn settle(&self) {
        let (send, settled) = sync_channel(1);
        if self.orders.send(Order::Settle(send)).is_ok() {
            let _ = settled.recv();
        }
    }

    /// Ends the thread after what was ordered so far. Blocks while the database is stuck.
    pub(super) fn close(&self) {
        let _ = self.orders.send(Order::Close);
    }

    /// The table of a segment; `None` when there is no such row, or none that can be read.
    pub(super) fn table(&self, key: &SegmentKey) -> Option<Arc<[FragmentInfo]>> {
        let number = self.store.number(&key.camera)?;
        let key = row::key(number, key.start);
        let database = self.store.database.read().unwrap_or_else(PoisonError::into_inner);
        let row = database.as_ref()?.guarded(|db| db.open_tree(SEGMENTS)?.get(key)).ok()??;
        let (_, _, table) = row::decode(&key, &row)?;
        FragmentTable::unpack(table).ok().map(|table| Arc::from(table.fragments))
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::error!("the index of recordings is stuck; the next start compares it with the files");
        }
    }
}

impl Store {
    fn number(&self, camera: &CameraId) -> Option<u16> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).get(camera).copied()
    }
}

impl IndexKeeper {
    /// Opens the database and reads all of it. Blocks.
    ///
    /// # Errors
    /// The disk is full, or no database can be made; [`IndexKeeper::serve`] tries again.
    pub(super) fn open(&mut self) -> Result<(Found, Vec<Notice>), DatabaseError> {
        self.reopen_at = Instant::now() + REOPEN_PAUSE;
        let Opened { database, found, notices, .. } = Database::open(&self.dir, &DATABASE, inspect)?;
        let found = found.unwrap_or_default();
        let mut numbers = self.store.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        // What this run numbered while the database was away goes on to hold.
        for (camera, number) in &found.numbers {
            numbers.entry(camera.clone()).or_insert(*number);
        }
        *self.store.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        Ok((found, notices))
    }

    /// Carries orders out until `until`, or until told to close.
    pub(super) fn serve(&mut self, until: Option<Instant>) {
        while !self.closed {
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return;
            }
            let wake = [self.sync_at, until].into_iter().flatten().min();
            let order = match wake {
                Some(at) => self.orders.recv_timeout(at.saturating_duration_since(now)),
                None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.closed = true,
            }
            if self.closed || self.sync_at.is_some_and(|at| at <= Instant::now()) {
                self.sync();
            }
        }
    }

    /// Carries out what was ordered so far, without waiting for more.
    pub(super) fn drain(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.take(order);
        }
        if self.closed || self.sync_at.is_some_and(|at| at <= Instant::now()) {
            self.sync();
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Close => self.closed = true,
            Order::Settle(answer) => {
                self.sync();
                let _ = answer.send(());
            }
            order => {
                if self.waiting.len() >= ORDERS {
                    self.sync();
                }
                if self.waiting.len() >= ORDERS {
                    tracing::error!("the index of recordings is stuck; the next start compares it with the files");
                } else {
                    self.waiting.push_back(order);
                }
                self.sync_at.get_or_insert_with(|| Instant::now() + GROUP_TIME);
            }
        }
    }

    /// Writes what waits and syncs; what fails waits on.
    fn sync(&mut self) {
        self.sync_at = None;
        if self.waiting.is_empty() {
            return;
        }
        if let Err(error) = self.write_all() {
            tracing::error!(%error, "the index of recordings can't be written; it is opened again");
            if let Some(database) = self.store.database.write().unwrap_or_else(PoisonError::into_inner).take() {
                // sled repeats an error until it is opened again.
                database.close();
            }
            self.sync_at = Some(Instant::now() + REOPEN_PAUSE);
        }
    }

    fn write_all(&mut self) -> Result<(), DatabaseError> {
        if self.store.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            if Instant::now() < self.reopen_at {
                self.sync_at = Some(self.reopen_at);
                return Ok(());
            }
            self.open()?;
        }
        let database = self.store.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database.as_ref() else { return Ok(()) };
        for order in &self.waiting {
            self.store.write(database, order)?;
        }
        database.flush()?;
        self.waiting.clear();
        Ok(())
    }
}

impl Store {
    fn write(&self, database: &Database, order: &Order) -> Result<(), DatabaseError> {
        let (Order::Put(segment, ..) | Order::Change(segment, _) | Order::Remove(segment)) = order else {
            return Ok(());
        };
        let number = self.number_or_new(database, &segment.camera)?;
        let key = row::key(number, segment.start);
        database.guarded(|db| {
            let segments = db.open_tree(SEGMENTS)?;
            match order {
                Order::Put(_, entry, table) => put(&segments, &key, segment.start, *entry, table),
                Order::Change(_, entry) => match segments.get(key)? {
                    Some(old) => {
                        let table = row::decode(&key, &old).map(|(_, _, table)| table);
                        table.map_or(Ok(()), |table| put(&segments, &key, segment.start, *entry, table))
                    }
                    None => Ok(()),
                },
                _ => segments.remove(key).map(|_| ()),
            }
        })
    }

    /// The number of a camera; a new one is written before it is used.
    fn number_or_new(&self, database: &Database, camera: &CameraId) -> Result<u16, DatabaseError> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let free = || (0..=u16::MAX).find(|number| !numbers.values().any(|used| used == number));
        let number = numbers.get(camera).copied().or_else(free).unwrap_or(u16::MAX);
        numbers.insert(camera.clone(), number);
        let value = sealed_number(camera, number);
        database.guarded(|db| {
            let cameras = db.open_tree(CAMERAS)?;
            if cameras.get(camera.as_str())?.as_deref() == Some(&value[..]) {
                return Ok(());
            }
            cameras.insert(camera.as_str(), &value[..]).map(|_| ())
        })?;
        Ok(number)
    }
}

fn put(
    segments: &sled::Tree,
    key: &[u8; row::KEY_BYTES],
    start: UtcMillis,
    entry: Entry,
    table: &[u8],
) -> sled::Result<()> {
    let Some(row) = row::encode(key, start, entry, table) else {
        tracing::error!("a segment has too many fragments for the index; its table is read from its file");
        return Ok(());
    };
    segments.insert(key, row).map(|_| ())
}

/// Reads everything. What is damaged in it is read from the files again, so only what sled itself can't read makes
/// the whole distrusted.
fn inspect(db: &sled::Db) -> Verdict<Found> {
    let mut found = Found::default();
    match read_all(db, &mut found) {
        Ok(()) => Verdict::Trusted(found),
        Err(error) => Verdict::Distrusted { salvage: found, cause: error.to_string() },
    }
}

fn read_all(db: &sled::Db, found: &mut Found) -> sled::Result<()> {
    for row in &db.open_tree(CAMERAS)? {
        let (name, value) = row?;
        let camera = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
        if let Some((camera, number)) = camera.and_then(|camera| unsealed_number(&camera, &value).map(|n| (camera, n)))
        {
            found.numbers.insert(camera, number);
        }
    }
    let cameras: BTreeMap<u16, CameraId> =
        found.numbers.iter().map(|(camera, number)| (*number, camera.clone())).collect();
    let mut rows: BTreeMap<u16, Vec<(UtcMillis, Entry)>> = BTreeMap::new();
    for row in &db.open_tree(SEGMENTS)? {
        let (key, value) = row?;
        let number = row::of_key(&key).map(|(number, _)| number).filter(|number| cameras.contains_key(number));
        match number.zip(row::decode(&key, &value)) {
            Some((number, (start, entry, _))) => rows.entry(number).or_default().push((start, entry)),
            None => found.damaged += 1,
        }
    }
    let named = |(number, rows)| Some((cameras.get(&number)?.clone(), rows));
    found.segments = rows.into_iter().filter_map(named).collect();
    Ok(())
}

/// A camera's number as it lies in the database: version, number, CRC32 over name and both.
fn sealed_number(camera: &CameraId, number: u16) -> [u8; 7] {
    let mut value = [0; 7];
    value[0] = 1;
    value[1..3].copy_from_slice(&number.to_be_bytes());
    let crc = crc32fast::hash(&[camera.as_str().as_bytes(), &value[..3]].concat());
    value[3..].copy_from_slice(&crc.to_be_bytes());
    value
}

fn unsealed_number(camera: &CameraId, value: &[u8]) -> Option<u16> {
    let number = u16::from_be_bytes(value.get(1..3)?.try_into().ok()?);
    (value == sealed_number(camera, number)).then_some(number)
}

/// Where the index lies.
pub(super) fn dir(data_dir: &Path) -> PathBuf {
    data_dir.join("index")
}
