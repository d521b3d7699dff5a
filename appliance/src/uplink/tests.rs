//! The uplink against a real broker with TLS and client certificates. A peer plays the cloud behind it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use aivms_contract::ack::Ack;
use aivms_contract::alert::{Alert, Severity};
use aivms_contract::edge_api::EventBatch;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::topic::{DownKind, Topic, UpKind};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::clock;
use crate::identity::DeviceKey;
use crate::outbox::OutboxSettings;
use crate::state::State;
use crate::testing::{Authority, HttpServer, cloud_at, eventually};

const TENANT: &str = "acme";
const EDGE: &str = "edge_1";

/// A real broker that wants client certificates; can be killed and started again on its port.
struct Broker {
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Broker {
    fn new(authority: &Authority) -> Self {
        Self::valid_in_days(authority, 0)
    }

    /// A broker whose certificate begins in some days.
    fn valid_in_days(authority: &Authority, days: i64) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let (certificate, key) = authority.server(days);
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("ca.pem", &authority.pem());
        write("server.pem", &certificate);
        write("server.key", &key);
        let at = |name: &str| dir.path().join(name).display().to_string();
        write(
            "mosquitto.conf",
            &format!(
                "user root\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
                 allow_anonymous true\npersistence false\n",
                at("ca.pem"),
                at("server.pem"),
                at("server.key")
            ),
        );
        Self { dir, port, process: None }
    }

    async fn start(&mut self) {
        let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let mut process = Process::new(program);
        process.arg("-c").arg(self.dir.path().join("mosquitto.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(process.spawn().expect("mosquitto is installed by `make setup`"));
        let port = self.port;
        eventually("the broker listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Plays the cloud: notes what arrives, and acknowledges it if told so.
struct Peer {
    client: AsyncClient,
    outbox: aivms_contract::id::OutboxId,
    arrived: Arc<Mutex<Vec<(String, Bytes)>>>,
    is_up: Arc<AtomicBool>,
    acknowledges: Arc<AtomicBool>,
    work: JoinHandle<()>,
}

impl Peer {
    fn new(authority: &Authority, port: u16, outbox: &Outbox) -> Self {
        let key = DeviceKey::generate().unwrap();
        let enrollment = authority.enroll(&key.certificate_request().unwrap(), TENANT, "edge_peer", port);
        let tls = key.certified(enrollment).unwrap().mqtt_tls().unwrap();
        let mut options = MqttOptions::new("peer", "localhost", port);
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        let (client, mut events) = AsyncClient::new(options, 1000);
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let (is_up, acknowledges) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let work = {
            let (client, arrived, outbox) = (client.clone(), Arc::clone(&arrived), outbox.id().clone());
            let (is_up, acknowledges) = (Arc::clone(&is_up), Arc::clone(&acknowledges));
            tokio::spawn(async move {
                loop {
                    match events.poll().await {
                        Ok(Event::Incoming(Packet::ConnAck(_))) => {
                            let filter = format!("aivms/v1/{TENANT}/{EDGE}/up/+");
                            client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
                        }
                        Ok(Event::Incoming(Packet::SubAck(_))) => is_up.store(true, Ordering::SeqCst),
                        Ok(Event::Incoming(Packet::Publish(message))) => {
                            let seq = seq_of(&message.payload);
                            arrived.lock().unwrap().push((message.topic, message.payload));
                            if acknowledges.load(Ordering::SeqCst)
                                && let Some(through) = seq
                            {
                                let _ = client.try_publish(
                                    down(DownKind::Acks),
                                    QoS::AtLeastOnce,
                                    false,
                                    serde_json::to_vec(&Ack { outbox: outbox.clone(), through }).unwrap(),
                                );
                            }
                        }
                        Ok(_) => {}
                        Err(_) => {
                            is_up.store(false, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                }
            })
        };
        Self { client, outbox: outbox.id().clone(), arrived, is_up, acknowledges, work }
    }

    async fn up(&self) {
        eventually("the peer is subscribed", || self.is_up.load(Ordering::SeqCst)).await;
    }

    fn say(&self, kind: DownKind, payload: impl Into<Vec<u8>>) {
        self.client.try_publish(down(kind), QoS::AtLeastOnce, false, payload).unwrap();
    }

    fn acknowledge(&self, through: u64) {
        let ack = Ack { outbox: self.outbox.clone(), through };
        self.say(DownKind::Acks, serde_json::to_vec(&ack).unwrap());
    }

    /// Sequence numbers in the order of arrival.
    fn seqs(&self) -> Vec<u64> {
        self.arrived.lock().unwrap().iter().filter_map(|(_, payload)| seq_of(payload)).collect()
    }

    fn heard(&self, kind: UpKind) -> Vec<Bytes> {
        let topic = Topic::up(TENANT.parse().unwrap(), EDGE.parse().unwrap(), kind).to_string();
        self.arrived.lock().unwrap().iter().filter(|(t, _)| *t == topic).map(|(_, payload)| payload.clone()).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn down(kind: DownKind) -> String {
    Topic::down(TENANT.parse().unwrap(), EDGE.parse().unwrap(), kind).to_string()
}

fn seq_of(payload: &[u8]) -> Option<u64> {
    Envelope::from_json(payload).ok().map(|envelope| envelope.seq)
}

/// An edge with a running uplink.
struct Edge {
    _dir: TempDir,
    outbox: Outbox,
    say: mpsc::Sender<Say>,
    told: mpsc::Receiver<Told>,
    health: watch::Receiver<LinkHealth>,
    identity: watch::Sender<Option<Arc<Identity>>>,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Edge {
    fn new(authority: &Authority, mqtt_port: u16, cloud_url: &str, settings: UplinkSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(dir.path().join("state")).unwrap();
        let outbox = OutboxSettings {
            dir: dir.path().join("outbox"),
            max_bytes: 64 << 20,
            group_time: Duration::from_millis(20),
        };
        let (outbox, _) = Outbox::open(outbox, EDGE.parse().unwrap(), &state).unwrap();
        let (identity, identity_seen) = watch::channel(Some(identity(authority, mqtt_port)));
        let (say, said) = mpsc::channel(MESSAGES);
        let (tell, told) = mpsc::channel(MESSAGES);
        let (link, health) = watch::channel(LinkHealth::now(LinkState::Connecting, None));
        let uplink = Uplink {
            outbox: outbox.clone(),
            identity: identity_seen,
            cloud: Arc::new(cloud_at(cloud_url)),
            settings,
            say: said,
            told: tell,
            health: link,
        };
        let stop = CancellationToken::new();
        let work = tokio::spawn(uplink.run(stop.clone()));
        Self { _dir: dir, outbox, say, told, health, identity, stop, work }
    }

    async fn append(&self, count: u64) {
        let bodies = (0..count).map(|number| alert(&format!("number {number}"))).collect();
        for result in self.outbox.append_all(bodies).await {
            result.unwrap();
        }
    }

    async fn acknowledged(&self, through: u64) {
        let what = format!("{through} is acknowledged");
        eventually(&what, || self.outbox.acknowledged() == through).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.work.await.unwrap();
    }
}

fn identity(authority: &Authority, mqtt_port: u16) -> Arc<Identity> {
    let key = DeviceKey::generate().unwrap();
    let enrollment = authority.enroll(&key.certificate_request().unwrap(), TENANT, EDGE, mqtt_port);
    Arc::new(key.certified(enrollment).unwrap())
}

fn alert(title: &str) -> Body {
    Body::Alerts(Alert {
        camera_id: "a".parse().unwrap(),
        timestamp: clock::now(),
        alert_type: "test".to_owned(),
        severity: Severity::Info,
        title: title.to_owned(),
        clip_id: None,
        event_id: None,
    })
}

/// No HTTPS, and patience.
const MQTT_ONLY: UplinkSettings =
    UplinkSettings { backup_after: Duration::from_secs(3600), ack_timeout: Duration::from_secs(20) };
const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn an_entry_leaves_the_outbox_only_when_the_cloud_has_acknowledged_it() {
    let authority = Authority::new();
    let mut broker = Broker::new(&authority);
    broker.start().await;
    let edge = Edge::new(&authority, broker.port, NOWHERE, MQTT_ONLY);
    let peer = Peer::new(&authority, broker.port, &edge.outbox);
    peer.up().await;
    edge.append(5).await;
    eventually("all five arrive", || peer.seqs() == [1, 2, 3, 4, 5]).await;
    // The broker has sent a PUBACK for each: the peer could not have them otherwise.
    assert_eq!((edge.outbox.acknowledged(), edge.outbox.health().entries), (0, 5));
    peer.acknowledge(3);
    edge.acknowledged(3).await;
    peer.acknowledge(u64::MAX);
    edge.acknowledged(5).await;
    assert_eq!(edge.outbox.health().entries, 0);
    assert_eq!(peer.heard(UpKind::Alerts).len(), 5);
    edge.end().await;
}

#[tokio::test]
async fn what_was_in_flight_when_the_broker_died_is_sent_again_in_order() {
    let authority = Authority::new();
    let mut broker = Broker::new(&authority);
    broker.start().await;
    // What the edge sends before the peer has subscribed again is lost, and sent once more after this time.
    let settings = UplinkSettings { ack_timeout: Duration::from_secs(3), ..MQTT_ONLY };
    let edge = Edge::new(&authority, broker.port, NOWHERE, settings);
    let peer = Peer::new(&authority, broker.port, &edge.outbox);
    peer.up().await;
    peer.acknowledges.store(true, Ordering::SeqCst);
    edge.append(300).await;
    edge.acknowledged(300).await;
    peer.acknowledges.store(false, Ordering::SeqCst);
    edge.append(400).await;
    eventually("the window is full", || peer.seqs().len() >= 300 + 256).await;
    broker.kill();
    edge.append(300).await;
    assert_eq!(edge.outbox.acknowledged(), 300);
    peer.acknowledges.store(true, Ordering::SeqCst);
    broker.start().await;
    edge.acknowledged(1000).await;
    let seqs = peer.seqs();
    let is_in_order = |pair: &[u64]| pair[1] > pair[0] || pair[1] <= 301;
    assert!(seqs.windows(2).all(is_in_order), "each connection starts at the oldest and goes up: {seqs:?}");
    let twice = (301..=556).any(|seq| seqs.iter().filter(|arrived| **arrived == seq).count() > 1);
    assert!(twice, "what was in flight is sent again");
    edge.end().await;
}

#[tokio::test]
async fn silence_of_the_cloud_ends_the_connection_and_everything_is_sent_again() {
    let authority = Authority::new();
    let mut broker = Broker::new(&authority);
    broker.start().await;
    let settings = UplinkSettings { ack_timeout: Duration::from_millis(500), ..MQTT_ONLY };
    let edge = Edge::new(&authority, broker.port, NOWHERE, settings);
    let peer = Peer::new(&authority, broker.port, &edge.outbox);
    peer.up().await;
    edge.append(3).await;
    eventually("all three arrive twice", || peer.seqs().starts_with(&[1, 2, 3, 1, 2, 3])).await;
    assert_eq!(edge.outbox.acknowledged(), 0);
    peer.acknowledges.store(true, Ordering::SeqCst);
    edge.acknowledged(3).await;
    edge.end().await;
}

#[tokio::test]
async fn events_go_over_https_while_mqtt_is_dead_and_over_mqtt_again_afterwards() {
    let authority = Authority::new();
    let mut broker = Broker::new(&authority);
    let outbox_id = Arc::new(Mutex::new(None));
    let server = {
        let outbox_id = Arc::clone(&outbox_id);
        HttpServer::answering(move |request| {
            let batch: EventBatch = serde_json::from_str(&request.body).unwrap();
            let seqs: Vec<_> = batch.events.iter().map(|event| seq_of(event.get().as_bytes()).unwrap()).collect();
            assert!(seqs.is_sorted_by(|a, b| a < b));
            let outbox: Option<aivms_contract::id::OutboxId> = outbox_id.lock().unwrap().clone();
            let ack = Ack { outbox: outbox.unwrap(), through: *seqs.last().unwrap() };
            (200, serde_json::to_string(&ack).unwrap())
        })
    };
    let settings = UplinkSettings { backup_after: Duration::from_millis(300), ..MQTT_ONLY };
    let mut edge = Edge::new(&authority, broker.port, &server.url(), settings);
    *outbox_id.lock().unwrap() = Some(edge.outbox.id().clone());
    edge.append(700).await;
    edge.acknowledged(700).await;
    assert!(server.requests().len() >= 2, "no batch is larger than the contract allows");
    let request = &server.requests()[0];
    assert_eq!(request.path, "/api/edge/events");
    assert!(request.header("authorization").unwrap().starts_with("Bearer ey"));
    let shown = edge.health.wait_for(|health| health.state == LinkState::Backup);
    let cause = tokio::time::timeout(Duration::from_secs(10), shown).await.unwrap().unwrap().cause.clone();
    assert!(cause.is_some_and(|cause| cause.contains("refused")), "the reason MQTT is down is shown");

    broker.start().await;
    let peer = Peer::new(&authority, broker.port, &edge.outbox);
    peer.acknowledges.store(true, Ordering::SeqCst);
    peer.up().await;
    let connected = edge.health.wait_for(|health| health.state == LinkState::Connected);
    tokio::time::timeout(Duration::from_secs(90), connected).await.unwrap().unwrap();
    let requests = server.requests().len();
    edge.append(5).await;
    edge.acknowledged(705).await;
    assert_eq!(peer.seqs(), [701, 702, 703, 704, 705]);
    assert_eq!(server.requests().len(), requests, "MQTT has taken over");
    edge.end().await;
}

#[tokio::test]
async fn commands_and_documents_arrive_and_answers_wait_for_the_connection() {
    let authority = Authority::new();
    let mut broker = Broker::new(&authority);
    // Nobody listens there.
    let mut edge = Edge::new(&authority, free_port(), NOWHERE, MQTT_ONLY);
    let reported = Reported { version: 3, at: clock::now(), state: aivms_contract::desired::ReportedState::Applied };
    edge.say.send(Say::Reported(reported.clone())).await.unwrap();
    eventually("the edge has tried in vain", || edge.health.borrow().state == LinkState::Retrying).await;
    let peer = Peer::new(&authority, broker.port, &edge.outbox);
    broker.start().await;
    peer.up().await;
    // What is said is not kept for who subscribes later: the peer is there before the edge.
    edge.identity.send_replace(Some(identity(&authority, broker.port)));
    eventually("the report arrives", || !peer.heard(UpKind::Reported).is_empty()).await;
    assert_eq!(serde_json::from_slice::<Reported>(&peer.heard(UpKind::Reported)[0]).unwrap(), reported);
    assert_eq!(edge.told.recv().await, Some(Told::Connected));

    // Nonsense harms nobody.
    peer.say(DownKind::Acks, "nonsense");
    peer.say(DownKind::Acks, r#"{"outbox":"another","through":1}"#);
    peer.say(DownKind::Commands, "[]");
    peer.say(DownKind::Desired, r#"{"version":1}"#);
    assert_eq!(edge.told.recv().await, Some(Told::Desired(Bytes::from_static(br#"{"version":1}"#))));
    let command = serde_json::json!({"id": "c1", "issued_at": clock::now(), "expires_at": clock::now(),
        "command": "get_status"});
    peer.say(DownKind::Commands, command.to_string());
    assert_eq!(edge.told.recv().await, Some(Told::Command(serde_json::from_value(command).unwrap())));
    edge.end().await;
}

#[tokio::test]
async fn a_broker_of_another_authority_gets_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut broker = Broker::new(&theirs);
    broker.start().await;
    let mut edge = Edge::new(&ours, broker.port, NOWHERE, MQTT_ONLY);
    edge.append(1).await;
    let retrying = edge.health.wait_for(|health| health.state == LinkState::Retrying);
    let cause = tokio::time::timeout(Duration::from_secs(20), retrying).await.unwrap().unwrap().cause.clone().unwrap();
    assert!(cause.contains("certificate"), "{cause}");
    assert_eq!(edge.outbox.acknowledged(), 0);
    edge.end().await;
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once() {
    let authority = Authority::new();
    let mut broker = Broker::new(&authority);
    broker.start().await;
    let mut edge = Edge::new(&authority, broker.port, NOWHERE, MQTT_ONLY);
    assert_eq!(edge.told.recv().await, Some(Told::Connected));
    edge.identity.send_replace(Some(identity(&authority, broker.port)));
    let again = tokio::time::timeout(Duration::from_secs(20), edge.told.recv()).await.unwrap();
    assert_eq!(again, Some(Told::Connected));
    edge.end().await;
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_named_as_the_cause() {
    let authority = Authority::new();
    // To an edge whose clock is two days late, a good certificate looks like this one.
    let mut broker = Broker::valid_in_days(&authority, 2);
    broker.start().await;
    let mut edge = Edge::new(&authority, broker.port, NOWHERE, MQTT_ONLY);
    let retrying = edge.health.wait_for(|health| health.state == LinkState::Retrying);
    let cause = tokio::time::timeout(Duration::from_secs(20), retrying).await.unwrap().unwrap().cause.clone().unwrap();
    assert!(cause.contains("this device's clock"), "{cause}");
    edge.end().await;
}

#[tokio::test]
async fn a_withdrawn_edge_keeps_its_events_and_shows_why() {
    let authority = Authority::new();
    let server = HttpServer::answering(|_| (401, r#"{"detail":"the certificate was withdrawn"}"#.to_owned()));
    let settings = UplinkSettings { backup_after: Duration::from_millis(100), ..MQTT_ONLY };
    let mut edge = Edge::new(&authority, free_port(), &server.url(), settings);
    edge.append(3).await;
    let said = |health: &LinkHealth| health.cause.as_ref().is_some_and(|cause| cause.contains("was withdrawn"));
    tokio::time::timeout(Duration::from_secs(20), edge.health.wait_for(said)).await.unwrap().unwrap();
    assert_eq!((edge.outbox.acknowledged(), edge.outbox.health().entries), (0, 3));
    edge.end().await;
}
