//! An edge with an outbox: it sends until the cloud says that it has everything, over as many connections as that takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::ack::Ack;
use aivms_contract::edge_api::{EnrollRequest, Enrollment, TOKEN_AUDIENCE, TokenClaims};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::{EdgeId, OutboxId};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::{Topic, UpKind};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair};
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, QoS, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout};

use crate::servers::{Owner, Servers};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Edge {
    pub id: EdgeId,
    enrollment: Arc<Enrollment>,
    key: Arc<KeyPair>,
    tls: Arc<rustls::ClientConfig>,
    balanced: SocketAddr,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The cloud does not want this edge.
    Refused,
    /// Lost, for whatever reason.
    Lost,
}

/// A connection.
pub(crate) struct Session {
    pub client: AsyncClient,
    pub events: EventLoop,
}

impl Edge {
    /// Registers an edge, and enrols it as a device does, both through the balancer.
    pub(crate) async fn enroll(servers: &Servers, owner: &Owner) -> Self {
        let base = servers.base();
        let request = owner.http.post(format!("{base}/api/tenant/edges")).bearer_auth(&owner.token);
        let made: Value = request.json(&json!({ "name": "edge" })).send().await.unwrap().json().await.unwrap();
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let key = KeyPair::generate().unwrap();
        let csr_pem = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let request =
            EnrollRequest { edge_id: text("edge_id").parse().unwrap(), edge_secret: text("edge_secret"), csr_pem };
        let answer = owner.http.post(format!("{base}/api/edge/enroll")).json(&request).send().await.unwrap();
        let enrollment: Enrollment = answer.json().await.unwrap();
        let tls = Arc::new(tls(&enrollment, &key.serialize_pem()));
        let balanced = servers.balanced_mqtt();
        Self { id: enrollment.edge_id.clone(), enrollment: Arc::new(enrollment), key: Arc::new(key), tls, balanced }
    }

    /// The MQTT front behind the balancer.
    pub(crate) fn balanced(&self) -> SocketAddr {
        self.balanced
    }

    /// A token as an appliance makes it.
    pub(crate) fn token(&self) -> String {
        let mut header = Header::new(Algorithm::ES256);
        let certificate = CertificateDer::from_pem_slice(self.enrollment.certificate_pem.as_bytes()).unwrap();
        header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(Sha256::digest(certificate)));
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
        let sub = format!("urn:aivms:tenant:{}:edge:{}", self.enrollment.tenant_id, self.id);
        let claims = TokenClaims { sub, aud: TOKEN_AUDIENCE.into(), iat: now, exp: now + 300 };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(&self.key.serialize_der())).unwrap()
    }

    /// Where it says things of this kind.
    pub(crate) fn topic(&self, kind: UpKind) -> String {
        Topic::up(self.enrollment.tenant_id.clone(), self.id.clone(), kind).to_string()
    }

    /// Connects and subscribes what it is told.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<Session, Ended> {
        let mut options = MqttOptions::new(self.id.as_str(), "localhost", address.port());
        options.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(Arc::clone(&self.tls))));
        options.set_keep_alive(Duration::from_secs(30)).set_inflight(100).set_max_packet_size(64 * 1024, 64 * 1024);
        let (client, mut events) = AsyncClient::new(options, 200);
        let filter = Topic::down_filter(&self.enrollment.tenant_id, &self.id);
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let ready = async {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::SubAck(_))) => return Ok(()),
                    Ok(_) => {}
                    Err(ConnectionError::ConnectionRefused(_)) => return Err(Ended::Refused),
                    Err(_) => return Err(Ended::Lost),
                }
            }
        };
        timeout(CONNECT, ready).await.unwrap_or(Err(Ended::Lost))?;
        Ok(Session { client, events })
    }

    /// Sends `count` events, `rate` a second, until all are acknowledged as stored; returns their ids.
    pub(crate) async fn publish(self, count: u64, rate: u64) -> Vec<String> {
        let outbox = OutboxId::from_random(fastrand::u128(..));
        let events: Vec<_> = (1..=count).map(|seq| self.event(&outbox, seq)).collect();
        let (mut through, started) = (0, Instant::now());
        while through < count {
            match self.connect(self.balanced).await {
                Ok(session) => self.send(session, &events, rate, started, &mut through).await,
                Err(Ended::Lost) => {}
                Err(Ended::Refused) => sleep(Duration::from_millis(500)).await,
            }
            sleep(Duration::from_millis(fastrand::u64(50..300))).await;
        }
        events.iter().map(|event| event.id.to_string()).collect()
    }

    /// Sends on one connection until it ends or everything is acknowledged.
    async fn send(&self, mut session: Session, events: &[Envelope], rate: u64, began: Instant, through: &mut u64) {
        let topic = self.topic(UpKind::Detections);
        let mut next = *through;
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while *through < events.len() as u64 {
            tokio::select! {
                _ = tick.tick() => {
                    let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
                    for event in events.iter().take(due as usize).skip(next as usize).take(50) {
                        if session.client.try_publish(&topic, QoS::AtLeastOnce, false, event.to_json()).is_err() {
                            break;
                        }
                        next += 1;
                    }
                }
                heard = session.events.poll() => match heard {
                    Ok(Event::Incoming(Incoming::Publish(publish))) if publish.topic.ends_with("/down/acks") => {
                        let ack: Ack = serde_json::from_slice(&publish.payload).unwrap();
                        *through = ack.through.max(*through);
                    }
                    Ok(_) => {}
                    Err(_) => return,
                },
            }
        }
    }

    fn event(&self, outbox: &OutboxId, seq: u64) -> Envelope {
        let at = UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond());
        let body = json!({
            "camera_id": "gate", "timestamp": at, "object_class": "person", "confidence": 0.9,
            "bbox": [1.0, 2.0, 3.0, 4.0], "frame": {"width": 640, "height": 480},
            "track_id": format!("track-{seq}"), "phase": "update", "age_ms": 40,
        });
        let body = Body::Detections(serde_json::from_value(body).unwrap());
        Envelope::new(self.id.clone(), outbox.clone(), seq, body, fastrand::u128(..))
    }
}

impl Session {
    /// Waits until the connection ends, and says how.
    pub(crate) async fn ended(&mut self) -> String {
        loop {
            if let Err(error) = self.events.poll().await {
                return error.to_string();
            }
        }
    }
}

fn tls(enrollment: &Enrollment, key: &str) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(enrollment.ca_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let chain = CertificateDer::pem_slice_iter(enrollment.certificate_pem.as_bytes()).collect::<Result<_, _>>();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.unwrap(), PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap()
}
