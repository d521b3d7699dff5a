//! Commands, alerts and deliveries while servers are killed under load.
//!
//! What is promised, and looked at here:
//! - a command whose request was answered with 201 ends once, with the answer of its edge; an edge may be told it more
//!   than once, and its memory of ids keeps it from doing it twice. A request that got no answer may have made a
//!   command or not; if it did, that command ends like any other.
//! - there is one alert of each thing that a rule is about, however often its event was sent.
//! - each alert makes one delivery for each channel that chooses it; its message arrives at least once, always with
//!   the same `webhook-id`, and comes twice only if its server died before it could write down that it had arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::OutboxId;
use aivms_contract::time::UtcMillis;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::DRAIN;
use crate::edge::Edge;
use crate::receiver::{Message, Receiver};
use crate::servers::{Owner, Servers};
use crate::worker::{Orders, Worker};

const EDGES: usize = 6;
/// Zone events of each edge, and how many a second.
const EVENTS: u64 = 150;
const RATE: f64 = 10.0;
/// Media time between two events of one edge, in milliseconds.
const APART_MS: i64 = 7_000;
/// Events of one track.
const TRACK: u64 = 6;
const COOLDOWN_S: i64 = 60;
/// People who send commands, how many each, and the pause after each.
const SENDERS: usize = 4;
const COMMANDS: usize = 90;
const PAUSE: Duration = Duration::from_millis(120);
/// Messages to one receiver that a server has on its way at once (docs/ref/webhooks.md).
const ON_THEIR_WAY: usize = 4;

/// What a sender learned.
#[derive(Default)]
struct Sent {
    /// Commands that were answered with 201.
    stored: BTreeSet<String>,
    /// Requests of which nobody knows.
    unknown: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_alert_or_delivery_is_lost_or_doubled_when_servers_are_killed_under_load() {
    let receiver = Receiver::start().await;
    let mut servers = Servers::start_with(format!(
        "[notifications]\nallow_http = true\nallowed_networks = [\"127.0.0.1/32\"]\nallowed_ports = [{}]\n",
        receiver.port
    ))
    .await;
    let owner = servers.register("acme").await;
    let secrets = choose_what_is_told(&servers, &owner, &receiver).await;
    let (stop, mut working, mut events) = (CancellationToken::new(), JoinSet::new(), BTreeMap::new());
    let mut ids = Vec::new();
    for _ in 0..EDGES {
        let edge = Edge::enroll(&servers, &owner).await;
        ids.push(edge.id.to_string());
        events.insert(edge.id.to_string(), zone_events(&edge));
        let worker = Worker::new(edge.clone(), events[&ids[ids.len() - 1]].clone(), RATE);
        let stop = stop.clone();
        working.spawn(async move { (edge.id.to_string(), worker.run(stop).await) });
    }
    let mut sending = JoinSet::new();
    for _ in 0..SENDERS {
        sending.spawn(send(servers.base(), owner.clone(), ids.clone()));
    }

    // The first is the one that is sending to a receiver, so that it dies with leases and messages on their way.
    let (holder, cut) = kill_who_sends(&mut servers, &receiver).await;
    sleep(Duration::from_secs(2)).await;
    servers.resume(holder).await;
    let another = (holder + fastrand::usize(1..3)) % 3;
    servers.kill(another);
    sleep(Duration::from_secs(2)).await;
    servers.resume(another).await;
    println!("server {holder} died with {} messages on their way, server {another} after it", cut.len());

    let sent = timeout(DRAIN, sending.join_all()).await.expect("requests are answered");
    until(&servers, "select count(*) from commands where ended_at is null", "0").await;
    stop.cancel();
    let orders: BTreeMap<String, Orders> =
        timeout(DRAIN, working.join_all()).await.expect("every event is stored").into_iter().collect();
    each_command_ended_once_as_its_edge_answered(&servers, &owner, &sent, &orders).await;
    let alerts = each_alert_was_raised_once(&servers, &events);
    // What the dead servers had leased is taken over when the leases have ended.
    until(&servers, "select count(*) from deliveries where state = 1", "0").await;
    each_delivery_arrived_and_is_written_down_once(&servers, &owner, &receiver, alerts).await;
    for message in &cut {
        assert!(receiver.taken().contains(&message.id), "{} was on its way and is not sent again", message.id);
    }
    for message in receiver.seen() {
        let hook = standardwebhooks::Webhook::new(&secrets[&message.path]).unwrap();
        hook.verify(&message.body, &message.headers).unwrap();
    }
}

/// Two rules and two channels: one channel is told of everything, the other one of what is critical. Returns the
/// secrets of the channels by the paths of their receivers.
async fn choose_what_is_told(servers: &Servers, owner: &Owner, receiver: &Receiver) -> BTreeMap<String, String> {
    let base = servers.base();
    let rules = [
        json!({ "name": "Lobby", "kind": "zone", "severity": "warning", "zones": ["lobby"], "event_types": ["enter"] }),
        json!({ "name": "Yard", "kind": "zone", "severity": "critical", "zones": ["yard"], "event_types": ["enter"],
            "once_per_track": false, "cooldown_s": COOLDOWN_S }),
    ];
    for rule in rules {
        owner.make(&format!("{base}/api/rules"), &rule).await;
    }
    let mut secrets = BTreeMap::new();
    for (path, least) in [("all", "info"), ("critical", "critical")] {
        let url = format!("http://127.0.0.1:{}/{path}", receiver.port);
        let channel = json!({ "name": path, "kind": "webhook", "url": url, "least_severity": least });
        let made = owner.make(&format!("{base}/api/notifications/channels"), &channel).await;
        secrets.insert(path.to_owned(), made["secret"].as_str().unwrap().to_owned());
    }
    secrets
}

/// Somebody enters the lobby and the yard by turns; [`TRACK`] events are of one track.
fn zone_events(edge: &Edge) -> Vec<Envelope> {
    let outbox = OutboxId::from_random(fastrand::u128(..));
    let began = jiff::Timestamp::now().as_millisecond() - 3_600_000;
    let event = |seq: u64| {
        let at = UtcMillis::from_millis(began + i64::try_from(seq).unwrap() * APART_MS);
        let body = json!({
            "camera_id": "gate", "zone_id": if seq.is_multiple_of(2) { "lobby" } else { "yard" }, "timestamp": at,
            "event_type": "enter", "object_class": "person", "confidence": 0.9, "bbox": [1.0, 2.0, 3.0, 4.0],
            "frame": {"width": 640, "height": 480}, "track_id": format!("track-{}", seq / TRACK),
        });
        let body = Body::ZoneEvents(serde_json::from_value(body).unwrap());
        Envelope::new(edge.id.clone(), outbox.clone(), seq, body, fastrand::u128(..))
    };
    (1..=EVENTS).map(event).collect()
}

/// Sends commands to whichever edge through whichever server; waits for the answer of some.
async fn send(base: String, owner: Owner, edges: Vec<String>) -> Sent {
    let mut sent = Sent::default();
    for number in 0..COMMANDS {
        let edge = &edges[fastrand::usize(..edges.len())];
        let body = json!({ "command": "get_status", "wait_s": if number % 3 == 0 { 2 } else { 0 } });
        let request = owner.http.post(format!("{base}/api/tenant/edges/{edge}/command")).bearer_auth(&owner.token);
        let answer = request.json(&body).send().await;
        match answer.as_ref().map(reqwest::Response::status) {
            Ok(StatusCode::CREATED) => match answer.unwrap().json::<Value>().await {
                Ok(command) => drop(sent.stored.insert(command["command_id"].as_str().unwrap().to_owned())),
                Err(_) => sent.unknown += 1,
            },
            // The balancer says these for a server that died, or when it has none.
            Err(_) | Ok(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
                sent.unknown += 1;
            }
            Ok(status) => panic!("{status}: {:?}", answer.unwrap().text().await),
        }
        sleep(PAUSE).await;
    }
    sent
}

/// Kills the server that is sending to a receiver; returns it, and the messages that were on their way.
async fn kill_who_sends(servers: &mut Servers, receiver: &Receiver) -> (usize, Vec<Message>) {
    sleep(Duration::from_secs(4)).await;
    receiver.hold();
    let deadline = Instant::now() + DRAIN;
    let holder = loop {
        if let Some(holder) = receiver.held().iter().find_map(|message| servers.holder(message.from)) {
            break holder;
        }
        assert!(Instant::now() < deadline, "nothing is sent");
        sleep(Duration::from_millis(20)).await;
    };
    sleep(Duration::from_millis(300)).await;
    let held = receiver.held().into_iter().filter(|message| servers.holder(message.from) == Some(holder)).collect();
    servers.kill(holder);
    receiver.go_on();
    (holder, held)
}

async fn each_command_ended_once_as_its_edge_answered(
    servers: &Servers,
    owner: &Owner,
    sent: &[Sent],
    orders: &BTreeMap<String, Orders>,
) {
    let answered: BTreeSet<&String> = sent.iter().flat_map(|sent| &sent.stored).collect();
    let unknown: usize = sent.iter().map(|sent| sent.unknown).sum();
    let mut stored = BTreeSet::new();
    for (edge, orders) in orders {
        let path = format!("/api/tenant/edges/{edge}/commands?limit=1000");
        let page = owner.get(&servers.base(), &path).await;
        for command in page["items"].as_array().unwrap() {
            let id = command["command_id"].as_str().unwrap();
            assert!(stored.insert(id.to_owned()), "{id} is there once");
            let done = orders.get(id).unwrap_or_else(|| panic!("the edge was not told: {command}"));
            assert_eq!(command["state"], "succeeded", "{command}");
            assert_eq!(command["data"], Value::Object(done.answer.data.clone()), "the edge's one answer: {command}");
        }
    }
    let done: BTreeSet<String> = orders.values().flat_map(|orders| orders.keys().cloned()).collect();
    assert_eq!(done, stored, "edges are told of what is stored, and of nothing else");
    let lost: Vec<_> = answered.iter().filter(|id| !stored.contains(**id)).collect();
    assert!(lost.is_empty(), "answered with 201 and gone: {lost:?}");
    assert!(stored.len() <= answered.len() + unknown, "{} of {} requests", stored.len(), answered.len() + unknown);
    let again = orders.values().flat_map(BTreeMap::values).filter(|done| done.told > 1).count();
    println!("{} commands, {unknown} requests without an answer, {again} told more than once", stored.len());
}

/// Compares with what the rules say in words: once per track in the lobby, in the yard not within the cool-down.
/// Returns how many alerts are for everybody, and how many critical.
fn each_alert_was_raised_once(servers: &Servers, events: &BTreeMap<String, Vec<Envelope>>) -> (usize, usize) {
    let (mut lobby, mut yard) = (BTreeSet::new(), BTreeSet::new());
    for (edge, events) in events {
        let mut quiet_until = UtcMillis::from_millis(0);
        for envelope in events {
            let Body::ZoneEvents(event) = &envelope.body else { panic!("{envelope:?}") };
            if event.zone_id.as_str() == "lobby" {
                lobby.insert(format!("{edge}|{}", event.track_id));
            } else if event.timestamp >= quiet_until {
                yard.insert(envelope.id.to_string().to_ascii_lowercase());
                quiet_until = event.timestamp + Duration::from_secs(COOLDOWN_S.unsigned_abs());
            }
        }
    }
    let rows =
        |sql: &str| -> Vec<String> { servers.database.psql(&[sql]).unwrap().lines().map(str::to_owned).collect() };
    let raised =
        rows("select e.edge_id, a.track from alerts a join edges e on e.id = a.edge where a.rule_name = 'Lobby'");
    assert_eq!((raised.len(), raised.into_iter().collect::<BTreeSet<_>>()), (lobby.len(), lobby));
    let raised = rows("select encode(event, 'hex') from alerts where rule_name = 'Yard'");
    let raised: Vec<_> = raised.iter().map(|hex| id_of(hex)).collect();
    assert_eq!(raised.len(), yard.len());
    let yards = yard.len();
    assert_eq!(raised.into_iter().collect::<BTreeSet<_>>(), yard);
    let all = rows("select count(*) from alerts")[0].parse().unwrap();
    assert_eq!(rows("select count(*) from alerts where rule_name not in ('Lobby', 'Yard')"), ["0"]);
    println!("{all} alerts, {yards} of them critical");
    (all, yards)
}

/// The id of an event as people write it, from 16 bytes in hexadecimal.
fn id_of(hex: &str) -> String {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    aivms_contract::id::EventId::from_bytes(bytes.try_into().unwrap()).to_string().to_ascii_lowercase()
}

async fn each_delivery_arrived_and_is_written_down_once(
    servers: &Servers,
    owner: &Owner,
    receiver: &Receiver,
    (all, critical): (usize, usize),
) {
    let page = owner.get(&servers.base(), "/api/notifications/deliveries?limit=1000").await;
    let deliveries = page["items"].as_array().unwrap();
    assert_eq!(deliveries.len(), all + critical, "one for each alert and channel that chooses it");
    let (mut of, mut ids) = (BTreeSet::new(), BTreeMap::new());
    for delivery in deliveries {
        assert_eq!(delivery["state"], "delivered", "{delivery}");
        let text = |name: &str| delivery[name].as_str().unwrap().to_owned();
        assert!(of.insert((text("alert_id"), text("channel_id"))), "a second one: {delivery}");
        ids.insert(text("delivery_id"), text("alert_id"));
    }
    assert_eq!(receiver.taken(), ids.keys().cloned().collect(), "each has arrived, and nothing else");
    let (seen, mut first) = (receiver.seen(), BTreeMap::new());
    for message in &seen {
        let alert = message.json()["data"]["alert_id"].as_str().unwrap().to_owned();
        assert_eq!(alert, ids[&message.id], "an id is that of one alert");
        assert_eq!(first.entry(&message.id).or_insert(&message.body), &&message.body, "in the same words each time");
    }
    let again = seen.iter().filter(|message| message.taken).count() - ids.len();
    println!("{} deliveries, {again} arrived twice", ids.len());
    // Two servers died, each with the messages to two receivers on their way.
    assert!(again <= 2 * 2 * ON_THEIR_WAY, "{again} arrived twice");
}

/// Waits until the database answers so.
async fn until(servers: &Servers, sql: &str, wanted: &str) {
    let deadline = Instant::now() + 2 * DRAIN;
    loop {
        let found = servers.database.psql(&[sql]).unwrap();
        if found.trim() == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{sql}: {}", found.trim());
        sleep(Duration::from_millis(500)).await;
    }
}
