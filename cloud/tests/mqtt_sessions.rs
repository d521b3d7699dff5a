//! Who is connected: take-over, withdrawal, silence, presence, the end of the program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod front;

use std::time::{Duration, Instant};

use aivms_cloud::mqtt::FrontLimits;
use front::attacker::RawClient;
use front::clients::{EdgeClient, Heard, Subscriber};
use front::events::{detection, outbox};
use front::innocent::Innocent;
use front::{Cloud, eventually, now};
use rumqttc::ConnectReturnCode;
use rumqttc::mqttbytes::v4::{Connect, Packet};

fn lost(heard: &Heard) -> bool {
    matches!(heard, Heard::Lost(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_connection_of_an_edge_takes_over() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut older = EdgeClient::start(cloud.addr, &edge).await;
    let mut newer = EdgeClient::start(cloud.addr, &edge).await;
    older.expect("the end of the older", lost).await;
    assert_eq!(cloud.sessions.take_overs(), 1);
    newer.publish(&detection(edge.edge_id(), &outbox(), 1)).await;
    newer.stored_through(1).await;
    eventually("it is shown as connected", || async { cloud.edge_row(&tenant, &edge).await.connected }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_edge_is_out_at_once_and_stays_out() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::start(cloud.addr, &edge).await;

    let withdrawn = cloud.store.revoke_edge(tenant.key, edge.edge_id(), now()).await.unwrap();
    assert_eq!(withdrawn, [edge.fingerprint]);
    let began = Instant::now();
    cloud.sessions.end(&withdrawn);
    client.expect("the end of its session", lost).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    let mut again = EdgeClient::dial(cloud.addr, &edge).await;
    let refused = again.expect("a refusal", |heard| matches!(heard, Heard::Refused(_))).await;
    assert!(matches!(refused, Heard::Refused(ConnectReturnCode::NotAuthorized)));
    innocent.is_served(&cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_told_finds_out_by_itself() {
    let limits = FrontLimits { recheck: Duration::from_millis(500), ..FrontLimits::default() };
    let cloud = Cloud::start_with(limits).await;
    let mut innocent = Innocent::start(&cloud).await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    cloud.store.revoke_edge(tenant.key, edge.edge_id(), now()).await.unwrap();
    client.expect("the end of its session", lost).await;
    innocent.is_served(&cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_operator_is_out_with_all_its_connections() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let operator = cloud.operator(&tenant).await;
    let aivms_contract::identity::Role::Operator(id) = &operator.identity.role else { panic!() };
    let mut clients = Vec::new();
    for name in ["one", "two"] {
        let mut client = RawClient::connect(cloud.addr, &operator, Connect::new(name)).await;
        assert!(matches!(client.hear().await, Some(Packet::ConnAck(_))));
        clients.push(client);
    }
    let withdrawn = cloud.store.revoke_operator(tenant.key, id, now()).await.unwrap();
    cloud.sessions.end(&withdrawn);
    for client in &mut clients {
        client.is_closed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_several_tools_open_and_one_per_client_id() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let (edge, operator) = (cloud.edge(&tenant).await, cloud.operator(&tenant).await);
    let tools = [(); 3].map(|()| Subscriber::start(cloud.addr, &operator, &["-t", "aivms/v1/acme/+/up/detections"]));
    let client = EdgeClient::start(cloud.addr, &edge).await;
    client.publish(&detection(edge.edge_id(), &outbox(), 1)).await;
    for tool in &tools {
        assert_eq!(tool.message().0, edge.topic("up/detections"));
    }
    let enter = || RawClient::connect(cloud.addr, &operator, Connect::new("same"));
    let mut first = enter().await;
    assert!(matches!(first.hear().await, Some(Packet::ConnAck(_))));
    let mut second = enter().await;
    first.is_closed().await;
    assert!(matches!(second.hear().await, Some(Packet::ConnAck(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_falls_silent_is_closed_and_one_that_pings_is_not() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let [silent, pinging] = [cloud.edge(&tenant).await, cloud.edge(&tenant).await];
    let connect = || Connect { keep_alive: 1, ..Connect::new("x") };
    let mut silent = RawClient::connect(cloud.addr, &silent, connect()).await;
    let mut pinging = RawClient::connect(cloud.addr, &pinging, connect()).await;
    assert!(matches!(silent.hear().await, Some(Packet::ConnAck(_))));
    assert!(matches!(pinging.hear().await, Some(Packet::ConnAck(_))));
    let began = Instant::now();
    let ping = async {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            pinging.say(&Packet::PingReq).await;
            assert_eq!(pinging.hear().await, Some(Packet::PingResp));
        }
    };
    let silence = async {
        silent.is_closed().await;
        began.elapsed()
    };
    let (_, elapsed) = tokio::join!(ping, silence);
    assert!(elapsed >= Duration::from_millis(1_400) && elapsed < Duration::from_secs(3), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_follows_connections_and_heartbeats_tell_the_version() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let client = EdgeClient::start(cloud.addr, &edge).await;
    let row = || cloud.edge_row(&tenant, &edge);
    eventually("it is shown as connected", || async { row().await.connected }).await;
    let status = r#"{"at":"2026-11-22T13:05:00.000Z","version":"0.1.0-test","uptime_s":1,"cameras_streaming":1,
        "cameras_enabled":1,"outbox_entries":0,"applied_version":0}"#;
    let topic = edge.topic("up/status");
    client.client.publish(topic, rumqttc::QoS::AtMostOnce, false, status).await.unwrap();
    eventually("its version is known", || async { row().await.version.as_deref() == Some("0.1.0-test") }).await;
    client.client.disconnect().await.unwrap();
    eventually("it is shown as gone", || async { !row().await.connected }).await;
    assert!(row().await.last_seen.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_program_closes_every_session_and_writes_it_down() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    let store = std::sync::Arc::clone(&cloud.store);
    eventually("it is shown as connected", || async { cloud.edge_row(&tenant, &edge).await.connected }).await;
    cloud.stop().await.unwrap();
    client.expect("the end of its session", lost).await;
    assert!(!store.edge(tenant.key, edge.edge_id()).await.unwrap().unwrap().connected);
}
