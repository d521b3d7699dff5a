//! The recorder itself: takes connections from cameras, owns the threads, and ends in order.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use aivms_contract::health::Notice;
use aivms_contract::id::{CameraId, EdgeId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assembly::Assembly;
use super::footage::{Footage, Shared};
use super::index;
use super::layout::Folders;
use super::policy::PolicyWatch;
use super::recover;
use super::take::{Sink, Take};
use super::writer::{Order, Writer, WriterSettings};
use crate::pipeline::consumer::{StreamConsumer, StreamEnd, StreamFeed, StreamRole};
use crate::state::durable;

/// Orders that may wait for the disk; their bytes are bounded too. When it is full the disk is stuck and video is lost,
/// which is told once it is over.
const ORDERS: usize = 1024;

/// How it records.
#[derive(Debug, Clone)]
pub struct RecorderSettings {
    /// Where the index lies.
    pub data_dir: PathBuf,
    /// Where footage lies.
    pub folders: Folders,
    /// Length at which a segment ends with the next key picture.
    pub segment: Duration,
    /// Most video that a power cut costs.
    pub sync: Duration,
    /// Which edge this is; it is written into every file.
    pub edge: Option<EdgeId>,
}

/// Says why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// Another process records into the same folder.
    #[error("{path}: another process records here; stop it first")]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// The lock can't be reached, or a thread can't be started.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Records every camera that is connected to it. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    sink: Sink,
    policy: PolicyWatch,
    segment: Duration,
    running: Mutex<BTreeMap<CameraId, CancellationToken>>,
    tasks: TaskTracker,
    threads: Mutex<Vec<JoinHandle<()>>>,
    // Held until the threads have ended.
    _lock: std::fs::File,
}

impl Recorder {
    /// Starts recording. What earlier runs left is mended in the background, see [`Footage::readiness`]; `note` is told
    /// what a person should know.
    ///
    /// # Errors
    /// Another process records here, or the system refuses.
    pub fn open(
        settings: RecorderSettings,
        policy: PolicyWatch,
        note: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Result<(Self, Footage), RecorderError> {
        let index_dir = index::dir(&settings.data_dir);
        let lock = take_lock(durable::beside(&index_dir, "lock"))?;
        let (handle, keeper) = index::index(index_dir);
        let shared = Arc::new(Shared::new(handle, settings.folders, note));
        let (orders, received) = sync_channel(ORDERS);
        let sink = Sink { orders, queued: Arc::default(), shared: Arc::clone(&shared) };
        let about = WriterSettings { edge: settings.edge, sync: settings.sync };
        let writer = Writer::new(about, Arc::clone(&shared), Arc::clone(&sink.queued));
        let io_error = |source| RecorderError::Io { path: settings.data_dir.clone(), source };
        let writing = Builder::new().name("footage-writer".into()).spawn(move || writer.run(&received));
        let threads = vec![writing.map_err(io_error)?, recover::spawn(keeper, Arc::clone(&shared)).map_err(io_error)?];
        let inner = Inner {
            sink,
            policy,
            segment: settings.segment,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            threads: Mutex::new(threads),
            _lock: lock,
        };
        Ok((Self { inner: Arc::new(inner) }, Footage { shared }))
    }

    /// Ends every recording in order: what has come is in closed segments, synced and in the index when this returns.
    pub async fn close(&self) {
        let running = std::mem::take(&mut *lock(&self.inner.running));
        running.values().for_each(CancellationToken::cancel);
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        let (orders, shared) = (self.inner.sink.orders.clone(), Arc::clone(&self.inner.sink.shared));
        let threads = std::mem::take(&mut *lock(&self.inner.threads));
        let ended = tokio::task::spawn_blocking(move || {
            end_writer(&orders);
            shared.index.close();
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        if ended.await.is_err() {
            tracing::error!("a recorder thread panicked");
        }
    }
}

impl StreamConsumer for Recorder {
    fn connected(&self, camera: &CameraId, feed: StreamFeed) {
        if feed.role != StreamRole::Main {
            return;
        }
        let stop = CancellationToken::new();
        if let Some(before) = lock(&self.inner.running).insert(camera.clone(), stop.clone()) {
            before.cancel();
        }
        let sound = self.inner.policy.borrow().records_sound(camera);
        let assembly = Assembly::new(self.inner.segment, sound);
        let (sink, policy) = (self.inner.sink.clone(), self.inner.policy.clone());
        self.inner.tasks.spawn(Take::new(camera.clone(), sink, policy, feed, assembly).run(stop));
    }

    fn disconnected(&self, camera: &CameraId, role: StreamRole, _end: StreamEnd) {
        if role != StreamRole::Main {
            return;
        }
        if let Some(running) = lock(&self.inner.running).remove(camera) {
            running.cancel();
        }
    }
}

fn end_writer(orders: &SyncSender<Order>) {
    let (send, ended) = sync_channel(1);
    if orders.send(Order::Close(send)).is_ok() {
        let _ = ended.recv();
    }
}

fn take_lock(path: PathBuf) -> Result<std::fs::File, RecorderError> {
    let made = path.parent().map_or(Ok(()), durable::make_dir);
    made.and_then(|()| durable::lock(&path)).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => RecorderError::InUse { path },
        _ => RecorderError::Io { path, source },
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
