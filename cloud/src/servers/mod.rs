//! Links between processes of the cloud, by which one passes on what another one has to do.
//!
//! The relay of an edge is in one process ([`crate::store::RelayHome`]). When a browser or the edge's own WebSocket
//! comes to another one, that one opens a link to it, says what for ([`Errand`]), and passes messages on both ways. A
//! link is TCP with TLS: the listener shows a certificate of the cloud's own authority, whose key all processes share,
//! and whoever calls seals its greeting with the server secret, which they share too.

mod codec;
mod listener;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::relay::Ask;
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use poem::web::websocket::{CloseCode, Message};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};
use tokio_util::codec::Framed;

use self::codec::MessageCodec;
use self::listener::LinkListener;
use crate::ca::CertificateAuthority;
use crate::config::{Config, Secret};
use crate::relay::{Place, Ticket};
use crate::sealed::Sealer;
use crate::store::{Fingerprint, Peer, SharedStore};

/// Longest time until a link is open; a process that needs longer counts as gone.
const OPEN_LIMIT: Duration = Duration::from_secs(3);
/// What greetings are sealed for.
const SEALED_FOR_LINKS: &str = "links between servers";
/// What the process that was called says when it takes an errand.
const WELCOME: &str = "welcome";

/// Opens the door for other processes, and what opens theirs, where the settings say that there are any.
///
/// # Errors
/// The address is taken, or the authority's certificate can't be used.
pub(crate) async fn open(
    config: &Config,
    secret: &Secret,
    ca: &Arc<CertificateAuthority>,
    store: &SharedStore,
) -> Result<(Option<LinkListener>, Option<Links>)> {
    let Some(bind) = config.servers.bind else { return Ok((None, None)) };
    let sealer = Arc::new(Sealer::new(secret, config.jwt_secret_previous.as_ref(), SEALED_FOR_LINKS));
    let process = store.process().to_owned();
    let listener = LinkListener::bind(bind, process, Arc::clone(ca), Arc::clone(&sealer)).await?;
    let links = Links::new(ca, sealer).context("the certificate authority")?;
    Ok((Some(listener), Some(links)))
}

/// A connection to another process that carries messages of a WebSocket.
pub(crate) type Link = Framed<TlsStream<TcpStream>, MessageCodec>;

/// What a link is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Errand {
    /// The WebSocket of an edge, which has shown this certificate.
    Edge {
        /// The edge.
        place: Place,
        /// The certificate.
        fingerprint: Fingerprint,
    },
    /// The WebSocket of a viewer.
    View(Ticket),
    /// A question to an edge.
    Ask {
        /// The edge.
        place: Place,
        /// The question.
        ask: Ask,
        /// How long the answer is waited for.
        limit: Duration,
    },
}

/// How a link begins.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    /// The process that is meant: another one may have its address by now.
    to: String,
    errand: Errand,
}

/// Says why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The process does not take the errand.
    #[error("{0}")]
    Refused(String),
    /// It does not answer, or is not what it was.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
}

/// Opens links to other processes.
#[derive(Clone)]
pub(crate) struct Links {
    connector: TlsConnector,
    sealer: Arc<Sealer>,
}

impl Errand {
    /// The edge it is about.
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Edge { place, .. } | Self::Ask { place, .. } => place,
            Self::View(ticket) => &ticket.place,
        }
    }
}

impl Links {
    /// Opens links by what all processes of this cloud share.
    ///
    /// # Errors
    /// The authority's certificate can't be used.
    pub(crate) fn new(ca: &CertificateAuthority, sealer: Arc<Sealer>) -> Result<Self, rustls::Error> {
        Ok(Self { connector: tls::connector(ca)?, sealer })
    }

    /// Calls `peer`.
    ///
    /// # Errors
    /// It does not take the errand, or does not answer.
    pub(crate) async fn open(&self, peer: &Peer, errand: &Errand) -> Result<Link, LinkError> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time");
        timeout(OPEN_LIMIT, self.try_open(peer, errand)).await.map_err(late)?
    }

    async fn try_open(&self, peer: &Peer, errand: &Errand) -> Result<Link, LinkError> {
        let greeting = Greeting { to: peer.process.clone(), errand: errand.clone() };
        let json = serde_json::to_vec(&greeting).map_err(io::Error::other)?;
        let sealed = self.sealer.seal(&json).ok_or_else(|| io::Error::other("there are no random numbers"))?;
        let tcp = TcpStream::connect(&peer.address).await?;
        tcp.set_nodelay(true)?;
        let stream = self.connector.connect(tls::name(), tcp).await?;
        let mut link = Framed::new(TlsStream::from(stream), MessageCodec::default());
        link.send(Message::Binary(sealed)).await?;
        match link.next().await.transpose()? {
            Some(Message::Text(text)) if text == WELCOME => Ok(link),
            Some(Message::Close(Some((CloseCode::Policy, reason)))) => Err(LinkError::Refused(reason)),
            Some(Message::Close(Some((_, reason)))) => Err(io::Error::other(reason).into()),
            other => Err(io::Error::other(format!("it answers with {}", kind(other.as_ref()))).into()),
        }
    }
}

/// Takes the errand.
pub(crate) async fn welcome(link: &mut Link) -> io::Result<()> {
    link.send(Message::Text(WELCOME.to_owned())).await
}

/// Does not take the errand.
pub(crate) async fn refuse(link: &mut Link, reason: &str) -> io::Result<()> {
    link.send(Message::Close(Some((CloseCode::Policy, reason.to_owned())))).await
}

fn kind(message: Option<&Message>) -> &'static str {
    match message {
        None => "silence",
        Some(Message::Text(_)) => "a text",
        Some(_) => "something else",
    }
}

#[cfg(test)]
mod tests;
