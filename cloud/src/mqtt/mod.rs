//! The MQTT front: TLS, identity, codec, access per packet; rumqttd's Router behind it.

pub mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::ca::CertificateAuthority;
use crate::ingest::Ingest;
use crate::store::SharedStore;
use sessions::Sessions;

/// Where the front listens and what it allows.
#[derive(Debug, Clone)]
pub struct FrontSettings {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Host names and addresses clients reach the front by; they stand in its certificate.
    pub server_names: Vec<String>,
}

/// The front, bound but not yet serving.
#[derive(Debug)]
pub struct Front {}

/// Says why the front can't serve.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The address can't be listened on.
    #[error("MQTT: can't listen on {bind}: {reason}")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The system's answer.
        reason: String,
    },
    /// The router of live messages has died; only a restart of the program helps.
    #[error("MQTT: the router of live messages has stopped")]
    Router,
}

impl Front {
    /// Binds the listener and makes its certificate.
    ///
    /// # Errors
    /// The address is taken or a server name is wrong.
    pub async fn bind(
        _settings: FrontSettings,
        _store: SharedStore,
        _ca: Arc<CertificateAuthority>,
        _sessions: Sessions,
        _ingest: Ingest,
    ) -> Result<Self, FrontError> {
        unimplemented!()
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        unimplemented!()
    }

    /// Serves until `shutdown`; then closes every session.
    ///
    /// # Errors
    /// The router has died; the program should end and be started again.
    pub async fn run(self, _shutdown: CancellationToken) -> Result<(), FrontError> {
        unimplemented!()
    }
}
