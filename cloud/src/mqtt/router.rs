//! The fan-out of live messages: rumqttd's `Router` on its own thread, and one thread of ours that talks to it.
//!
//! Nothing here is a way to the database: the router loses messages of readers that fall behind, by design. All calls
//! that may block (`LinkBuilder::build`, every send) happen on our thread, in the order the orders came, so that no
//! async task ever waits for the router and a link is always gone before its id is used again. What the router must
//! never meet is kept from it here:
//!
//! - a link that asks to be woken after it was dropped panics the router: a [`Link`] sends `Disconnect` only when it
//!   can't ask any more;
//! - every distinct filter has its own log for ever: sessions use one filter per tenant ([`tenant_filter`]), and sort
//!   out by themselves what each subscription wants; edges have no link at all (`listeners.rs`);
//! - a dropped link is never unregistered by itself, see [`Link`]'s `Drop`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aivms_contract::id::TenantId;
use aivms_contract::topic::PREFIX;
use bytes::Bytes;
use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Notification, Router, RouterConfig};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Orders that wait for the router's thread, some milliseconds' worth. When full, live messages are dropped and
/// counted; attaching, subscribing, detaching and commands wait.
const ORDERS: usize = 4_096;
/// Messages the router hands to a slow reader at a time.
const MAX_OUTGOING: u64 = 200;
/// Log of one tenant's live messages: what a reader may be behind before it misses some.
const TENANT_LOG: (usize, usize) = (1024 * 1024, 4);
/// How often the router is asked whether it lives, so that its death is noticed on a quiet system too.
const TICK: Duration = Duration::from_secs(1);

/// The router of this process; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LiveRouter {
    orders: mpsc::Sender<Order>,
    dropped: Counter,
    /// Of [`Self::dropped`], those that have been told of.
    told: Arc<AtomicU64>,
    dead: CancellationToken,
}

/// One session's connection to the router; detaches when dropped.
pub(super) struct Link {
    rx: Option<LinkRx>,
    id: u64,
    /// `None` once the router's thread has taken the link back.
    orders: Option<mpsc::Sender<Order>>,
}

/// The router's thread has died; the program can't recover from that and should be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the router of live messages has stopped")]
pub(super) struct RouterDead;

enum Order {
    Attach { router_id: String, reply: oneshot::Sender<Link> },
    Subscribe { link: u64, filter: String },
    Detach { link: u64 },
    Publish { topic: String, payload: Bytes },
    Tick,
}

impl LiveRouter {
    /// Starts the two threads. They end when every clone and every link is gone.
    pub(super) fn start(max_links: usize) -> Self {
        let (orders, queue) = mpsc::channel(ORDERS);
        let dead = CancellationToken::new();
        let guard = dead.clone().drop_guard();
        let for_links = orders.downgrade();
        let thread = std::thread::Builder::new().name("live-router".into());
        let started = thread.spawn(move || carry_out(queue, for_links, max_links, &guard));
        if let Err(error) = started {
            // The guard has been dropped with the closure, so this shows as a dead router.
            tracing::error!(%error, "the thread of the live router can't be started");
        }
        Self { orders, dropped: Counter::default(), told: Arc::default(), dead }
    }

    /// Connects a session. `router_id` must be free, and should be the same on the next connection.
    pub(super) async fn attach(&self, router_id: String) -> Result<Link, RouterDead> {
        let (reply, attached) = oneshot::channel();
        self.orders.send(Order::Attach { router_id, reply }).await.map_err(|_| RouterDead)?;
        attached.await.map_err(|_| RouterDead)
    }

    /// Tells the readers of `topic`, or nobody when the router is busy: live messages are not worth waiting for.
    pub(super) fn publish_live(&self, topic: String, payload: Bytes) {
        if self.orders.try_send(Order::Publish { topic, payload }).is_err() {
            self.dropped.inc();
        }
    }

    /// Tells the readers of `topic`, in the order of calls.
    pub(super) async fn publish(&self, topic: String, payload: Bytes) -> Result<(), RouterDead> {
        self.orders.send(Order::Publish { topic, payload }).await.map_err(|_| RouterDead)
    }

    /// Live messages dropped since the last call, because the router was busy.
    pub(super) fn take_dropped(&self) -> u64 {
        let dropped = self.dropped.get();
        dropped - self.told.swap(dropped, Ordering::Relaxed).min(dropped)
    }

    /// Live messages dropped since the start, because the router was busy.
    pub(super) fn dropped(&self) -> Counter {
        self.dropped.clone()
    }

    /// Returns when the router has died.
    pub(super) async fn died(&self) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = self.dead.cancelled() => return,
                _ = ticks.tick() => drop(self.orders.try_send(Order::Tick)),
            }
        }
    }
}

/// The router's filter of everything of one tenant.
pub(super) fn tenant_filter(tenant: &TenantId) -> String {
    format!("{PREFIX}/{tenant}/#")
}

impl Link {
    /// Asks for messages that match `filter`; those published after this returns are received.
    pub(super) async fn subscribe(&self, filter: String) -> Result<(), RouterDead> {
        let orders = self.orders.as_ref().ok_or(RouterDead)?;
        orders.send(Order::Subscribe { link: self.id, filter }).await.map_err(|_| RouterDead)
    }

    /// Waits for the router; `None` means that there may be more now. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Notification>, RouterDead> {
        match &mut self.rx {
            Some(rx) => rx.next().await.map_err(|_| RouterDead),
            None => Err(RouterDead),
        }
    }

    /// Answers [`Notification::Unschedule`]; without it nothing comes any more. Must not be cancelled.
    pub(super) async fn wake(&self) -> Result<(), RouterDead> {
        match &self.rx {
            Some(rx) => rx.wake().await.map_err(|_| RouterDead),
            None => Err(RouterDead),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // First the side that could ask to be woken, then the connection it would ask for.
        self.rx = None;
        let Some(orders) = self.orders.take() else { return };
        if let Err(mpsc::error::TrySendError::Full(detach)) = orders.try_send(Order::Detach { link: self.id }) {
            // Outside a runtime the program is ending, and the router with it.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { orders.send(detach).await.map_err(drop) });
            }
        }
    }
}

/// The thread of ours: carries orders out until none can come any more or the router is dead.
fn carry_out(
    mut queue: mpsc::Receiver<Order>,
    for_links: mpsc::WeakSender<Order>,
    max_links: usize,
    _dead: &DropGuard,
) {
    let to_router = Router::new(0, config(max_links)).spawn();
    let connect = |router_id: &str| {
        let link = LinkBuilder::new(router_id, to_router.clone()).build();
        link.map(|(tx, rx, _)| (tx, rx)).map_err(|_| RouterDead)
    };
    let Ok((publisher, _kept)) = connect("publisher") else { return };
    let mut switchboard = Switchboard { connect, publisher, links: HashMap::new(), next_link: 0, for_links };
    while let Some(order) = queue.blocking_recv() {
        if switchboard.carry_out(order).is_err() {
            tracing::error!("{RouterDead}");
            return;
        }
    }
}

fn config(max_links: usize) -> RouterConfig {
    RouterConfig {
        // One more for the link that publishes.
        max_connections: max_links + 1,
        max_outgoing_packet_count: MAX_OUTGOING,
        max_segment_size: TENANT_LOG.0,
        max_segment_count: TENANT_LOG.1,
        ..RouterConfig::default()
    }
}

/// The sending halves of all links.
struct Switchboard<C> {
    /// Builds a link; the router's own sender has a type that can't be named.
    connect: C,
    publisher: LinkTx,
    links: HashMap<u64, LinkTx>,
    next_link: u64,
    for_links: mpsc::WeakSender<Order>,
}

impl<C: Fn(&str) -> Result<(LinkTx, LinkRx), RouterDead>> Switchboard<C> {
    /// Carries `order` out; every failure means that the router's thread is gone.
    fn carry_out(&mut self, order: Order) -> Result<(), RouterDead> {
        match order {
            Order::Attach { router_id, reply } => self.attach(&router_id, reply)?,
            Order::Subscribe { link, filter } => {
                if let Some(tx) = self.links.get_mut(&link) {
                    tx.subscribe(filter).map_err(|_| RouterDead)?;
                }
            }
            Order::Detach { link } => self.detach(link)?,
            Order::Publish { topic, payload } => {
                self.publisher.publish(topic, payload).map_err(|_| RouterDead)?;
            }
            // No filter matches it; only whether it can be sent counts.
            Order::Tick => drop(self.publisher.publish("tick", "tick").map_err(|_| RouterDead)?),
        }
        Ok(())
    }

    fn attach(&mut self, router_id: &str, reply: oneshot::Sender<Link>) -> Result<(), RouterDead> {
        let (tx, rx) = (self.connect)(router_id)?;
        self.next_link += 1;
        self.links.insert(self.next_link, tx);
        let link = Link { rx: Some(rx), id: self.next_link, orders: self.for_links.upgrade() };
        match reply.send(link) {
            Ok(()) => Ok(()),
            // The session gave up waiting. This thread must not wait for its own queue, so it detaches here.
            Err(mut unwanted) => {
                unwanted.orders = None;
                self.detach(unwanted.id)
            }
        }
    }

    fn detach(&mut self, link: u64) -> Result<(), RouterDead> {
        let Some(mut tx) = self.links.remove(&link) else { return Ok(()) };
        let reason = Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection };
        // Async in name only: it blocks inside and is done at the first poll.
        match tx.send(Packet::Disconnect(reason, None)).now_or_never() {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(RouterDead),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn payload(link: &mut Link) -> Bytes {
        loop {
            match link.next().await.unwrap() {
                Some(Notification::Forward(forward)) => return forward.publish.payload,
                Some(Notification::Unschedule) => link.wake().await.unwrap(),
                _ => {}
            }
        }
    }

    async fn subscriber(router: &LiveRouter, id: &str, tenant: &str) -> Link {
        let link = router.attach(id.into()).await.unwrap();
        link.subscribe(tenant_filter(&tenant.parse().unwrap())).await.unwrap();
        link
    }

    #[tokio::test]
    async fn what_is_published_after_a_subscription_reaches_its_readers_only() {
        let router = LiveRouter::start(10);
        let mut acme = subscriber(&router, "acme.operator.a.0", "acme").await;
        let mut beta = subscriber(&router, "beta.operator.a.0", "beta").await;
        router.publish("aivms/v1/acme/edge_a/up/status".into(), "A".into()).await.unwrap();
        router.publish("aivms/v1/beta/edge_a/up/status".into(), "B".into()).await.unwrap();
        assert_eq!(payload(&mut acme).await, "A");
        assert_eq!(payload(&mut beta).await, "B");
    }

    #[tokio::test]
    async fn a_reader_gets_far_more_than_one_buffer_in_order() {
        let router = LiveRouter::start(10);
        let mut link = subscriber(&router, "acme.operator.a.0", "acme").await;
        for n in 0..5_000 {
            router.publish("aivms/v1/acme/edge_a/up/status".into(), n.to_string().into()).await.unwrap();
        }
        for n in 0..5_000 {
            assert_eq!(payload(&mut link).await, n.to_string());
        }
    }

    #[tokio::test]
    async fn links_come_and_go_under_load_without_filling_or_stopping_the_router() {
        let router = LiveRouter::start(4);
        for round in 0..200 {
            let mut link = subscriber(&router, "acme.operator.a.0", "acme").await;
            for n in 0..300 {
                router.publish("aivms/v1/acme/edge_a/up/status".into(), n.to_string().into()).await.unwrap();
            }
            // Left in the middle of a burst, at a different place each time.
            for _ in 0..round {
                payload(&mut link).await;
            }
        }
        let mut link = subscriber(&router, "acme.operator.a.0", "acme").await;
        router.publish("aivms/v1/acme/edge_a/up/status".into(), "last".into()).await.unwrap();
        while payload(&mut link).await != "last" {}
        assert!(!router.dead.is_cancelled());
        assert_eq!(router.take_dropped(), 0);
    }
}
