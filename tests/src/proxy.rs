//! A network between edge and cloud that can be cut: a TCP relay on loopback that swallows everything while cut.
//!
//! While cut, nothing is closed and nothing is refused: bytes vanish, as with a dead router, which is the worst
//! case for both sides. New connections are accepted and stay silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A relay to one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    sent: Arc<AtomicU64>,
    accept: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a loopback address (port 0 for any) and relays to `target`.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (cut, state) = watch::channel(false);
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target, state.clone(), Arc::clone(&counted)));
            }
        });
        Ok(Self { address, cut, sent, accept })
    }

    /// Where the relay listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that clients have sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Cuts or mends the network. Connections that lived through a cut are dead after it, as bytes are missing.
    pub fn set_cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn relay(client: TcpStream, target: SocketAddr, cut: watch::Receiver<bool>, sent: Arc<AtomicU64>) {
    let mut mended = cut.clone();
    if mended.wait_for(|cut| !cut).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = pump(client_read, server_write, cut.clone(), sent) => {}
        () = pump(server_read, client_write, cut, Arc::default()) => {}
    }
}

/// Copies one way; ends when a side closes, or when bytes were swallowed and the network is mended again.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
    sent: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(count) = from.read(&mut buffer).await else { return };
        sent.fetch_add(count as u64, Ordering::Relaxed);
        if *cut.borrow() {
            // These bytes are lost; the stream can't go on after the cut.
            let _ = cut.wait_for(|cut| !cut).await;
            return;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
