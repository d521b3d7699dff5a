//! Stock clients: mosquitto's command-line tools and rumqttc as an edge uses it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use aivms_contract::ack::Ack;
use aivms_contract::envelope::Envelope;
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, Incoming, MqttOptions, QoS, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;

use super::{Credentials, SOON};

/// `mosquitto_pub` or `mosquitto_sub` as the guide calls them.
pub fn mosquitto(tool: &str, addr: SocketAddr, credentials: &Credentials, args: &[&str]) -> Command {
    let mut command = Command::new(tool);
    command.args(["-h", "localhost", "-p", &addr.port().to_string()]);
    command.arg("--cafile").arg(&credentials.ca);
    command.arg("--cert").arg(&credentials.certificate);
    command.arg("--key").arg(&credentials.key);
    command.args(args);
    command
}

/// Runs one to its end; it must be installed, and end by itself.
pub fn run(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; install mosquitto-clients"))
}

/// A running `mosquitto_sub -v -d`.
pub struct Subscriber {
    child: Child,
    lines: std_mpsc::Receiver<String>,
}

impl Subscriber {
    /// Starts it and waits until the cloud has answered its subscription.
    pub fn start(addr: SocketAddr, credentials: &Credentials, args: &[&str]) -> Self {
        let mut command = mosquitto("mosquitto_sub", addr, credentials, &["-v", "-d"]);
        // Without a terminal the tool keeps its output until it ends.
        let mut child = Command::new("stdbuf")
            .arg("-oL")
            .arg(command.get_program())
            .args(command.args(args).get_args())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mosquitto-clients is installed");
        let (sender, lines) = std_mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
            });
        }
        let started = Self { child, lines };
        started.wait_for(|line| line.contains("Subscribed (mid:"));
        started
    }

    /// Waits for a line that fits.
    pub fn wait_for(&self, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + SOON;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("not in time; seen: {seen:#?}"),
            }
        }
    }

    /// Waits for the next message: topic and payload.
    pub fn message(&self) -> (String, String) {
        let line = self.wait_for(|line| line.starts_with("aivms/"));
        let (topic, payload) = line.split_once(' ').unwrap();
        (topic.to_owned(), payload.to_owned())
    }

    /// Everything printed up to the end of the tool.
    pub fn rest(mut self) -> String {
        self.child.wait().unwrap();
        self.lines.iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The TLS side of a client; the cloud's CA is the only one it trusts.
pub fn tls(credentials: &Credentials) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&credentials.ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_file(&credentials.certificate).unwrap()];
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&credentials.key).unwrap());
    Arc::new(config.unwrap())
}

pub fn options(addr: SocketAddr, credentials: &Credentials) -> MqttOptions {
    let mut options = MqttOptions::new("edge", "localhost", addr.port());
    options.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls(credentials))));
    options.set_keep_alive(Duration::from_secs(30));
    options.set_inflight(50);
    options.set_max_packet_size(64 * 1024, 64 * 1024);
    options
}

/// What happened on an edge's connection.
#[derive(Debug)]
pub enum Heard {
    /// CONNACK and the answer to its subscription have come.
    Ready,
    PubAck,
    Ack(Ack),
    Down(String, Vec<u8>),
    Refused(ConnectReturnCode),
    Lost(String),
}

/// An edge as the appliance connects it, without reconnecting.
pub struct EdgeClient {
    pub client: AsyncClient,
    pub heard: mpsc::UnboundedReceiver<Heard>,
    topic: String,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for EdgeClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl EdgeClient {
    /// Connects, and subscribes what it is told.
    pub async fn start(addr: SocketAddr, credentials: &Credentials) -> Self {
        let mut edge = Self::dial(addr, credentials).await;
        let filter = credentials.topic("down/+");
        edge.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        edge.expect("the subscription is granted", |heard| matches!(heard, Heard::Ready)).await;
        edge
    }

    pub async fn dial(addr: SocketAddr, credentials: &Credentials) -> Self {
        let (client, mut events) = AsyncClient::new(options(addr, credentials), 1_000);
        let (sender, heard) = mpsc::unbounded_channel();
        let connection = tokio::spawn(async move {
            loop {
                let news = match events.poll().await {
                    Ok(Event::Incoming(Incoming::SubAck(_))) => Heard::Ready,
                    Ok(Event::Incoming(Incoming::PubAck(_))) => Heard::PubAck,
                    Ok(Event::Incoming(Incoming::Publish(publish))) if publish.topic.ends_with("/down/acks") => {
                        Heard::Ack(serde_json::from_slice(&publish.payload).unwrap())
                    }
                    Ok(Event::Incoming(Incoming::Publish(publish))) => {
                        Heard::Down(publish.topic, publish.payload.to_vec())
                    }
                    Ok(_) => continue,
                    Err(ConnectionError::ConnectionRefused(code)) => return drop(sender.send(Heard::Refused(code))),
                    Err(error) => return drop(sender.send(Heard::Lost(error.to_string()))),
                };
                if sender.send(news).is_err() {
                    return;
                }
            }
        });
        Self { client, heard, topic: credentials.topic("up/detections"), connection }
    }

    /// Publishes on the topic of detections.
    pub async fn publish(&self, envelope: &Envelope) {
        self.client.publish(&self.topic, QoS::AtLeastOnce, false, envelope.to_json()).await.unwrap();
    }

    /// Waits for something that fits.
    pub async fn expect(&mut self, what: &str, fits: impl Fn(&Heard) -> bool) -> Heard {
        let mut seen = Vec::new();
        loop {
            match tokio::time::timeout(SOON, self.heard.recv()).await {
                Ok(Some(heard)) if fits(&heard) => return heard,
                Ok(Some(heard)) => seen.push(heard),
                Ok(None) | Err(_) => panic!("not in time: {what}; heard: {seen:?}"),
            }
        }
    }

    /// Waits until the outbox is stored up to `through`.
    pub async fn stored_through(&mut self, through: u64) {
        let fits = |heard: &Heard| matches!(heard, Heard::Ack(ack) if ack.through >= through);
        self.expect(&format!("an ack through {through}"), fits).await;
    }
}
