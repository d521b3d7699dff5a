//! The edges that listen on this process now, and what they have been told.
//!
//! Commands go through the router, so that operators who watch see them. A desired document holds the passwords of
//! cameras: it goes straight to its session, and whoever watches sees a copy without them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aivms_contract::desired::Desired;
use aivms_contract::id::{CommandId, EdgeId, TenantId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::store::EdgeKey;

/// After this an edge that has not answered a command is told again, on the same connection: its own queue may have
/// been full.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The listening edges; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Listeners {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    numbers: AtomicU64,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    edges: HashMap<EdgeKey, Listener>,
    arrived: Vec<EdgeKey>,
}

#[derive(Debug)]
struct Listener {
    number: u64,
    tenant: TenantId,
    edge: EdgeId,
    desired: watch::Sender<Option<Arc<Desired>>>,
    told: HashMap<CommandId, Instant>,
}

/// A session's place among the listeners; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Listening {
    listeners: Listeners,
    key: EdgeKey,
    number: u64,
    desired: watch::Receiver<Option<Arc<Desired>>>,
}

impl Listeners {
    /// Enters an edge whose session has subscribed to what it is told.
    pub(super) fn enter(&self, key: EdgeKey, tenant: &TenantId, edge: &EdgeId) -> Listening {
        let number = self.inner.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, desired) = watch::channel(None);
        let (tenant, edge) = (tenant.clone(), edge.clone());
        let mut state = self.state();
        state.edges.insert(key, Listener { number, tenant, edge, desired: sender, told: HashMap::new() });
        state.arrived.push(key);
        drop(state);
        self.inner.arrived.notify_one();
        Listening { listeners: self.clone(), key, number, desired }
    }

    /// Waits for edges that have begun to listen. Cancelling loses nothing.
    pub(super) async fn arrived(&self) -> Vec<EdgeKey> {
        loop {
            let arrived = std::mem::take(&mut self.state().arrived);
            if !arrived.is_empty() {
                return arrived;
            }
            self.inner.arrived.notified().await;
        }
    }

    /// Whether an edge listens.
    pub(super) fn contains(&self, key: EdgeKey) -> bool {
        self.state().edges.contains_key(&key)
    }

    /// Who the edge is and which of `open` it is to be told now; what is not open any more is forgotten.
    pub(super) fn due(
        &self,
        key: EdgeKey,
        open: &[CommandId],
        now: Instant,
    ) -> Option<(TenantId, EdgeId, Vec<CommandId>)> {
        let mut state = self.state();
        let listener = state.edges.get_mut(&key)?;
        listener.told.retain(|id, _| open.contains(id));
        let is_due = |id: &&CommandId| listener.told.get(*id).is_none_or(|told| now - *told >= TELL_AGAIN);
        let due: Vec<CommandId> = open.iter().filter(is_due).cloned().collect();
        listener.told.extend(due.iter().map(|id| (id.clone(), now)));
        Some((listener.tenant.clone(), listener.edge.clone(), due))
    }

    /// Hands an edge's session a document that it has not had on this connection.
    pub(super) fn offer(&self, key: EdgeKey, document: Desired) {
        let state = self.state();
        let Some(listener) = state.edges.get(&key) else { return };
        listener.desired.send_if_modified(|known| {
            let is_new = known.as_ref().is_none_or(|known| known.version < document.version);
            if is_new {
                *known = Some(Arc::new(document));
            }
            is_new
        });
    }

    /// A panic elsewhere never makes the list unusable: every change to it is complete.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Waits for the next document; for ever without a place. Cancelling loses nothing.
    pub(super) async fn next(this: &mut Option<Self>) -> Arc<Desired> {
        let Some(listening) = this else { return std::future::pending().await };
        loop {
            if listening.desired.changed().await.is_err() {
                // A newer session of the edge has taken the place; this one is about to end.
                return std::future::pending().await;
            }
            if let Some(document) = listening.desired.borrow_and_update().clone() {
                return document;
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.listeners.state();
        if state.edges.get(&self.key).is_some_and(|listener| listener.number == self.number) {
            state.edges.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::desired::{Cameras, Settings};

    const KEY: EdgeKey = EdgeKey(7);

    fn enter(listeners: &Listeners) -> Listening {
        listeners.enter(KEY, &"acme".parse().unwrap(), &"edge_a".parse().unwrap())
    }

    fn ids(ids: &[&str]) -> Vec<CommandId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn document(version: u64) -> Desired {
        Desired { version, cameras: Cameras::default(), settings: Settings::default() }
    }

    #[test]
    fn a_command_is_told_once_on_a_connection_and_again_when_no_answer_comes() {
        let listeners = Listeners::default();
        let _listening = enter(&listeners);
        let began = Instant::now();
        let due = |open: &[&str], at| listeners.due(KEY, &ids(open), at).unwrap().2;
        assert_eq!(due(&["a", "b"], began), ids(&["a", "b"]));
        assert_eq!(due(&["a", "b", "c"], began), ids(&["c"]));
        assert_eq!(due(&["b", "c"], began + TELL_AGAIN), ids(&["b", "c"]));
    }

    #[tokio::test]
    async fn a_new_connection_is_told_everything_that_is_open() {
        let listeners = Listeners::default();
        let first = enter(&listeners);
        listeners.due(KEY, &ids(&["a"]), Instant::now()).unwrap();
        let second = enter(&listeners);
        drop(first);
        assert!(listeners.contains(KEY), "the older session leaves without the newer's place");
        assert_eq!(listeners.due(KEY, &ids(&["a"]), Instant::now()).unwrap().2, ids(&["a"]));
        assert_eq!(listeners.arrived().await, [KEY, KEY]);
        drop(second);
        assert!(listeners.due(KEY, &ids(&["a"]), Instant::now()).is_none() && !listeners.contains(KEY));
    }

    #[tokio::test]
    async fn only_newer_documents_are_handed_over_and_only_the_newest_waits() {
        let listeners = Listeners::default();
        let mut listening = Some(enter(&listeners));
        for version in [1, 3, 2] {
            listeners.offer(KEY, document(version));
        }
        assert_eq!(Listening::next(&mut listening).await.version, 3);
        listeners.offer(KEY, document(3));
        let waiting = tokio::time::timeout(Duration::from_millis(50), Listening::next(&mut listening));
        assert!(waiting.await.is_err());
    }
}
