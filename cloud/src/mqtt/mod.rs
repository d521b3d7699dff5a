//! The MQTT front: TLS, identity, codec, access per packet; rumqttd's Router behind it.
//!
//! The way of a connection, by file: [`listener`] accepts and limits; [`proxy`] hears from a proxy who is there; [`tls`] lets nobody in without a certificate of
//! our CA; [`identity`] reads who it speaks for; [`connect`] checks CONNECT and the certificate's row; [`sessions`]
//! enters it in the list by which it can be ended; [`session`] reads packets through [`codec`], asks
//! [`aivms_cloud_core::access`] about each, hands durable ones to [`crate::ingest`] and answers PUBACK after the
//! commit. [`router`] fans live messages out; [`listeners`] knows which edges can be told something; [`presence`]
//! writes down who is there.
//!
//! rumqttd's own listener never faces the network: one idle connection blocks it, one bad client id kills it, and any
//! device may speak for another of its tenant.

mod budget;
mod codec;
mod connect;
mod figures;
mod identity;
mod listener;
mod listeners;
mod presence;
mod proxy;
mod router;
mod session;
pub mod sessions;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::desired::Desired;
use aivms_contract::id::{CommandId, EdgeId, TenantId};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::{DownKind, Topic};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ca::{CaError, CertificateAuthority};
use crate::ingest::Ingest;
use crate::network::Proxies;
use crate::store::{EdgeKey, SharedStore};
pub use figures::AnswerFigures;
use figures::FrontFigures;
use listeners::Listeners;
use presence::PresenceBoard;
use router::{LiveRouter, RouterDead};
use sessions::Sessions;

/// Where the front listens and how clients reach it.
#[derive(Debug, Clone)]
pub struct FrontSettings {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Host names and addresses clients reach the front by; they stand in its certificate.
    pub server_names: Vec<String>,
    /// Proxies of ours, which must say by the PROXY protocol where each connection comes from.
    pub proxies: Proxies,
}

/// How many connections the front bears, and for how long it believes them.
#[derive(Debug, Clone, Copy)]
pub struct FrontLimits {
    /// Connections that have not finished TLS and CONNECT; more are closed at once.
    pub unfinished: usize,
    /// The same from one address (IPv6: one /64), so that one host can't keep all others out. A site's edges may share
    /// an address, and reconnect together.
    pub unfinished_per_address: usize,
    /// Sessions. A quiet one takes less than 100 KiB. From so many on nobody is let in; those that are on their way
    /// in then may still make it more by [`Self::unfinished`].
    pub sessions: usize,
    /// How often a session looks whether its certificate still counts, besides being told: after a database was
    /// restored, or in another process of the cloud, nobody tells it.
    pub recheck: Duration,
}

impl Default for FrontLimits {
    fn default() -> Self {
        Self { unfinished: 1_024, unfinished_per_address: 128, sessions: 10_000, recheck: Duration::from_secs(45) }
    }
}

/// The front, bound but not yet serving.
#[derive(Debug)]
pub struct Front {
    listener: TcpListener,
    local_addr: SocketAddr,
    settings: FrontSettings,
    limits: FrontLimits,
    ca: Arc<CertificateAuthority>,
    shared: Arc<Shared>,
    figures: FrontFigures,
}

/// What all sessions use.
struct Shared {
    store: SharedStore,
    sessions: Sessions,
    ingest: Ingest,
    router: LiveRouter,
    presence: PresenceBoard,
    listeners: Listeners,
    answers: AnswerFigures,
    recheck: Duration,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("sessions", &self.sessions.count()).finish_non_exhaustive()
    }
}

/// Says why the front can't serve.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The address can't be listened on.
    #[error("mqtt.bind: can't listen on {bind}: {reason}")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The system's answer.
        reason: String,
    },
    /// No certificate for the server could be made.
    #[error("MQTT: {0}")]
    Certificate(#[from] CaError),
    /// TLS can't be set up.
    #[error("MQTT: TLS: {0}")]
    Tls(String),
    /// The router of live messages has died; only a restart of the program helps.
    #[error("MQTT: the router of live messages has stopped")]
    Router,
}

impl From<RouterDead> for FrontError {
    fn from(_: RouterDead) -> Self {
        Self::Router
    }
}

/// The way to tell a connected edge something; cheap to clone.
#[derive(Debug, Clone)]
pub struct DownLink {
    router: LiveRouter,
    listeners: Listeners,
    answers: AnswerFigures,
}

impl DownLink {
    /// Shows `payload` to operators who watch, and sends it to `edge` if it is a command and the edge listens on this
    /// process. Messages arrive in the order of calls; that one arrived, only the edge can say.
    ///
    /// # Errors
    /// The router of live messages has died.
    pub async fn publish(
        &self,
        tenant: &TenantId,
        edge: &EdgeId,
        kind: DownKind,
        payload: Vec<u8>,
    ) -> Result<(), FrontError> {
        let (topic, payload) = (Topic::down(tenant.clone(), edge.clone(), kind), Bytes::from(payload));
        if kind == DownKind::Commands {
            self.listeners.command(tenant, edge, payload.clone());
        }
        Ok(self.router.publish(topic.to_string(), payload).await?)
    }

    /// Waits for edges that have begun to listen on this process. Cancelling loses nothing.
    pub(crate) async fn arrived(&self) -> Vec<EdgeKey> {
        self.listeners.arrived().await
    }

    /// Whether an edge listens on this process.
    pub(crate) fn listens(&self, edge: EdgeKey) -> bool {
        self.listeners.contains(edge)
    }

    /// Who the edge is; `None` when it does not listen here.
    pub(crate) fn identity(&self, edge: EdgeKey) -> Option<(TenantId, EdgeId)> {
        self.listeners.identity(edge)
    }

    /// Who the edge is and which of the `open` commands it is to be told now; `None` when it does not listen here.
    pub(crate) fn due(&self, edge: EdgeKey, open: &[CommandId]) -> Option<(TenantId, EdgeId, Vec<CommandId>)> {
        self.listeners.due(edge, open, Instant::now())
    }

    /// Hands an edge that listens here its desired document, unless it has had that version on this connection.
    pub(crate) fn offer_desired(&self, edge: EdgeKey, document: Desired) {
        self.listeners.offer(edge, document);
    }

    /// What has been counted of answers to commands.
    #[must_use]
    pub fn answers(&self) -> &AnswerFigures {
        &self.answers
    }
}

impl Front {
    /// Binds the listener and starts the router of live messages.
    ///
    /// # Errors
    /// The address is taken or a server name is wrong.
    pub async fn bind(
        settings: FrontSettings,
        store: SharedStore,
        ca: Arc<CertificateAuthority>,
        sessions: Sessions,
        ingest: Ingest,
    ) -> Result<Self, FrontError> {
        Self::bind_with(settings, FrontLimits::default(), store, ca, sessions, ingest).await
    }

    /// The same with other limits than the usual ones.
    ///
    /// # Errors
    /// As [`Front::bind`].
    pub async fn bind_with(
        settings: FrontSettings,
        limits: FrontLimits,
        store: SharedStore,
        ca: Arc<CertificateAuthority>,
        sessions: Sessions,
        ingest: Ingest,
    ) -> Result<Self, FrontError> {
        let bind = settings.bind;
        let failed = |error: std::io::Error| FrontError::Bind { bind, reason: error.to_string() };
        // Wrong names show here and not at the first connection.
        tls::server_tls(&ca, &settings.server_names, now())?;
        let listener = TcpListener::bind(bind).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        // Those let in while there was room may all become sessions, and a router without room for one counts as dead.
        let router = LiveRouter::start(limits.sessions + limits.unfinished);
        let (presence, recheck) = (PresenceBoard::default(), limits.recheck);
        let (listeners, answers) = (Listeners::default(), AnswerFigures::default());
        let shared = Arc::new(Shared { store, sessions, ingest, router, presence, listeners, answers, recheck });
        Ok(Self { listener, local_addr, settings, limits, ca, shared, figures: FrontFigures::default() })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The way to tell edges something.
    #[must_use]
    pub fn down_link(&self) -> DownLink {
        let Shared { router, listeners, answers, .. } = &*self.shared;
        DownLink { router: router.clone(), listeners: listeners.clone(), answers: answers.clone() }
    }

    /// Serves until `shutdown`; then closes every session and writes their presence down.
    ///
    /// # Errors
    /// The router has died; the program should end and be started again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), FrontError> {
        let (presence, store) = (self.shared.presence.clone(), Arc::clone(&self.shared.store));
        let stop_presence = CancellationToken::new();
        let sessions = self.shared.sessions.clone();
        let writer = tokio::spawn(presence.clone().write(Arc::clone(&store), stop_presence.clone()));
        let leave = CancellationToken::new();
        let alive = tokio::spawn(presence.stay_alive(store, sessions, leave.clone()));
        let served = listener::serve(self, shutdown).await;
        stop_presence.cancel();
        let written = writer.await;
        // After the last session has been written down, so that nothing is left of this process.
        leave.cancel();
        if let Err(error) = written.and(alive.await) {
            tracing::error!(%error, "the writer of presence failed; this is a defect");
        }
        served
    }
}

/// The wall clock.
fn now() -> UtcMillis {
    UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond())
}
