//! A bare edge: a key, a certificate and an MQTT connection over TLS, without an appliance around it.
//!
//! Tests and benchmarks use it to be many edges at once, or a wrong one. Packets go through the client crate's codec.

use std::net::SocketAddr;
use std::sync::Arc;

use aivms_contract::edge_api::{EnrollRequest, Enrollment};
use aivms_contract::id::{EdgeId, TenantId};
use aivms_contract::topic::{Topic, UpKind};
use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use rcgen::{CertificateParams, KeyPair};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet, Publish, Subscribe};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::api::Api;

/// What an enrolled edge owns.
#[derive(Debug, Clone)]
pub struct EdgeIdentity {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub edge: EdgeId,
    /// TLS with its certificate.
    pub tls: Arc<rustls::ClientConfig>,
    /// Name in the server's certificate.
    pub server_name: String,
    /// The MQTT front.
    pub address: SocketAddr,
}

impl EdgeIdentity {
    /// Registers an edge with the API, makes a key and enrols it.
    ///
    /// # Errors
    /// The cloud refuses.
    pub async fn enroll(api: &Api, base: &str, name: &str) -> Result<Self> {
        let (edge_id, edge_secret) = api.register_edge(name).await?;
        let key = KeyPair::generate()?;
        let csr_pem = CertificateParams::default().serialize_request(&key)?.pem()?;
        let request = EnrollRequest { edge_id: edge_id.parse()?, edge_secret, csr_pem };
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answer = http.post(format!("{base}/api/edge/enroll")).json(&request).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "enroll: {status} {text}");
        let enrollment: Enrollment = serde_json::from_str(&text)?;
        Self::from_enrollment(&enrollment, &key.serialize_pem())
    }

    /// Builds TLS from what enrolment returned.
    ///
    /// # Errors
    /// A PEM is damaged.
    pub fn from_enrollment(enrollment: &Enrollment, key_pem: &str) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(enrollment.ca_pem.as_bytes()) {
            roots.add(certificate?)?;
        }
        let chain = CertificateDer::pem_slice_iter(enrollment.certificate_pem.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let host = format!("{}:{}", enrollment.mqtt_host, enrollment.mqtt_port);
        let address = std::net::ToSocketAddrs::to_socket_addrs(&host)?.find(SocketAddr::is_ipv4).context("address")?;
        Ok(Self {
            tenant: enrollment.tenant_id.clone(),
            edge: enrollment.edge_id.clone(),
            tls: Arc::new(tls),
            server_name: enrollment.mqtt_host.clone(),
            address,
        })
    }

    /// Connects over TLS and sends CONNECT; returns once the broker accepted.
    ///
    /// # Errors
    /// The front refuses.
    pub async fn connect(&self) -> Result<(PacketReader, PacketWriter)> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.server_name.clone())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await?;
        let (read, write) = tokio::io::split(stream);
        let mut reader = PacketReader { stream: read, buffer: BytesMut::with_capacity(64 * 1024) };
        let mut writer = PacketWriter { stream: write, buffer: BytesMut::with_capacity(64 * 1024) };
        let mut connect = Connect::new(self.edge.as_str());
        connect.keep_alive = 60;
        connect.clean_session = true;
        writer.queue(|buffer| connect.write(buffer))?;
        writer.flush().await?;
        match reader.next().await? {
            Packet::ConnAck(ack) if ack.code == rumqttc::ConnectReturnCode::Success => Ok((reader, writer)),
            other => bail!("expected CONNACK, got {other:?}"),
        }
    }

    /// The topic this edge publishes `kind` on.
    #[must_use]
    pub fn up_topic(&self, kind: UpKind) -> String {
        Topic::up(self.tenant.clone(), self.edge.clone(), kind).to_string()
    }

    /// The filter of everything said to this edge.
    #[must_use]
    pub fn down_filter(&self) -> String {
        Topic::down_filter(&self.tenant, &self.edge)
    }
}

/// The reading half of a connection.
#[derive(Debug)]
pub struct PacketReader {
    stream: ReadHalf<TlsStream<TcpStream>>,
    buffer: BytesMut,
}

impl PacketReader {
    /// The next packet.
    ///
    /// # Errors
    /// The connection ended or the packet is damaged.
    pub async fn next(&mut self) -> Result<Packet> {
        loop {
            match Packet::read(&mut self.buffer, 256 * 1024) {
                Ok(packet) => return Ok(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => bail!("damaged packet: {error:?}"),
            }
            let count = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(count > 0, "the connection was closed");
        }
    }
}

/// The writing half of a connection; packets are queued and go out together.
#[derive(Debug)]
pub struct PacketWriter {
    stream: WriteHalf<TlsStream<TcpStream>>,
    buffer: BytesMut,
}

impl PacketWriter {
    fn queue<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<T, rumqttc::mqttbytes::Error>) -> Result<()> {
        write(&mut self.buffer).map(|_| ()).map_err(|error| anyhow::anyhow!("{error:?}"))
    }

    /// Queues a QoS 1 publish.
    ///
    /// # Errors
    /// The packet is too large.
    pub fn publish(&mut self, topic: &str, packet_id: u16, payload: Bytes) -> Result<()> {
        let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, payload);
        publish.pkid = packet_id;
        self.queue(|buffer| publish.write(buffer))
    }

    /// Queues a subscription.
    ///
    /// # Errors
    /// The packet is too large.
    pub fn subscribe(&mut self, filter: &str, packet_id: u16) -> Result<()> {
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = packet_id;
        self.queue(|buffer| subscribe.write(buffer))
    }

    /// Queues the acknowledgement of a received publish.
    ///
    /// # Errors
    /// Never in practice.
    pub fn puback(&mut self, packet_id: u16) -> Result<()> {
        self.queue(|buffer| rumqttc::mqttbytes::v4::PubAck::new(packet_id).write(buffer))
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(self.stream.flush().await?)
    }
}
