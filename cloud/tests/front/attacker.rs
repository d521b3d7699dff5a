//! Clients that do what they must not: raw bytes over TCP and TLS.

use std::net::SocketAddr;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, Packet};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::clients::tls;
use super::{Credentials, SOON};

/// A TLS connection on which anything may be said.
pub struct RawClient {
    pub stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

/// A connection from `127.0.0.<host>`, so that a flood does not share its address with the innocent.
pub async fn tcp(addr: SocketAddr, host: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, host], 0).into())?;
    socket.connect(addr).await
}

impl RawClient {
    /// Shakes hands. With TLS 1.3 a refused certificate shows only at the first read.
    pub async fn dial(addr: SocketAddr, credentials: &Credentials) -> std::io::Result<Self> {
        let stream = tcp(addr, 2).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(tls(credentials)).connect(name, stream).await?;
        Ok(Self { stream, buffer: BytesMut::new() })
    }

    /// Shakes hands and says CONNECT.
    pub async fn connect(addr: SocketAddr, credentials: &Credentials, connect: Connect) -> Self {
        let mut client = Self::dial(addr, credentials).await.unwrap();
        client.say(&Packet::Connect(connect)).await;
        client
    }

    /// The same, and expects to be let in.
    pub async fn enter(addr: SocketAddr, credentials: &Credentials) -> Self {
        let mut client = Self::connect(addr, credentials, Connect::new("raw")).await;
        let answer = client.hear().await;
        let Some(Packet::ConnAck(ack)) = answer else { panic!("{answer:?}") };
        assert_eq!(ack.code as u8, 0);
        client
    }

    pub async fn say(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, 1 << 20).unwrap();
        self.send(&bytes).await;
    }

    /// Sends bytes; the cloud may have closed already.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
        drop(self.stream.flush().await);
    }

    /// The next packet, or `None` at the end of the connection.
    pub async fn hear(&mut self) -> Option<Packet> {
        tokio::time::timeout(SOON, async {
            loop {
                match Packet::read(&mut self.buffer, 1 << 20) {
                    Ok(packet) => return Some(packet),
                    Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
        .await
        .expect("an answer or the end of the connection")
    }

    /// Expects that the cloud closes without another packet.
    pub async fn is_closed(&mut self) {
        let heard = self.hear().await;
        assert!(heard.is_none(), "{heard:?}");
    }
}
