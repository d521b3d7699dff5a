//! Locks: footage that stays whatever retention says.
//!
//! They are settings of the state database, which keeps a second copy of them, and know nothing of the index: a lost
//! index or a lost database frees nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use aivms_appliance_core::retention::Span;
use aivms_contract::footage::Locked;
use aivms_contract::id::{CameraId, LockId};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use crate::state::{Key, State, StateError};

/// Most locks, so that all of them fit one value of the state.
const MAX_LOCKS: usize = 128;
/// Longest reason that is kept, in bytes; a longer one is cut.
const MAX_REASON_BYTES: usize = 120;

/// Says why footage can't be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// There are too many.
    #[error("{MAX_LOCKS} locks exist; take one away first")]
    TooMany,
    /// What is kept is not understood: a new lock would take its place.
    #[error(
        "the locks that are kept can't be read, so none can come or go and no footage is deleted; restart the \
         appliance, and if that does not help, restore its state from a backup"
    )]
    Unknown,
    /// The disk refused it.
    #[error("the lock is not on the disk: {0}")]
    State(#[from] StateError),
    /// A thread ended too early; this is a fault of the program.
    #[error("the thread that writes locks ended too early")]
    Thread,
}

/// One lock as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The camera.
    pub camera_id: CameraId,
    /// Beginning of the span.
    pub start: UtcMillis,
    /// End of the span.
    pub end: UtcMillis,
    /// Why, in the words of whoever locked it.
    pub reason: String,
}

/// All locks. A cheap handle.
#[derive(Debug, Clone)]
pub struct Locks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Absent when what is kept is not understood: nothing may be deleted then.
    known: RwLock<Option<BTreeMap<LockId, Lock>>>,
    /// Held while footage is deleted and while a lock is added, so that none comes between look and deletion.
    gate: Mutex<()>,
}

impl Locks {
    /// Reads the locks that are kept.
    #[must_use]
    pub fn open(state: State) -> Self {
        let known = match state.get::<BTreeMap<LockId, Lock>>(Key::FootageLocks) {
            Ok(locks) => Some(locks.unwrap_or_default()),
            Err(error) => {
                tracing::error!(%error, "the locks of footage are not understood; nothing is deleted");
                None
            }
        };
        Self { inner: Arc::new(Inner { state, known: RwLock::new(known), gate: Mutex::default() }) }
    }

    /// All locks; `None` when they are not known.
    #[must_use]
    pub fn all(&self) -> Option<BTreeMap<LockId, Lock>> {
        self.inner.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of each camera; `None` when they are not known.
    #[must_use]
    pub fn spans(&self) -> Option<BTreeMap<CameraId, Vec<Span>>> {
        let mut spans = BTreeMap::<CameraId, Vec<Span>>::new();
        for lock in self.all()?.into_values() {
            spans.entry(lock.camera_id).or_default().push(Span { start: lock.start, end: lock.end });
        }
        Some(spans)
    }

    /// Adds a lock; it is on the disk when this returns, and footage that is there then stays. One of the same name
    /// changes nothing. The answer says whether it is new.
    ///
    /// # Errors
    /// There are too many, those that are kept are not understood, or the disk refused it: then nothing is locked.
    pub async fn lock(&self, id: &LockId, mut lock: Lock) -> Result<bool, LockError> {
        lock.reason.truncate(lock.reason.floor_char_boundary(MAX_REASON_BYTES));
        let _gate = self.gate().await;
        let mut locks = self.all().ok_or(LockError::Unknown)?;
        if locks.contains_key(id) {
            return Ok(false);
        }
        if locks.len() >= MAX_LOCKS {
            return Err(LockError::TooMany);
        }
        locks.insert(id.clone(), lock);
        self.keep(locks).await.map(|()| true)
    }

    /// Takes a lock away and gives it back; `None` when there is none of this name.
    ///
    /// # Errors
    /// Those that are kept are not understood, or the disk refused it: then the lock holds on.
    pub async fn unlock(&self, id: &LockId) -> Result<Option<Lock>, LockError> {
        let _gate = self.gate().await;
        let mut locks = self.all().ok_or(LockError::Unknown)?;
        let Some(lock) = locks.remove(id) else { return Ok(None) };
        self.keep(locks).await.map(|()| Some(lock))
    }

    /// While this is held, no lock comes or goes.
    pub(super) async fn gate(&self) -> MutexGuard<'_, ()> {
        self.inner.gate.lock().await
    }

    async fn keep(&self, locks: BTreeMap<LockId, Lock>) -> Result<(), LockError> {
        let (state, kept) = (self.inner.state.clone(), locks.clone());
        let put = tokio::task::spawn_blocking(move || state.put(Key::FootageLocks, &kept));
        put.await.map_err(|_| LockError::Thread)??;
        *self.inner.known.write().unwrap_or_else(PoisonError::into_inner) = Some(locks);
        Ok(())
    }
}

impl Lock {
    /// The lock as it is told to the cloud.
    #[must_use]
    pub fn told(&self, lock_id: LockId) -> Locked {
        Locked { lock_id, start: self.start, end: self.end, reason: self.reason.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(camera: &str, reason: &str) -> Lock {
        let at = UtcMillis::from_millis;
        Lock { camera_id: camera.parse().unwrap(), start: at(1000), end: at(2000), reason: reason.to_owned() }
    }

    fn id(number: usize) -> LockId {
        format!("lock{number}").parse().unwrap()
    }

    #[tokio::test]
    async fn locks_survive_a_restart_and_the_loss_of_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let locks = Locks::open(State::open(&state).unwrap().0);
        assert!(locks.lock(&id(1), lock("a", "theft")).await.unwrap());
        assert!(locks.lock(&id(2), lock("b", "")).await.unwrap());
        assert!(locks.unlock(&id(2)).await.unwrap().is_some());
        drop(locks);
        std::fs::remove_dir_all(&state).unwrap();
        let locks = Locks::open(State::open(&state).unwrap().0);
        assert_eq!(locks.all().unwrap(), BTreeMap::from([(id(1), lock("a", "theft"))]));
        assert_eq!(locks.spans().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn locking_twice_under_one_name_changes_nothing_and_so_does_unlocking_twice() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::open(State::open(dir.path().join("state")).unwrap().0);
        assert!(locks.lock(&id(1), lock("a", "first")).await.unwrap());
        assert!(!locks.lock(&id(1), lock("b", "second")).await.unwrap());
        assert_eq!(locks.all().unwrap()[&id(1)], lock("a", "first"));
        assert!(locks.unlock(&id(1)).await.unwrap().is_some());
        assert!(locks.unlock(&id(1)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn as_many_locks_as_are_allowed_fit_the_state_and_one_more_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path().join("state")).unwrap().0;
        let locks = Locks::open(state.clone());
        let longest = lock(&"c".repeat(64), &"ä".repeat(1000));
        let all = (0..MAX_LOCKS).map(|number| (format!("{number:064}").parse().unwrap(), longest.clone()));
        let mut all: BTreeMap<LockId, Lock> = all.collect();
        all.values_mut().for_each(|lock| lock.reason.truncate(MAX_REASON_BYTES));
        locks.keep(all).await.unwrap();
        assert!(matches!(locks.lock(&id(1), lock("a", "")).await, Err(LockError::TooMany)));
    }

    #[tokio::test]
    async fn locks_that_are_not_understood_are_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path().join("state")).unwrap().0;
        state.put(Key::FootageLocks, &"nonsense").unwrap();
        let locks = Locks::open(state.clone());
        assert_eq!(locks.spans(), None);
        assert!(matches!(locks.lock(&id(1), lock("a", "")).await, Err(LockError::Unknown)));
        assert!(matches!(locks.unlock(&id(1)).await, Err(LockError::Unknown)));
        assert_eq!(locks.spans(), None, "a new lock does not take the place of those that are there");
        assert_eq!(state.get::<String>(Key::FootageLocks).unwrap().as_deref(), Some("nonsense"));
    }
}
