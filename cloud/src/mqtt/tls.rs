//! TLS of the front: our certificate for the server, certificates of our CA for every client.

use std::sync::Arc;

use aivms_contract::time::UtcMillis;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::FrontError;
use crate::ca::CertificateAuthority;

/// A configuration and when its certificate ends.
pub(super) struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) not_after: UtcMillis,
}

/// Makes the server's certificate for `names` and the configuration around it.
///
/// A client without a certificate of our CA does not get past the handshake. Sessions are never resumed, so that
/// every connection shows its certificate afresh.
pub(super) fn server_tls(ca: &CertificateAuthority, names: &[String], now: UtcMillis) -> Result<ServerTls, FrontError> {
    let failed = |error: &dyn std::fmt::Display| FrontError::Tls(error.to_string());
    let certificate = ca.server_certificate(names, now)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.ca_der().clone()).map_err(|error| failed(&error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| failed(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| failed(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate.chain, certificate.key)
        .map_err(|error| failed(&error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(ServerTls { config: Arc::new(config), not_after: certificate.not_after })
}
