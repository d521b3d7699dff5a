//! TCP connections of the API: bounded in number and in patience.
//!
//! The web framework waits for ever for a request's head and spins when the system is out of file handles; both are
//! settled here, below it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Most connections at once; further ones wait in the system's queue. Each costs some 30 KiB and a file handle.
const MAX_CONNECTIONS: usize = 4_096;
/// Longest silence of a connection that waits for a request. Live streams are never silent for so long.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
/// Longest time from the first byte of a request (or the connection itself) to the first byte of its answer. The
/// answer to a request that was read takes less.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Pause after a failed accept, most often for want of file handles.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Accepts connections that have to hurry.
pub(crate) struct PatientAcceptor {
    tcp: TcpAcceptor,
    room: Arc<Semaphore>,
}

/// A connection with a deadline.
pub(crate) struct TimedStream {
    tcp: TcpStream,
    /// A request has begun and is not answered.
    asked: bool,
    deadline: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl PatientAcceptor {
    pub(crate) fn new(tcp: TcpAcceptor) -> Self {
        Self { tcp, room: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl Acceptor for PatientAcceptor {
    type Io = TimedStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.tcp.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(TimedStream, LocalAddr, RemoteAddr, Scheme)> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(io::Error::other)?;
        loop {
            match self.tcp.accept().await {
                Ok((tcp, local, remote, scheme)) => return Ok((TimedStream::new(tcp, room), local, remote, scheme)),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

impl TimedStream {
    /// A new connection counts as a request that has begun.
    fn new(tcp: TcpStream, room: OwnedSemaphorePermit) -> Self {
        Self { tcp, asked: true, deadline: Box::pin(sleep(ANSWER_LIMIT)), _room: room }
    }

    fn read_something(&mut self) {
        if !self.asked {
            self.asked = true;
            self.deadline.as_mut().reset(Instant::now() + ANSWER_LIMIT);
        }
    }

    fn wrote_something(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = written {
            self.asked = false;
            self.deadline.as_mut().reset(Instant::now() + IDLE_LIMIT);
        }
        written
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.tcp).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    self.read_something();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                std::task::ready!(self.deadline.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for TimedStream {
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
