//! From the publish of an event to the webhook that tells of its alert, over a real MQTT connection and a real HTTP
//! receiver, while other edges of other tenants keep the cloud busy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aivms_contract::id::OutboxId;
use aivms_contract::topic::UpKind;
use aivms_tests::api::Api;
use aivms_tests::edge_client::EdgeIdentity;
use aivms_tests::fleet::Fleet;
use aivms_tests::load::{self, Pace};
use aivms_tests::report::Row;
use aivms_tests::site::{Cloud, CloudSettings};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

const TENANTS: usize = 5;
/// Edges of each tenant whose events raise alerts.
const WATCHED: usize = 4;
/// Edges of each tenant that only keep the cloud busy, and their events per second.
const BUSY: (usize, f64) = (10, 20.0);
/// Time between two alerts of one edge.
const BETWEEN: Duration = Duration::from_secs(1);
const SECONDS: u64 = 20;

/// When an event's webhook came, by the event's id.
type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (receiver, arrivals) = receive().await?;
    let more = format!(
        "[notifications]\nallowed_networks = [\"127.0.0.0/8\"]\nallowed_ports = [{}]\nallow_http = true\n",
        receiver.port()
    );
    let cloud = Cloud::start_with(directory.path(), CloudSettings { more, ..CloudSettings::default() }).await?;
    let fleet = Fleet::enroll(&cloud.base, TENANTS, BUSY.0).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive count")]
    let busy = Pace { events: BUSY.1 as u64 * SECONDS, rate: Some(BUSY.1), window: 100 };
    let mut publishers = JoinSet::new();
    for owner in &fleet.tenants {
        have_alerts_sent(owner, receiver).await?;
        for number in 0..WATCHED {
            let edge = EdgeIdentity::enroll(owner, &cloud.base, &format!("watched {number}")).await?;
            publishers.spawn(publish(edge));
        }
    }
    let busy = tokio::spawn(async move { fleet.publish(busy).await });
    let published: HashMap<String, Instant> =
        publishers.join_all().await.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    busy.await??;
    print_waits(&published, &arrivals).await
}

/// Once all have come, prints how long they took.
async fn print_waits(published: &HashMap<String, Instant>, arrivals: &Arrivals) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let missing = || published.keys().filter(|id| !arrivals.lock().is_ok_and(|came| came.contains_key(*id))).count();
    while missing() > 0 {
        ensure!(Instant::now() < deadline, "{} of {} webhooks did not come", missing(), published.len());
        sleep(Duration::from_millis(50)).await;
    }
    let came = arrivals.lock().map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
    let mut waits: Vec<Duration> = published.iter().filter_map(|(id, at)| Some(*came.get(id)? - *at)).collect();
    waits.sort();
    ensure!(waits.len() >= 100, "only {} alerts", waits.len());
    for place in [50, 99] {
        let wait = waits[waits.len() * place / 100];
        Row::new(&format!("alerts.webhook.p{place}"), wait.as_secs_f64() * 1e3, "ms").print();
    }
    Ok(())
}

/// Makes a webhook, and a rule by which each object at the camera `entrance` is an alert.
async fn have_alerts_sent(owner: &Api, receiver: SocketAddr) -> Result<()> {
    let url = format!("http://{receiver}/hook");
    owner.post("/api/notifications/channels", json!({ "name": "Receiver", "kind": "webhook", "url": url })).await?;
    let cameras = json!([{ "camera_id": "entrance" }]);
    let rule = json!({ "name": "Anybody", "kind": "detection", "severity": "warning", "cameras": cameras });
    owner.post("/api/rules", rule).await.map(drop)
}

/// Publishes objects at the camera `entrance`, each of another track; returns when each event was published.
async fn publish(edge: EdgeIdentity) -> Result<Vec<(String, Instant)>> {
    let (mut reader, mut writer) = edge.connect().await?;
    tokio::spawn(async move { while reader.next().await.is_ok() {} });
    let topic = edge.up_topic(UpKind::Detections);
    let outbox = OutboxId::from_random(fastrand::u128(..));
    let mut published = Vec::new();
    sleep(BETWEEN.mul_f64(fastrand::f64())).await;
    let mut ticks = interval(BETWEEN);
    for seq in 1..=SECONDS {
        ticks.tick().await;
        let event = load::event(&edge.edge, &outbox, "entrance", seq, load::utc_now());
        published.push((event.id.to_string(), Instant::now()));
        writer.publish(&topic, u16::try_from(seq)?, Bytes::from(event.to_json()))?;
        writer.flush().await?;
    }
    // The acknowledgements come while it still listens.
    sleep(BETWEEN).await;
    Ok(published)
}

/// Takes webhooks and notes when the one of each event came first.
async fn receive() -> Result<(SocketAddr, Arrivals)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let arrivals = Arrivals::default();
    let noted = Arc::clone(&arrivals);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move { serve(BufReader::new(stream), &noted).await });
        }
    });
    Ok((address, arrivals))
}

/// Answers the requests of one connection.
async fn serve(mut stream: BufReader<TcpStream>, arrivals: &Arrivals) -> Result<()> {
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(stream.read_line(&mut line).await? > 0, "closed");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let body: Value = serde_json::from_slice(&body)?;
        let event = body["data"]["event_id"].as_str().context("no event_id")?.to_owned();
        if let Ok(mut arrivals) = arrivals.lock() {
            arrivals.entry(event).or_insert_with(Instant::now);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}
