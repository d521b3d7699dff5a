//! TCP connections of the API: bounded in number and in patience.
//!
//! The web framework waits for ever for a request's head and spins when the system is out of file handles; both are
//! settled here, below it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::network::{Proxies, network};

/// Most connections at once; further ones wait in the system's queue. Each costs some 30 KiB and a file handle.
const MAX_CONNECTIONS: usize = 4_096;
/// Most of them from one address (IPv6: one /64), which may be the one of a whole office; more are closed at once.
const MAX_CONNECTIONS_PER_ADDRESS: usize = MAX_CONNECTIONS / 4;
/// How long a connection may take.
const PATIENCE: Patience = Patience { answer: Duration::from_secs(90), idle: Duration::from_secs(120) };
/// Pause after a failed accept, most often for want of file handles.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// From the first byte of a request (or the connection itself) to the first byte of its answer. The answer to a
    /// request that was read takes less.
    answer: Duration,
    /// Silence of a connection that waits for a request. Live streams are never silent for so long.
    idle: Duration,
}

/// Accepts connections that have to hurry.
pub(crate) struct PatientAcceptor {
    tcp: TcpAcceptor,
    room: Arc<Semaphore>,
    per_address: Arc<PerAddress>,
}

/// Counts connections by the network they come from, so that one host can't keep all others out.
#[derive(Debug)]
struct PerAddress {
    most: usize,
    /// Proxies of ours, which stand for many.
    unlimited: Proxies,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// What a connection takes up until it is dropped.
struct Place {
    per_address: Arc<PerAddress>,
    network: Option<IpAddr>,
    /// Its place among [`MAX_CONNECTIONS`].
    _room: OwnedSemaphorePermit,
}

/// A connection with a deadline.
pub(crate) struct TimedStream<S> {
    tcp: S,
    /// A request has begun and is not answered.
    asked: bool,
    deadline: Pin<Box<Sleep>>,
    patience: Patience,
    _place: Place,
}

impl PatientAcceptor {
    /// Takes over `tcp`; connections of `proxies` are limited in their total only.
    pub(crate) fn new(tcp: TcpAcceptor, proxies: Proxies) -> Self {
        let per_address = PerAddress { most: MAX_CONNECTIONS_PER_ADDRESS, unlimited: proxies, open: Mutex::default() };
        Self { tcp, room: Arc::new(Semaphore::new(MAX_CONNECTIONS)), per_address: Arc::new(per_address) }
    }
}

impl PerAddress {
    /// Takes a place for a connection from `peer`, together with `room`; `None` when it has all it may have.
    fn place(self: &Arc<Self>, peer: Option<IpAddr>, room: OwnedSemaphorePermit) -> Option<Place> {
        let peer = peer.map(|peer| peer.to_canonical()).filter(|peer| !self.unlimited.contains(*peer)).map(network);
        if let Some(network) = peer {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.get(&network).copied().unwrap_or_default();
            if count >= self.most {
                return None;
            }
            open.insert(network, count + 1);
        }
        Some(Place { per_address: Arc::clone(self), network: peer, _room: room })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut open = self.per_address.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

impl Acceptor for PatientAcceptor {
    type Io = TimedStream<TcpStream>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.tcp.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        loop {
            let room = Arc::clone(&self.room).acquire_owned().await.map_err(io::Error::other)?;
            match self.tcp.accept().await {
                Ok((tcp, local, remote, scheme)) => {
                    let peer = remote.as_socket_addr().map(SocketAddr::ip);
                    if let Some(place) = self.per_address.place(peer, room) {
                        return Ok((TimedStream::new(tcp, PATIENCE, place), local, remote, scheme));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

impl<S> TimedStream<S> {
    /// A new connection counts as a request that has begun.
    fn new(tcp: S, patience: Patience, place: Place) -> Self {
        Self { tcp, asked: true, deadline: Box::pin(sleep(patience.answer)), patience, _place: place }
    }

    fn read_something(&mut self) {
        if !self.asked {
            self.asked = true;
            self.deadline.as_mut().reset(Instant::now() + self.patience.answer);
        }
    }

    fn wrote_something(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = written {
            self.asked = false;
            self.deadline.as_mut().reset(Instant::now() + self.patience.idle);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // Looked at first: a request that drips must not outrun it.
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.read_something();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.wrote_something(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.wrote_something(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn room() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    fn connection(patience: Patience) -> (TimedStream<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let per_address = Arc::new(PerAddress { most: 1, unlimited: Proxies::default(), open: Mutex::default() });
        (TimedStream::new(ours, patience, per_address.place(None, room()).unwrap()), theirs)
    }

    async fn read(stream: &mut TimedStream<DuplexStream>) -> Result<u8, io::ErrorKind> {
        stream.read_u8().await.map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off_however_it_drips() {
        let patience = Patience { answer: Duration::from_millis(200), idle: Duration::from_secs(3_600) };
        let (mut ours, mut theirs) = connection(patience);
        let start = Instant::now();
        tokio::spawn(async move {
            while theirs.write_u8(b'x').await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        });
        let end = loop {
            if let Err(end) = read(&mut ours).await {
                break end;
            }
        };
        assert_eq!(end, io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= patience.answer);
    }

    #[tokio::test]
    async fn a_silent_connection_is_cut_off_and_one_that_is_written_to_is_not() {
        let patience = Patience { answer: Duration::from_secs(3_600), idle: Duration::from_millis(1_500) };
        let (mut ours, mut theirs) = connection(patience);
        theirs.write_u8(b'x').await.unwrap();
        assert_eq!(read(&mut ours).await, Ok(b'x'));
        for _ in 0..8 {
            sleep(Duration::from_millis(250)).await;
            ours.write_u8(b'y').await.unwrap();
            // What a server does while it streams: it looks for an end of the connection.
            assert!(tokio::time::timeout(Duration::ZERO, read(&mut ours)).await.is_err());
        }
        assert_eq!(read(&mut ours).await, Err(io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn each_request_of_a_connection_has_its_own_time() {
        let patience = Patience { answer: Duration::from_millis(1_500), idle: Duration::from_secs(3_600) };
        let (mut ours, mut theirs) = connection(patience);
        for _ in 0..8 {
            sleep(Duration::from_millis(250)).await;
            theirs.write_u8(b'x').await.unwrap();
            assert_eq!(read(&mut ours).await, Ok(b'x'));
            ours.write_u8(b'y').await.unwrap();
        }
    }

    #[test]
    fn one_address_never_takes_all_places_unless_it_is_a_proxy_of_ours() {
        let [proxy, office, other] = ["10.0.0.1", "192.0.2.7", "192.0.2.8"].map(|ip| ip.parse().ok());
        let per_address = PerAddress { most: 2, unlimited: proxy.into_iter().collect(), open: Mutex::default() };
        let per_address = Arc::new(per_address);
        let take = |peer: Option<IpAddr>| (0..5).filter_map(|_| per_address.place(peer, room())).collect::<Vec<_>>();
        let held = take(office);
        assert_eq!((held.len(), take(other).len(), take(proxy).len()), (2, 2, 5));
        drop(held);
        assert_eq!(take(office).len(), 2);
        assert!(per_address.open.lock().unwrap().is_empty(), "nothing is kept of those who have gone");
    }

    #[tokio::test]
    async fn a_connection_too_many_from_one_address_is_closed_and_the_next_from_another_is_served() {
        use poem::listener::Listener;
        let tcp = poem::listener::TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let per_address = Arc::new(PerAddress { most: 2, unlimited: Proxies::default(), open: Mutex::default() });
        let mut acceptor = PatientAcceptor { tcp, room: Arc::new(Semaphore::new(9)), per_address };
        let address = *acceptor.local_addr()[0].as_socket_addr().unwrap();
        let dial = async |host: u8| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, host], 0).into()).unwrap();
            socket.connect(address).await.unwrap()
        };
        let mut crowd = Vec::new();
        for _ in 0..2 {
            crowd.push((dial(2).await, acceptor.accept().await.unwrap()));
        }
        let (mut too_many, _other) = (dial(2).await, dial(3).await);
        let (_, _, remote, _) = acceptor.accept().await.unwrap();
        assert_eq!(remote.as_socket_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 3]));
        assert!(matches!(too_many.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}
