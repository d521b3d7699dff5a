//! The edges that listen on this process now, and what they have been told.
//!
//! What an edge is told goes straight to its session, so that thousands of idle edges cost the router nothing. Whoever
//! watches sees commands as they are, and desired documents without the passwords of cameras.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aivms_contract::desired::Desired;
use aivms_contract::id::{CommandId, EdgeId, TenantId};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::store::EdgeKey;

/// After this an edge that has not answered a command is told again, on the same connection: its own queue may have
/// been full.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Commands that wait for a session to send them; more are told again later.
const WAITING: usize = 256;

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
    /// The same by their ids, which are unique over all tenants.
    keys: HashMap<EdgeId, EdgeKey>,
    arrived: Vec<EdgeKey>,
}

#[derive(Debug)]
struct Listener {
    number: u64,
    tenant: TenantId,
    edge: EdgeId,
    commands: mpsc::Sender<Bytes>,
    desired: watch::Sender<Option<Arc<Desired>>>,
    told: HashMap<CommandId, Instant>,
}

/// A session's place among the listeners; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Listening {
    listeners: Listeners,
    key: EdgeKey,
    number: u64,
    edge: EdgeId,
    commands: mpsc::Receiver<Bytes>,
    desired: watch::Receiver<Option<Arc<Desired>>>,
}

/// What an edge is told by its session.
#[derive(Debug)]
pub(super) enum Order {
    /// A command, in JSON.
    Command(Bytes),
    /// What it shall be.
    Desired(Arc<Desired>),
}

impl Listeners {
    /// Enters an edge whose session has subscribed to what it is told.
    pub(super) fn enter(&self, key: EdgeKey, tenant: &TenantId, edge: &EdgeId) -> Listening {
        let number = self.inner.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, desired) = watch::channel(None);
        let (order, commands) = mpsc::channel(WAITING);
        let listener = Listener {
            number,
            tenant: tenant.clone(),
            edge: edge.clone(),
            commands: order,
            desired: sender,
            told: HashMap::new(),
        };
        let mut state = self.state();
        state.edges.insert(key, listener);
        state.keys.insert(edge.clone(), key);
        state.arrived.push(key);
        drop(state);
        self.inner.arrived.notify_one();
        Listening { listeners: self.clone(), key, number, edge: edge.clone(), commands, desired }
    }

    /// Hands a command to the session of the tenant's edge, if it listens here. Commands arrive in the order of calls;
    /// one for which there is no room is told again later.
    pub(super) fn command(&self, tenant: &TenantId, edge: &EdgeId, command: Bytes) {
        let state = self.state();
        let listener = state.keys.get(edge).and_then(|key| state.edges.get(key));
        let Some(listener) = listener.filter(|listener| listener.tenant == *tenant) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = listener.commands.try_send(command) {
            tracing::warn!(%tenant, edge.id = %edge, "an edge takes no more commands for now");
        }
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

    /// Who the edge is, if it listens.
    pub(super) fn identity(&self, key: EdgeKey) -> Option<(TenantId, EdgeId)> {
        self.state().edges.get(&key).map(|listener| (listener.tenant.clone(), listener.edge.clone()))
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
    /// Waits for the next order; for ever without a place. Cancelling loses nothing.
    pub(super) async fn next(this: &mut Option<Self>) -> Order {
        let Some(listening) = this else { return std::future::pending().await };
        loop {
            tokio::select! {
                // First what it should be: a command may be about a camera of the newest document.
                biased;
                Ok(()) = listening.desired.changed() => {
                    if let Some(document) = listening.desired.borrow_and_update().clone() {
                        return Order::Desired(document);
                    }
                }
                Some(command) = listening.commands.recv() => return Order::Command(command),
                // A newer session of the edge has taken the place; this one is about to end.
                else => return std::future::pending().await,
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.listeners.state();
        if state.edges.get(&self.key).is_some_and(|listener| listener.number == self.number) {
            state.edges.remove(&self.key);
            state.keys.remove(&self.edge);
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
        assert!(matches!(Listening::next(&mut listening).await, Order::Desired(document) if document.version == 3));
        listeners.offer(KEY, document(3));
        let waiting = tokio::time::timeout(Duration::from_millis(50), Listening::next(&mut listening));
        assert!(waiting.await.is_err());
    }

    #[tokio::test]
    async fn commands_reach_the_newest_session_of_their_edge_in_order_and_of_its_tenant_only() {
        let listeners = Listeners::default();
        let (tenant, edge) = ("acme".parse().unwrap(), "edge_a".parse().unwrap());
        let older = enter(&listeners);
        let mut listening = Some(enter(&listeners));
        drop(older);
        listeners.command(&"rival".parse().unwrap(), &edge, "foreign".into());
        for n in 0..2 * WAITING {
            listeners.command(&tenant, &edge, n.to_string().into());
        }
        for n in 0..WAITING {
            let Order::Command(command) = Listening::next(&mut listening).await else { panic!("no command") };
            assert_eq!(command, n.to_string());
        }
        let waiting = tokio::time::timeout(Duration::from_millis(50), Listening::next(&mut listening));
        assert!(waiting.await.is_err(), "what found no room is not there");
    }
}
