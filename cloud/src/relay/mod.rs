//! Live view and playback: the hubs of all edges, between the WebSockets of edges and those of browsers.
//!
//! What happens is decided in [`aivms_cloud_core::relay`]; here are the lock around it, those who wait, and time. An
//! edge that is needed and not there is called over MQTT ([`Calls`]); it opens its WebSocket then. Nobody waits while
//! holding a lock, and every queue is bounded by the core.
//!
//! Of several processes one has the hub of an edge (`homes`); the others pass on to it.

mod calls;
mod edge;
mod homes;
mod tickets;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aivms_cloud_core::relay::ViewerId;
use aivms_contract::id::{EdgeId, TenantId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Registry, sampled};
use crate::servers::Links;
use crate::store::{EdgeKey, Fingerprint, SharedStore};

pub use calls::Calls;
pub(crate) use edge::{EdgeHub, Seat, Viewing};
pub(crate) use homes::Reached;
pub(crate) use tickets::{LIFETIME as TICKET_LIFETIME, SEALED_FOR_TICKETS, Ticket, Tickets};

/// One edge of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) tenant: TenantId,
    pub(crate) edge: EdgeId,
    pub(crate) key: EdgeKey,
}

/// The hubs of all edges somebody looks at; cheap to clone.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    hubs: Mutex<HashMap<Place, Arc<EdgeHub>>>,
    tickets: Tickets,
    store: SharedStore,
    /// To other processes, where they are.
    links: Option<Links>,
    caller: calls::Caller,
    stop: CancellationToken,
}

impl Relay {
    /// Makes the pair; the hubs end with `stop`. Without `links` every hub is in this process.
    pub(crate) fn new(
        store: SharedStore,
        tickets: Tickets,
        links: Option<Links>,
        stop: CancellationToken,
    ) -> (Self, Calls) {
        let (caller, calls) = calls::channel();
        let inner = Inner { hubs: Mutex::default(), tickets, store, links, caller, stop };
        (Self { inner: Arc::new(inner) }, calls)
    }

    /// Cuts the WebSockets of edges that use one of these certificates, and everybody who looks through them. Called
    /// after the certificates were withdrawn in the store; a WebSocket that is being set up asks the store again
    /// after it is entered, which closes the race.
    pub fn end(&self, certificates: &[Fingerprint]) {
        let hubs: Vec<_> = self.hubs().values().cloned().collect();
        hubs.iter().for_each(|hub| hub.end(certificates));
    }

    /// Names the figures of this process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let relay = self.clone();
        let help = "Edges whose live video or playback somebody watches";
        let edges = move || i64::try_from(relay.hubs().len()).unwrap_or(i64::MAX);
        sampled(registry, "aivms_relay_edges", help, edges);
        let relay = self.clone();
        let viewers = move || relay.hubs().values().map(|hub| hub.viewers()).sum::<usize>();
        let help = "Streams of live video and playback that somebody watches";
        sampled(registry, "aivms_relay_streams", help, move || i64::try_from(viewers()).unwrap_or(i64::MAX));
    }

    /// The tickets of browsers.
    pub(crate) fn tickets(&self) -> &Tickets {
        &self.inner.tickets
    }

    /// The hub of an edge. It ends by itself when nobody needs it.
    pub(crate) fn hub(&self, place: &Place) -> Arc<EdgeHub> {
        let mut hubs = self.hubs();
        if let Some(hub) = hubs.get(place) {
            return Arc::clone(hub);
        }
        let hub = Arc::new(EdgeHub::new(place.clone(), self.inner.caller.clone()));
        hubs.insert(place.clone(), Arc::clone(&hub));
        let (relay, driven) = (self.clone(), Arc::clone(&hub));
        tokio::spawn(async move {
            tokio::select! {
                () = relay.inner.stop.cancelled() => {}
                () = driven.drive(&relay) => {}
            }
        });
        hub
    }

    /// Drops a hub that nobody needs or holds; false when somebody does.
    fn dropped_idle(&self, hub: &Arc<EdgeHub>) -> bool {
        let mut hubs = self.hubs();
        // Held by the list and by the task that drives it.
        let idle = Arc::strong_count(hub) <= 2 && hub.is_idle();
        if idle {
            hubs.remove(hub.place());
        }
        idle
    }

    /// A panic elsewhere never makes the list unusable: every change to it is complete.
    fn hubs(&self) -> MutexGuard<'_, HashMap<Place, Arc<EdgeHub>>> {
        self.inner.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who wait for frames.
#[derive(Debug, Default)]
struct Waiters(HashMap<ViewerId, Arc<Notify>>);

impl Waiters {
    fn wake_all(&self) {
        self.0.values().for_each(|waiter| waiter.notify_one());
    }
}
