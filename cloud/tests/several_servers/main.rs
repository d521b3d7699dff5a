//! Three processes of the cloud over one PostgreSQL, behind HAProxy, as in production: edges and people may be on any
//! of them, and any of them may be killed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "test code")]

mod edge;
mod feed;
mod holder;
mod live_edge;
mod load;
mod receiver;
mod servers;
mod viewer;
mod watching;
mod worker;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::edge::{Edge, Ended};
use self::feed::Feed;
use self::servers::{Owner, Servers};

/// Events of each edge, and how many a second.
const EVENTS: u64 = 400;
const RATE: u64 = 50;
const EDGES: usize = 12;
/// Longest wait for everything to arrive.
const DRAIN: Duration = Duration::from_secs(120);
/// What "at once" means, with two cores for three clouds, a database and a balancer.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_a_server_is_killed_under_load_and_others_go_on_telling_of_them() {
    let mut servers = Servers::start().await;
    let owner = servers.register("acme").await;
    let mut edges = Vec::new();
    for _ in 0..EDGES {
        edges.push(Edge::enroll(&servers, &owner).await);
    }
    // Somebody watches on the server that is killed, somebody on another one.
    let watched = Feed::open(&servers.direct(2), &owner).await;
    // That one goes on elsewhere from where it was cut off, as a browser does.
    let (cut, other, who) = (Feed::open(&servers.direct(0), &owner).await, servers.direct(1), owner.clone());
    let moved = tokio::spawn(async move {
        let (before, place) = cut.cut_off().await;
        (before, Feed::resume(&other, &who, &place).await)
    });

    let mut publishing = JoinSet::new();
    for edge in edges.clone() {
        publishing.spawn(async move { edge.publish(EVENTS, RATE).await });
    }
    sleep(Duration::from_secs(3)).await;
    servers.kill(0);
    sleep(Duration::from_secs(3)).await;
    servers.resume(0).await;
    let sent: BTreeSet<String> =
        timeout(DRAIN, publishing.join_all()).await.expect("everything is acknowledged").concat().into_iter().collect();
    assert_eq!(sent.len() as u64, EVENTS * EDGES as u64);

    let stored = servers.database.psql(&["select count(*), count(distinct (outbox, seq)) from events"]).unwrap();
    assert_eq!(stored.trim(), format!("{0}|{0}", sent.len()), "each event once");
    assert_eq!(servers.database.psql(&["select count(*) from quarantine"]).unwrap().trim(), "0");

    let heard = watched.until_heard(&sent, DRAIN).await;
    assert_eq!(heard.len(), heard.iter().collect::<BTreeSet<_>>().len(), "the feed tells of each event once");
    let (mut before, feed) = moved.await.unwrap();
    before.extend(feed.until_heard(&rest(&sent, &before), DRAIN).await);
    assert_eq!(before.len(), sent.len(), "nothing is missed or told twice over the change of servers");

    // All have hung up by now, those of the killed server as well.
    let deadline = Instant::now() + DRAIN;
    while servers.connected(&owner).await != 0 {
        assert!(Instant::now() < deadline, "edges that have gone are shown as connected");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_edge_is_out_at_once_whichever_server_it_is_on_and_whichever_is_told() {
    let servers = Servers::start().await;
    let owner = servers.register("acme").await;
    for here in 0..3 {
        let told = (here + 1) % 3;
        let edge = Edge::enroll(&servers, &owner).await;
        let mut session = edge.connect(servers.mqtt(here)).await.unwrap();
        let asked = Instant::now();
        owner.post(&servers.direct(told), &format!("/api/tenant/edges/{}/revoke", edge.id)).await;
        let ended = timeout(AT_ONCE, session.ended()).await.expect("the session is closed");
        println!("withdrawn on server {told}, closed on {here} after {:?}: {ended}", asked.elapsed());
        for server in 0..3 {
            assert!(matches!(edge.connect(servers.mqtt(server)).await, Err(Ended::Refused)), "server {server}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_connection_of_an_edge_is_the_only_one_whichever_servers_they_are_on() {
    let servers = Servers::start().await;
    let owner = servers.register("acme").await;
    let edge = Edge::enroll(&servers, &owner).await;
    let mut session = edge.connect(servers.mqtt(0)).await.unwrap();
    for server in [1, 2, 0, 2] {
        let newer = edge.connect(servers.mqtt(server)).await.unwrap();
        timeout(AT_ONCE, session.ended()).await.expect("the older session is closed");
        session = newer;
        // The end of the older session is written down after the beginning of the newer one.
        sleep(Duration::from_millis(500)).await;
        assert_eq!(servers.connected(&owner).await, 1, "server {server}");
    }
    drop(session);
    let deadline = Instant::now() + AT_ONCE;
    while servers.connected(&owner).await != 0 {
        assert!(Instant::now() < deadline, "the edge is still shown as connected");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_of_a_killed_server_are_shown_as_gone_when_its_lease_is_over_and_no_others() {
    let mut servers = Servers::start().await;
    let owner = servers.register("acme").await;
    let (one, two) = (Edge::enroll(&servers, &owner).await, Edge::enroll(&servers, &owner).await);
    let _lost = one.connect(servers.mqtt(0)).await.unwrap();
    let _kept = two.connect(servers.mqtt(1)).await.unwrap();
    let deadline = Instant::now() + AT_ONCE;
    while servers.connected(&owner).await != 2 {
        assert!(Instant::now() < deadline, "both are connected");
        sleep(Duration::from_millis(100)).await;
    }
    servers.kill(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while servers.connected(&owner).await != 1 {
        assert!(Instant::now() < deadline, "the edge of the killed server is still shown as connected");
        sleep(Duration::from_millis(500)).await;
    }
    let shown: Value = owner.get(&servers.direct(2), &format!("/api/tenant/edges/{}", two.id)).await;
    assert_eq!(shown["connected"], true, "{shown}");
}

fn rest(all: &BTreeSet<String>, told: &[String]) -> BTreeSet<String> {
    all.iter().filter(|id| !told.contains(id)).cloned().collect()
}

impl Owner {
    async fn get(&self, base: &str, path: &str) -> Value {
        let answer = self.http.get(format!("{base}{path}")).bearer_auth(&self.token).send().await.unwrap();
        assert!(answer.status().is_success(), "GET {path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    async fn make(&self, path: &str, what: &Value) -> Value {
        let answer = self.http.post(path).bearer_auth(&self.token).json(what).send().await.unwrap();
        assert_eq!(answer.status(), 201, "POST {path}: {what}");
        answer.json().await.unwrap()
    }

    async fn post(&self, base: &str, path: &str) {
        let answer = self.http.post(format!("{base}{path}")).bearer_auth(&self.token).send().await.unwrap();
        assert!(answer.status().is_success(), "POST {path}: {}", answer.status());
    }
}
