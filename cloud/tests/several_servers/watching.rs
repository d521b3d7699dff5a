//! Live view whichever servers the browser, the edge's MQTT session and its relay's WebSocket are on.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::AT_ONCE;
use crate::edge::Edge;
use crate::live_edge::LiveEdge;
use crate::servers::{Owner, Servers};
use crate::viewer::{Viewer, ticket};

/// Fragments that show that video flows.
const SOME: usize = 5;

/// Servers, and an edge whose session is on server 1 and whose relay comes to server 0.
async fn scene() -> (Servers, Owner, LiveEdge) {
    let servers = Servers::start().await;
    let owner = servers.register("acme").await;
    let edge = Edge::enroll(&servers, &owner).await;
    let edge = LiveEdge::start(edge, servers.mqtt(1), servers.direct(0));
    is_connected(&servers, &owner).await;
    (servers, owner, edge)
}

async fn is_connected(servers: &Servers, owner: &Owner) {
    let deadline = Instant::now() + AT_ONCE;
    while servers.connected(owner).await != 1 {
        assert!(Instant::now() < deadline, "the edge is connected");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_watched_and_asked_about_through_every_server_and_comes_up_once() {
    let (servers, owner, edge) = scene().await;
    let mut viewers = Vec::new();
    for (buys, looks) in [(2, 2), (1, 0), (0, 1), (2, 2)] {
        let ticket = ticket(&owner, &servers.direct(buys), &edge.id, None).await;
        let mut viewer = Viewer::open(&servers.direct(looks), &ticket).await.unwrap();
        viewer.fragments(SOME).await;
        for again in 0..3 {
            let refused = Viewer::open(&servers.direct(again), &ticket).await.err();
            assert_eq!(refused, Some(401), "bought on {buys}, used on {looks}, once more on {again}");
        }
        viewers.push(viewer);
    }
    for viewer in &mut viewers {
        viewer.fragments(SOME).await;
    }
    assert_eq!(edge.counts(), (1, 1), "one WebSocket, one stream, however many watch");

    for server in 0..3 {
        let base = servers.direct(server);
        let cameras: Value = owner.get(&base, &format!("/api/edges/{}/cameras", edge.id)).await;
        assert_eq!(cameras["items"][0]["camera_id"], "gate", "through {server}");
        let path = format!("{base}/api/edges/{}/cameras/gate/sprite?hour=2026-11-22T13:05:00Z", edge.id);
        let sprite = owner.http.get(path).bearer_auth(&owner.token).send().await.unwrap();
        assert_eq!((sprite.status().as_u16(), &sprite.bytes().await.unwrap()[..]), (200, &b"picture"[..]));
    }

    // Playback is paid for by the viewer, over the same two hops.
    let from = json!("2026-11-22T13:05:00Z");
    let ticket = ticket(&owner, &servers.direct(0), &edge.id, Some(from.clone())).await;
    let mut viewer = Viewer::open(&servers.direct(1), &ticket).await.unwrap();
    assert_eq!(viewer.text("opened").await["from"], "2026-11-22T13:05:00.000Z");
    viewer.say(&json!({ "type": "credit", "fragments": 3 })).await;
    viewer.fragments(3).await;
    assert!(timeout(Duration::from_secs(1), viewer.fragments(1)).await.is_err(), "nothing that is not paid for");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_server_that_shows_it_dies_a_viewer_is_told_so_and_has_it_again_at_once() {
    let (mut servers, owner, edge) = scene().await;
    // The first one who looks makes server 2 the one that shows it.
    let mut first = Viewer::look(&owner, &servers.direct(2), &edge.id).await;
    first.fragments(SOME).await;
    let mut viewer = Viewer::look(&owner, &servers.direct(1), &edge.id).await;
    viewer.fragments(SOME).await;

    // The server that the edge's WebSocket came to: the edge is called again, and the viewers need to do nothing.
    edge.come_to(servers.direct(1));
    servers.kill(0);
    viewer.drained().await;
    viewer.fragments(SOME).await;
    servers.resume(0).await;

    edge.come_to(servers.base());
    let killed = Instant::now();
    servers.kill(2);
    let ended = timeout(AT_ONCE, viewer.text("ended")).await.expect("the viewer is told");
    assert_eq!(
        (&ended["reason"], ended["detail"].as_str().unwrap().contains("look again")),
        (&json!("edge_away"), true)
    );
    let mut again = Viewer::look(&owner, &servers.direct(1), &edge.id).await;
    again.fragments(SOME).await;
    println!("told and shown again {:?} after the server died", killed.elapsed());
    let mut elsewhere = Viewer::look(&owner, &servers.direct(0), &edge.id).await;
    elsewhere.fragments(SOME).await;
    servers.resume(2).await;
    let mut back = Viewer::look(&owner, &servers.direct(2), &edge.id).await;
    back.fragments(SOME).await;

    // The one that shows it now has the edge's session, too: the edge comes to another one and is called there.
    servers.kill(1);
    timeout(AT_ONCE, elsewhere.text("ended")).await.expect("the viewer is told");
    timeout(AT_ONCE, back.text("ended")).await.expect("and whoever watches through another one");
    let mut again = Viewer::look(&owner, &servers.direct(0), &edge.id).await;
    again.fragments(SOME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_no_longer_look_is_cut_whichever_server_hears_of_it() {
    let (servers, owner, edge) = scene().await;
    let mut viewers = Vec::new();
    for server in [2, 0, 1] {
        let mut viewer = Viewer::look(&owner, &servers.direct(server), &edge.id).await;
        viewer.fragments(SOME).await;
        viewers.push(viewer);
    }
    let asked = Instant::now();
    owner.post(&servers.direct(1), &format!("/api/tenant/edges/{}/revoke", edge.id)).await;
    let mut reasons = BTreeSet::new();
    for viewer in &mut viewers {
        let ended = timeout(AT_ONCE, viewer.text("ended")).await.expect("it is cut");
        reasons.insert(ended["reason"].as_str().unwrap().to_owned());
    }
    assert_eq!(reasons, BTreeSet::from(["revoked".to_owned()]));
    println!("revoked on one server, cut on all after {:?}", asked.elapsed());
}
