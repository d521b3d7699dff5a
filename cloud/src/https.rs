//! The API's listener, with TLS by files that may change while it runs.
//!
//! Whoever renews the certificate (certbot, lego, a company's tool) only replaces the two files: they are looked at
//! every half minute, and at once on SIGHUP. New connections get the new certificate, old ones go on. A pair that is
//! wrong, or only half there while it is replaced, is told of once and the old one stays.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use poem::listener::{Acceptor, AcceptorExt, BoxAcceptor, Listener, RustlsCertificate, RustlsConfig, TcpListener};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::HttpConfig;
use crate::http::PatientAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Listens where the settings say; with a certificate, with TLS. The files are watched as long as the listener lives.
///
/// # Errors
/// Names the setting that is wrong: the address is taken, or the files are.
pub(crate) async fn bind(config: &HttpConfig) -> Result<(BoxAcceptor, SocketAddr)> {
    let tcp = TcpListener::bind(config.bind).into_acceptor().await;
    let acceptor = PatientAcceptor::new(
        tcp.with_context(|| format!("http.bind: can't listen on {}", config.bind))?,
        config.trusted_proxies.clone(),
    );
    let address = acceptor.local_addr().first().and_then(|address| address.as_socket_addr().copied());
    let address = address.context("http.bind: the system names no address")?;
    let Some(files) = PairFiles::of(config) else {
        return Ok((acceptor.boxed(), address));
    };
    let pair = files.read()?;
    let (renewed, renewals) = mpsc::channel(1);
    let first = futures_util::stream::iter([pair.config()]);
    let later = futures_util::stream::unfold(renewals, async |mut renewals: mpsc::Receiver<Pair>| {
        let pair = renewals.recv().await?;
        Some((pair.config(), renewals))
    });
    tokio::spawn(files.watch(pair, renewed));
    let configs = futures_util::StreamExt::chain(first, Box::pin(later));
    Ok((acceptor.rustls(configs).boxed(), address))
}

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub(crate) struct PairFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// A certificate and its key, tried.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    certificate_pem: Vec<u8>,
    key_pem: Vec<u8>,
}

impl PairFiles {
    /// The files that the settings name, if they do.
    pub(crate) fn of(config: &HttpConfig) -> Option<Self> {
        let (certificate, key) = (config.tls_certificate.clone()?, config.tls_key.clone()?);
        Some(Self { certificate, key })
    }

    /// Reads both and tries them: the framework would start with wrong ones and refuse every connection.
    pub(crate) fn read(&self) -> Result<Pair> {
        let Self { certificate, key } = self;
        let read = |name: &str, path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("http.{name}: {} can't be read", path.display()))
        };
        let (certificate_pem, key_pem) = (read("tls_certificate", certificate)?, read("tls_key", key)?);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate_pem)
            .collect::<Result<_, _>>()
            .with_context(|| format!("http.tls_certificate: {} is not PEM", certificate.display()))?;
        let private_key = PrivateKeyDer::from_pem_slice(&key_pem)
            .with_context(|| format!("http.tls_key: {} holds no private key in PEM", key.display()))?;
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private_key).with_context(
            || format!("http.tls_certificate: {} and {} do not belong together", certificate.display(), key.display()),
        )?;
        Ok(Pair { certificate_pem, key_pem })
    }

    /// Sends every new pair until nobody listens any more.
    async fn watch(self, mut current: Pair, renewed: mpsc::Sender<Pair>) {
        let mut hang_up = signal(SignalKind::hangup()).ok();
        let mut told = false;
        loop {
            let asked = async {
                match &mut hang_up {
                    Some(hang_up) => drop(hang_up.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = asked => told = false,
                () = renewed.closed() => return,
            }
            match self.read() {
                Ok(pair) if pair == current => told = false,
                Ok(pair) => {
                    tracing::info!("the API's certificate has changed; new connections get the new one");
                    (current, told) = (pair.clone(), false);
                    if renewed.send(pair).await.is_err() {
                        return;
                    }
                }
                Err(error) if !told => {
                    told = true;
                    tracing::error!(error = format!("{error:#}"), "the API's certificate can't be renewed");
                }
                Err(_) => {}
            }
        }
    }
}

impl Pair {
    /// The first certificate: the server's own.
    pub(crate) fn leaf(&self) -> Option<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(&self.certificate_pem).next()?.ok()
    }

    fn config(&self) -> RustlsConfig {
        let certificate = RustlsCertificate::new().cert(self.certificate_pem.clone()).key(self.key_pem.clone());
        RustlsConfig::new().fallback(certificate)
    }
}
