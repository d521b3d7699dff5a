//! Accepts, and does nothing else: each connection has its own task, which may hang, fail or panic alone.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::figures::FrontFigures;
use super::identity::claim;
use super::proxy::{Announced, announced};
use super::{Front, FrontError, FrontLimits, Shared, connect, now, tls};
use crate::ca::CertificateAuthority;
use crate::network::{Proxies, network};

/// How long a proxy may take to say who is there; it has it ready when it connects.
const ANNOUNCEMENT_TIME: Duration = Duration::from_secs(2);
/// How long a client may take for the TLS handshake. The CONNECT packet has as long again.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Pause after the system refused to accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often refused connections are summed up in the log, so that a flood of them does not flood it.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Failed handshakes shown one by one in that time: enough to see why a box does not get in.
const SHOWN_FAILURES: u64 = 10;
/// How long sessions may take to end when the program does.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Connections that have not become sessions yet, and those that never did.
#[derive(Debug)]
struct Gate {
    limits: FrontLimits,
    /// Proxies of ours, which say by the PROXY protocol who is there.
    proxies: Proxies,
    unfinished: Mutex<HashMap<IpAddr, usize>>,
    /// Since the last report.
    turned_away: AtomicU64,
    /// Since the last report.
    failed: AtomicU64,
    figures: FrontFigures,
}

/// A place among the unfinished connections; free again when dropped.
pub(super) struct Ticket {
    gate: Arc<Gate>,
    address: IpAddr,
}

/// The TLS configuration in use, and when to make the next.
struct CurrentTls {
    ca: Arc<CertificateAuthority>,
    names: Vec<String>,
    config: ArcSwap<ServerConfig>,
    renew_at: Instant,
}

/// Serves until `shutdown`.
pub(super) async fn serve(front: Front, shutdown: CancellationToken) -> Result<(), FrontError> {
    let Front { listener, settings, limits, ca, shared, figures, .. } = front;
    let mut tls = CurrentTls::new(ca, settings.server_names)?;
    let (gate, tasks, router) =
        (Arc::new(Gate::new(limits, settings.proxies, figures)), TaskTracker::new(), shared.router.clone());
    let mut died = pin!(router.died());
    let mut report = tokio::time::interval(REPORT_EVERY);
    let served = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => gate.admit(stream, peer, &tasks, tls.config.load_full(), &shared),
                Err(error) => {
                    tracing::warn!(%error, "MQTT: the system refuses connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = tokio::time::sleep_until(tls.renew_at) => tls.renew(),
            _ = report.tick() => gate.report(shared.router.take_dropped()),
            () = &mut died => break Err(FrontError::Router),
            () = shutdown.cancelled() => break Ok(()),
        }
    };
    drop(listener);
    close_all(&tasks, &shared).await;
    served
}

/// Ends every session, also those that only now become one.
async fn close_all(tasks: &TaskTracker, shared: &Shared) {
    tasks.close();
    let ended = tokio::time::timeout(CLOSING_TIME, async {
        while !tasks.is_empty() {
            shared.sessions.end_all();
            let _ = tokio::time::timeout(Duration::from_millis(100), tasks.wait()).await;
        }
    });
    if ended.await.is_err() {
        tracing::warn!(sessions = shared.sessions.count(), "MQTT sessions did not end in time");
    }
}

impl CurrentTls {
    fn new(ca: Arc<CertificateAuthority>, names: Vec<String>) -> Result<Self, FrontError> {
        let first = tls::server_tls(&ca, &names, now())?;
        Ok(Self { ca, names, config: ArcSwap::new(first.config), renew_at: two_thirds_to(first.not_after) })
    }

    /// Takes a new certificate for the connections to come.
    fn renew(&mut self) {
        match tls::server_tls(&self.ca, &self.names, now()) {
            Ok(renewed) => {
                self.renew_at = two_thirds_to(renewed.not_after);
                self.config.store(renewed.config);
            }
            Err(error) => {
                tracing::error!(%error, "the server's certificate can't be renewed");
                self.renew_at = Instant::now() + REPORT_EVERY;
            }
        }
    }
}

fn two_thirds_to(end: UtcMillis) -> Instant {
    Instant::now() + end.since(now()).mul_f64(2.0 / 3.0)
}

impl Gate {
    fn new(limits: FrontLimits, proxies: Proxies, figures: FrontFigures) -> Self {
        let (turned_away, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { limits, proxies, unfinished: Mutex::default(), turned_away, failed, figures }
    }

    /// Starts the task of a connection, or closes it when there are too many like it.
    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        tasks: &TaskTracker,
        config: Arc<ServerConfig>,
        shared: &Arc<Shared>,
    ) {
        // A proxy stands for many: its connections are counted by the address it names, once it has named it.
        let by_proxy = self.proxies.contains(peer.ip());
        let most = if by_proxy { self.limits.unfinished } else { self.limits.unfinished_per_address };
        let ticket = (shared.sessions.count() < self.limits.sessions).then(|| self.ticket(peer.ip(), most)).flatten();
        let Some(ticket) = ticket else { return self.turn_away() };
        let (acceptor, shared, gate) = (TlsAcceptor::from(config), Arc::clone(shared), Arc::clone(self));
        tasks.spawn(async move {
            // What happens once is boxed: a session that idles for days must not keep the room that its beginning took.
            let arrived = Box::pin(gate.receive(stream, peer, ticket, by_proxy, acceptor)).await;
            let Some((stream, peer, ticket)) = arrived else { return };
            greet(stream, peer, &shared, ticket).await;
        });
    }

    /// Takes a connection to the end of its TLS handshake. `None`: it is closed.
    async fn receive(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        ticket: Ticket,
        by_proxy: bool,
        acceptor: TlsAcceptor,
    ) -> Option<(Box<TlsStream<TcpStream>>, SocketAddr, Ticket)> {
        let (stream, peer, ticket) =
            if by_proxy { self.behind_proxy(stream, peer, ticket).await? } else { (stream, peer, ticket) };
        self.figures.accepted.inc();
        match shake_hands(stream, &acceptor).await {
            Ok(stream) => Some((Box::new(stream), peer, ticket)),
            Err(error) => {
                self.handshake_failed(peer, &error);
                None
            }
        }
    }

    /// Hears from a proxy who is there, and counts that address from then on. `None`: the connection is closed.
    async fn behind_proxy(
        self: &Arc<Self>,
        mut stream: TcpStream,
        proxy: SocketAddr,
        ticket: Ticket,
    ) -> Option<(TcpStream, SocketAddr, Ticket)> {
        let announced = tokio::time::timeout(ANNOUNCEMENT_TIME, announced(&mut stream)).await;
        match announced.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(Announced::Client(peer)) => {
                drop(ticket);
                match self.ticket(peer.ip(), self.limits.unfinished_per_address) {
                    Some(ticket) => Some((stream, peer, ticket)),
                    None => {
                        self.turn_away();
                        None
                    }
                }
            }
            Ok(Announced::Proxy) => Some((stream, proxy, ticket)),
            // How balancers look whether a port is open; every second or so.
            Ok(Announced::Nobody) => None,
            Err(error) => {
                self.handshake_failed(proxy, &error);
                None
            }
        }
    }

    fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        self.figures.turned_away.inc();
    }

    fn handshake_failed(&self, peer: SocketAddr, error: &std::io::Error) {
        self.figures.handshakes_failed.inc();
        if self.failed.fetch_add(1, Ordering::Relaxed) < SHOWN_FAILURES {
            tracing::info!(%peer, %error, "MQTT: TLS handshake failed");
        }
    }

    /// A place for a connection from `address`, of which there are less than `most`.
    fn ticket(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Ticket> {
        let address = network(address);
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = unfinished.values().sum();
        let of_address = unfinished.get(&address).copied().unwrap_or_default();
        if total >= self.limits.unfinished || of_address >= most {
            return None;
        }
        unfinished.insert(address, of_address + 1);
        Some(Ticket { gate: Arc::clone(self), address })
    }

    fn report(&self, live_dropped: u64) {
        let [turned_away, failed] = [&self.turned_away, &self.failed].map(|counter| counter.swap(0, Ordering::Relaxed));
        if turned_away + failed > 0 {
            tracing::warn!(turned_away, handshakes_failed = failed, "MQTT: connections refused in the last minute");
        }
        if live_dropped > 0 {
            tracing::warn!(live_dropped, "MQTT: live messages not shown to operators in the last minute");
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut unfinished = self.gate.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = unfinished.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                unfinished.remove(&self.address);
            }
        }
    }
}

async fn shake_hands(stream: TcpStream, acceptor: &TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
    // Acknowledgements are small and someone waits for each.
    stream.set_nodelay(true)?;
    tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await?
}

/// Reads who it is and lets the session begin.
async fn greet(stream: Box<TlsStream<TcpStream>>, peer: SocketAddr, shared: &Arc<Shared>, ticket: Ticket) {
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let claim = certificate.ok_or_else(|| "no certificate".to_owned()).and_then(claim);
    match claim {
        Ok(claim) => {
            let span = span_of(peer, &claim.identity);
            connect::connect(stream, peer, claim, shared, ticket).instrument(span).await;
        }
        Err(reason) => tracing::warn!(%peer, %reason, "MQTT: a certificate of our CA without an identity"),
    }
}

/// What every line about the connection has, whatever filter lets it through.
fn span_of(peer: SocketAddr, identity: &Identity) -> tracing::Span {
    let tenant = identity.tenant.as_str();
    match &identity.role {
        Role::Edge(edge) => tracing::error_span!("mqtt", %peer, tenant.id = tenant, edge.id = edge.as_str()),
        Role::Operator(operator) => {
            tracing::error_span!("mqtt", %peer, tenant.id = tenant, operator.id = operator.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Arc<Gate> {
        let limits = FrontLimits { unfinished: 3, unfinished_per_address: 2, ..FrontLimits::default() };
        Arc::new(Gate::new(limits, Proxies::default(), FrontFigures::default()))
    }

    #[test]
    fn one_address_never_takes_all_places() {
        let gate = gate();
        let held: Vec<_> = (0..5).filter_map(|_| gate.ticket([127, 0, 0, 1].into(), 2)).collect();
        assert_eq!(held.len(), 2);
        let other = gate.ticket([127, 0, 0, 2].into(), 2);
        assert!(other.is_some() && gate.ticket([127, 0, 0, 3].into(), 2).is_none());
        assert!(gate.ticket([127, 0, 0, 4].into(), 2).is_none());
        drop(held);
        assert!(gate.ticket([127, 0, 0, 3].into(), 2).is_some());
        drop(other);
        assert_eq!(gate.unfinished.lock().unwrap().len(), 0, "nothing is kept of addresses that were turned away");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let gate = gate();
        let held: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
            .iter()
            .filter_map(|address| gate.ticket(address.parse().unwrap(), 2))
            .collect();
        assert_eq!(held.len(), 3);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
