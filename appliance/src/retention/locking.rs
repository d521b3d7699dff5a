//! The commands that lock and unlock footage.

use aivms_contract::envelope::Body;
use aivms_contract::footage::{Footage as Report, FootageEvent};
use aivms_contract::id::{CameraId, LockId};
use serde_json::{Map, Value};

use super::locks::{Lock, Locks};
use crate::chain::Chain;
use crate::clock;
use crate::outbox::Outbox;
use crate::recorder::Footage;

/// Carries out what is ordered about locks. Every order may be given twice.
#[derive(Clone)]
pub struct Locking {
    /// What is locked.
    pub locks: Locks,
    /// What there is to lock.
    pub footage: Footage,
    /// Where locks are entered.
    pub chain: Chain,
    /// Where they are told.
    pub outbox: Outbox,
}

impl Locking {
    /// Locks a span. The answer says what it holds and costs: `bytes`, `recorded_ms` and `missing_ms` of the span.
    ///
    /// # Errors
    /// In words: the lock can't be kept, and nothing is locked.
    pub async fn lock(&self, id: LockId, lock: Lock) -> Result<Map<String, Value>, String> {
        let is_new = self.locks.lock(&id, lock).await.map_err(|error| error.to_string())?;
        // One of the same name holds as it was made first.
        let kept = self.locks.all().and_then(|mut locks| locks.remove(&id));
        let lock = kept.ok_or("the lock was taken away meanwhile")?;
        if is_new {
            let told = lock.told(id.clone());
            if let Err(error) = self.chain.locked(&lock.camera_id, told.clone()).await {
                tracing::warn!(%error, lock.id = id.as_str(), "a lock is not in the chain");
            }
            self.tell(lock.camera_id.clone(), FootageEvent::Locked(told)).await;
        }
        Ok(self.held(&lock))
    }

    /// Takes a lock away; there may be none.
    ///
    /// # Errors
    /// In words: the lock holds on.
    pub async fn unlock(&self, id: LockId) -> Result<Map<String, Value>, String> {
        let lock = self.locks.unlock(&id).await.map_err(|error| error.to_string())?;
        if let Some(lock) = &lock {
            if let Err(error) = self.chain.unlocked(&lock.camera_id, id.clone()).await {
                tracing::warn!(%error, lock.id = id.as_str(), "the end of a lock is not in the chain");
            }
            self.tell(lock.camera_id.clone(), FootageEvent::Unlocked { lock_id: id }).await;
        }
        Ok(Map::from_iter([("was_locked".to_owned(), lock.is_some().into())]))
    }

    fn held(&self, lock: &Lock) -> Map<String, Value> {
        let segments = self.footage.summaries(&lock.camera_id);
        let held = segments.iter().filter(|segment| segment.start < lock.end && lock.start < segment.end);
        let (mut bytes, mut recorded_ms) = (0u64, 0u64);
        for segment in held {
            let within = segment.end.min(lock.end).since(segment.start.max(lock.start));
            bytes = bytes.saturating_add(segment.bytes);
            recorded_ms = recorded_ms.saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        }
        let whole_ms = u64::try_from(lock.end.since(lock.start).as_millis()).unwrap_or(u64::MAX);
        let missing_ms = whole_ms.saturating_sub(recorded_ms);
        let fields = [("bytes", bytes), ("recorded_ms", recorded_ms), ("missing_ms", missing_ms)];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    async fn tell(&self, camera_id: CameraId, event: FootageEvent) {
        let report = Report { camera_id, timestamp: clock::now(), event };
        if let Err(error) = self.outbox.append(Body::Footage(report)).await
            && !error.waits()
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "a lock is in force and the cloud is not told");
        }
    }
}
