//! Who is connected now, and the way to end a connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aivms_contract::id::TenantId;
use aivms_contract::identity::{Identity, Role};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use crate::store::{EdgeKey, Fingerprint};

/// Most connections one operator may have at once; each has a place in the router that is used again.
pub(super) const OPERATOR_SESSIONS: usize = 10;
/// So many take-overs of one edge within [`TAKE_OVER_PERIOD`] mean two boxes with the same identity: a box that
/// reconnects after a network failure takes over from itself once.
const TAKE_OVER_ALARM: u32 = 3;
const TAKE_OVER_PERIOD: Duration = Duration::from_secs(600);

/// The live MQTT sessions of this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Says to every session that it should look soon whether it still counts.
    again: watch::Sender<()>,
    take_overs: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: HashMap<Place, Live>,
    /// Places of the edges among them.
    edges: HashMap<EdgeKey, Place>,
    /// Shared by all sessions of an identity, so that more connections give no more room.
    budgets: HashMap<Identity, Weak<Budget>>,
    watchers: HashMap<TenantId, Weak<AtomicUsize>>,
    take_overs: HashMap<Identity, (Instant, u32)>,
}

/// What can be connected once: an edge, or one client id of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    identity: Identity,
    client_id: Option<String>,
}

#[derive(Debug)]
struct Live {
    generation: u64,
    edge: Option<EdgeKey>,
    fingerprint: Fingerprint,
    router_slot: usize,
    control: Arc<Control>,
}

/// Signals between a session and those that end it.
#[derive(Debug, Default)]
struct Control {
    reason: Mutex<Option<EndReason>>,
    end: CancellationToken,
    ended: CancellationToken,
}

/// Why a session was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// A newer connection of the same identity.
    TakenOver,
    /// The certificate no longer counts.
    Revoked,
    /// The program ends.
    Shutdown,
}

/// A new connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// Its edge; `None` for an operator.
    pub(crate) edge: Option<EdgeKey>,
    /// Its number, higher than those of all earlier ones of every process.
    pub(crate) generation: u64,
}

/// Why a connection is not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSeat {
    /// An operator has [`OPERATOR_SESSIONS`].
    #[error("this operator has too many connections")]
    TooMany,
    /// A connection that was made later has been entered before.
    #[error("a newer connection of the same identity is here")]
    NewerIsHere,
}

/// A session's entry in the list; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    sessions: Sessions,
    place: Place,
    router_slot: usize,
    control: Arc<Control>,
    previous: Option<Arc<Control>>,
    /// Rises with each connection that any process makes.
    pub(super) generation: u64,
    /// What the identity may still send.
    pub(super) budget: Arc<Budget>,
    /// Sessions of the tenant that read live messages.
    pub(super) watchers: Arc<AtomicUsize>,
}

impl Sessions {
    /// Ends every session that uses one of these certificates. Called after the certificates were withdrawn in the
    /// store; a session that was being set up checks the store again after entering the list, which closes the race.
    pub fn end(&self, certificates: &[Fingerprint]) {
        for live in self.state().live.values().filter(|live| certificates.contains(&live.fingerprint)) {
            live.control.end(EndReason::Revoked);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().live.len()
    }

    /// How often a connection of an identity was replaced by a newer one since the program started.
    #[must_use]
    pub fn take_overs(&self) -> u64 {
        self.inner.take_overs.load(Ordering::Relaxed)
    }

    /// Ends the session of an edge that has made a newer connection, on whichever process.
    pub(crate) fn end_older(&self, edge: EdgeKey, generation: u64) {
        let state = self.state();
        let live = state.edges.get(&edge).and_then(|place| state.live.get(place));
        if let Some(live) = live.filter(|live| live.generation < generation) {
            live.control.end(EndReason::TakenOver);
            self.inner.take_overs.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has every session look soon whether its certificate still counts.
    pub(crate) fn check_again(&self) {
        self.inner.again.send_replace(());
    }

    /// Shows the sessions of edges while none of them can leave the list.
    pub(super) fn for_each_edge(&self, mut show: impl FnMut(EdgeKey, u64)) {
        let state = self.state();
        state.live.values().filter_map(|live| Some((live.edge?, live.generation))).for_each(|(e, g)| show(e, g));
    }

    pub(super) fn end_all(&self) {
        self.state().live.values().for_each(|live| live.control.end(EndReason::Shutdown));
    }

    /// Enters a session. An edge has one, and so has each client id of an operator: the newer one stays, the older is
    /// told to end.
    pub(crate) fn enter(
        &self,
        identity: &Identity,
        client_id: &str,
        fingerprint: Fingerprint,
        connection: Connection,
    ) -> Result<Seat, NoSeat> {
        let client_id = match &identity.role {
            Role::Edge(_) => None,
            Role::Operator(_) => Some(client_id.to_owned()),
        };
        let place = Place { identity: identity.clone(), client_id };
        let Connection { edge, generation } = connection;
        let mut state = self.state();
        let router_slot = match state.live.get(&place) {
            Some(previous) if previous.generation > generation => return Err(NoSeat::NewerIsHere),
            Some(previous) => previous.router_slot,
            None => state.free_slot(identity).ok_or(NoSeat::TooMany)?,
        };
        let control = Arc::new(Control::default());
        let live = Live { generation, edge, fingerprint, router_slot, control: Arc::clone(&control) };
        let previous = state.live.insert(place.clone(), live).map(|previous| previous.control);
        if let Some(edge) = edge {
            state.edges.insert(edge, place.clone());
        }
        if let Some(previous) = &previous {
            previous.end(EndReason::TakenOver);
            self.inner.take_overs.fetch_add(1, Ordering::Relaxed);
            state.note_take_over(identity);
        }
        let budget = shared(&mut state.budgets, identity, || Budget::of(identity));
        let watchers = shared(&mut state.watchers, &identity.tenant, AtomicUsize::default);
        let sessions = self.clone();
        Ok(Seat { sessions, place, router_slot, control, previous, generation, budget, watchers })
    }

    /// A panic elsewhere never makes the list unusable: every change to it is complete.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn free_slot(&self, identity: &Identity) -> Option<usize> {
        let taken: Vec<_> =
            self.live.iter().filter(|(place, _)| place.identity == *identity).map(|(_, l)| l.router_slot).collect();
        (0..OPERATOR_SESSIONS).find(|slot| !taken.contains(slot))
    }

    fn note_take_over(&mut self, identity: &Identity) {
        let now = Instant::now();
        self.take_overs.retain(|_, (since, _)| now - *since < TAKE_OVER_PERIOD);
        let (_, count) = self.take_overs.entry(identity.clone()).or_insert((now, 0));
        *count += 1;
        if *count >= TAKE_OVER_ALARM && matches!(identity.role, Role::Edge(_)) {
            tracing::warn!(
                %identity,
                take_overs = *count,
                "this edge keeps replacing its own connection: is its disk in use in two boxes? Rotate its secret"
            );
        }
    }
}

/// The value all holders of `key` share; dropped with the last of them.
fn shared<K: Clone + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, Weak<V>>,
    key: &K,
    make: impl FnOnce() -> V,
) -> Arc<V> {
    if let Some(value) = map.get(key).and_then(Weak::upgrade) {
        return value;
    }
    map.retain(|_, value| value.strong_count() > 0);
    let value = Arc::new(make());
    map.insert(key.clone(), Arc::downgrade(&value));
    value
}

impl Control {
    fn end(&self, reason: EndReason) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.end.cancel();
    }
}

impl Seat {
    /// An operator's name in the router: the same on the next connection, because the router remembers every name.
    /// An edge has none: it hears nothing of others.
    pub(super) fn router_id(&self) -> Option<String> {
        let Identity { tenant, role } = &self.place.identity;
        match role {
            Role::Edge(_) => None,
            Role::Operator(operator) => Some(format!("{tenant}.operator.{operator}.{}", self.router_slot)),
        }
    }

    /// Waits until the session this one replaces has ended and, an operator's, has left the router.
    pub(super) async fn wait_for_previous(&mut self) {
        if let Some(previous) = &self.previous {
            previous.ended.cancelled().await;
            self.previous = None;
        }
    }

    /// Whether the session is told to end.
    pub(super) fn is_told_to_end(&self) -> bool {
        self.control.end.is_cancelled()
    }

    /// Changes when the session should look whether it still counts.
    pub(super) fn again(&self) -> watch::Receiver<()> {
        self.sessions.inner.again.subscribe()
    }

    /// Waits until the session is told to end.
    pub(crate) async fn told_to_end(&self) -> EndReason {
        self.control.end.cancelled().await;
        self.control.reason.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(EndReason::Shutdown)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.sessions.state();
        if state.live.get(&self.place).is_some_and(|live| live.generation == self.generation) {
            let edge = state.live.remove(&self.place).and_then(|live| live.edge);
            edge.map(|edge| state.edges.remove(&edge));
        }
        drop(state);
        match (self.previous.take(), tokio::runtime::Handle::try_current()) {
            // Gave up before the one it replaces had left the router: who waits for this one waits for that one too.
            (Some(previous), Ok(runtime)) => {
                let control = Arc::clone(&self.control);
                runtime.spawn(async move {
                    previous.ended.cancelled().await;
                    control.ended.cancel();
                });
            }
            _ => self.control.ended.cancel(),
        }
    }
}

#[cfg(test)]
mod tests;
