//! TLS of links: the cloud's own authority vouches for the process that is called.

use std::sync::Arc;

use aivms_contract::time::UtcMillis;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::ca::{CaError, CertificateAuthority};

/// The name in every process' certificate. It stands for the role and is looked up nowhere: `.internal` is reserved.
const NAME: &str = "servers.aivms.internal";

/// What listeners show, and until when.
pub(super) struct LinkTls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) not_after: UtcMillis,
}

/// The name that a caller expects.
pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a host name")
}

pub(super) fn connector(ca: &CertificateAuthority) -> Result<TlsConnector, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.ca_der().clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

pub(super) fn acceptor(ca: &CertificateAuthority, now: UtcMillis) -> Result<LinkTls, CaError> {
    let certificate = ca.server_certificate(&[NAME.to_owned()], now)?;
    let failed = |error: rustls::Error| CaError::Signing(error.to_string());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(certificate.chain, certificate.key)
        .map_err(failed)?;
    Ok(LinkTls { acceptor: TlsAcceptor::from(Arc::new(config)), not_after: certificate.not_after })
}
