//! Takes links of other processes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use poem::web::websocket::{CloseCode, Message};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::codec::MessageCodec;
use super::tls::{self, LinkTls};
use super::{Errand, Greeting, Link, refuse};
use crate::ca::{CERTIFICATE_LIFE, CertificateAuthority};
use crate::clock;
use crate::sealed::Sealer;

/// Most links at once: each is one viewer, one edge or one question. Further ones are refused, since whoever gets no
/// answer at all takes this process for dead.
const MAX_LINKS: usize = 4_096;
/// Longest time until a caller has greeted; it has everything ready when it calls.
const GREETING_LIMIT: Duration = Duration::from_secs(3);
/// Pause after a failed accept, most often for want of file handles.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Why a link is refused that was greeted well.
const FULL: &str = "the server that shows this edge does as much as it can; try again later";

/// Listens for other processes.
pub(crate) struct LinkListener {
    listener: TcpListener,
    address: SocketAddr,
    ca: Arc<CertificateAuthority>,
    tls: LinkTls,
    /// This process' name: errands to another one are not for it.
    process: String,
    sealer: Arc<Sealer>,
}

impl LinkListener {
    /// Listens at `bind`, for links to `process`.
    ///
    /// # Errors
    /// The address is taken, or there is no certificate.
    pub(crate) async fn bind(
        bind: SocketAddr,
        process: String,
        ca: Arc<CertificateAuthority>,
        sealer: Arc<Sealer>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(bind).await.with_context(|| format!("servers.bind {bind}"))?;
        let address = listener.local_addr().with_context(|| format!("servers.bind {bind}"))?;
        let tls = tls::acceptor(&ca, clock::now()).context("the certificate of links between servers")?;
        Ok(Self { listener, address, ca, tls, process, sealer })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands each errand with its link to `take`, until `stop`.
    pub(crate) async fn serve<F, W>(mut self, take: F, stop: CancellationToken)
    where
        F: Fn(Link, Errand) -> W + Clone + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(MAX_LINKS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let tcp = match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    tracing::warn!(%error, "the system refuses links of other servers");
                    sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                }
            };
            let (acceptor, take, room) = (self.acceptor(), take.clone(), Arc::clone(&room));
            let (process, sealer) = (self.process.clone(), Arc::clone(&self.sealer));
            tokio::spawn(async move {
                match timeout(GREETING_LIMIT, greeted(tcp, &acceptor, &process, &sealer)).await {
                    Ok(Ok((mut link, errand))) => match room.try_acquire() {
                        Ok(_permit) => take(link, errand).await,
                        Err(_) => drop(timeout(GREETING_LIMIT, refuse(&mut link, FULL)).await),
                    },
                    Ok(Err(error)) => tracing::warn!(%error, "a link of another server did not come about"),
                    Err(_) => tracing::warn!("a link of another server did not come about in time"),
                }
            });
        }
    }

    /// With a certificate that has a third of its life before it at least.
    fn acceptor(&mut self) -> TlsAcceptor {
        let now = clock::now();
        if now + CERTIFICATE_LIFE / 3 > self.tls.not_after {
            match tls::acceptor(&self.ca, now) {
                Ok(renewed) => self.tls = renewed,
                Err(error) => tracing::error!(%error, "the certificate of links between servers can't be renewed"),
            }
        }
        self.tls.acceptor.clone()
    }
}

/// Reads the greeting.
async fn greeted(tcp: TcpStream, acceptor: &TlsAcceptor, process: &str, sealer: &Sealer) -> io::Result<(Link, Errand)> {
    tcp.set_nodelay(true)?;
    let stream = acceptor.accept(tcp).await?;
    let mut link = Framed::new(TlsStream::from(stream), MessageCodec::for_greetings());
    let refused = |reason: &str| Message::Close(Some((CloseCode::Again, reason.to_owned())));
    let Some(Message::Binary(sealed)) = link.next().await.transpose()? else {
        return Err(io::Error::other("it does not greet"));
    };
    let Some(json) = sealer.open(&sealed) else {
        link.send(refused("the server secret is another one")).await?;
        return Err(io::Error::other("its server secret is another one: give all servers the same JWT_SECRET"));
    };
    let greeting: Greeting = serde_json::from_slice(&json)?;
    if greeting.to != process {
        link.send(refused("another server has this address now")).await?;
        return Err(io::Error::other("it looks for a server that was here before"));
    }
    link.codec_mut().take_frames();
    Ok((link, greeting.errand))
}
