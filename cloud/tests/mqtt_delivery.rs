//! Publishes become rows before they are acknowledged, and live messages reach their readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod front;

use std::time::Duration;

use aivms_contract::topic::DownKind;
use front::clients::{EdgeClient, Heard, Subscriber, mosquitto, run};
use front::events::{detection, outbox};
use front::{Cloud, SOON};
use rumqttc::QoS;

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_stores_an_event_and_an_operators_mosquitto_sub_prints_it() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let (edge, operator) = (cloud.edge(&tenant).await, cloud.operator(&tenant).await);
    let subscriber = Subscriber::start(cloud.addr, &operator, &["-t", "aivms/v1/acme/#", "-q", "1"]);

    let envelope = detection(edge.edge_id(), &outbox(), 1);
    let payload = String::from_utf8(envelope.to_json()).unwrap();
    let topic = edge.topic("up/detections");
    let out = run(mosquitto("mosquitto_pub", cloud.addr, &edge, &["-t", &topic, "-q", "1", "-m", &payload]));
    assert!(out.status.success(), "{out:?}");

    assert_eq!(cloud.stored(&tenant, &edge).await, [1], "stored when mosquitto_pub has its PUBACK");
    assert_eq!(subscriber.message(), (topic, payload));
    let (topic, ack) = subscriber.message();
    assert_eq!(topic, edge.topic("down/acks"));
    assert_eq!(ack, format!(r#"{{"outbox":"{}","through":1}}"#, envelope.outbox));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_the_commit_and_all_of_it_after() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::start(cloud.addr, &edge).await;

    // Another program holds the database: the commit can't happen, and fails after the store's busy time-out.
    let blocker = rusqlite::Connection::open(cloud.dir.path().join("cloud.db")).unwrap();
    blocker.execute_batch("begin immediate").unwrap();
    let outbox = outbox();
    for seq in 1..=20 {
        client.publish(&detection(edge.edge_id(), &outbox, seq)).await;
    }
    let quiet = tokio::time::timeout(Duration::from_secs(7), client.heard.recv()).await;
    assert!(quiet.is_err(), "acknowledged without a commit: {quiet:?}");
    assert!(cloud.stored(&tenant, &edge).await.is_empty());

    blocker.execute_batch("rollback").unwrap();
    client.stored_through(20).await;
    assert_eq!(cloud.stored(&tenant, &edge).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_the_outbox_rise_and_are_fewer_than_messages() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    let (outbox, count) = (outbox(), 1_000);
    for seq in 1..=count {
        client.publish(&detection(edge.edge_id(), &outbox, seq)).await;
    }
    let (mut pubacks, mut acks, mut through) = (0, 0, 0);
    while through < count || pubacks < count {
        match tokio::time::timeout(SOON, client.heard.recv()).await.unwrap().unwrap() {
            Heard::PubAck => pubacks += 1,
            Heard::Ack(ack) => {
                assert!(ack.outbox == outbox && ack.through > through, "{ack:?} after {through}");
                (acks, through) = (acks + 1, ack.through);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((pubacks, through), (count, count));
    assert!(acks < count / 2, "{acks} acknowledgements for {count} messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fifty_edges_send_at_once_is_stored_exactly_once() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let (edges, count) = (50, 100);
    let mut running = Vec::new();
    for _ in 0..edges {
        let edge = cloud.edge(&tenant).await;
        let addr = cloud.addr;
        running.push(tokio::spawn(async move {
            let mut client = EdgeClient::start(addr, &edge).await;
            let outbox = outbox();
            for seq in 1..=count {
                client.publish(&detection(edge.edge_id(), &outbox, seq)).await;
                // As after a lost connection: what may have arrived is sent again.
                if seq % 10 == 0 {
                    client.publish(&detection(edge.edge_id(), &outbox, seq - 5)).await;
                }
            }
            client.stored_through(count).await;
            edge
        }));
    }
    for edge in running {
        let edge = edge.await.unwrap();
        assert_eq!(cloud.stored(&tenant, &edge).await, (1..=count).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_that_came_before_the_subscription_is_repeated_after_it() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::dial(cloud.addr, &edge).await;
    client.publish(&detection(edge.edge_id(), &outbox(), 1)).await;
    client.expect("a PUBACK", |heard| matches!(heard, Heard::PubAck)).await;
    client.client.subscribe(edge.topic("down/+"), QoS::AtLeastOnce).await.unwrap();
    client.stored_through(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_newer_edge_is_kept_aside_and_acknowledged() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    let mut value = serde_json::to_value(detection(edge.edge_id(), &outbox(), 1)).unwrap();
    value["v"] = 2.into();
    value["body"] = "something new".into();
    let topic = edge.topic("up/detections");
    client.client.publish(&topic, QoS::AtLeastOnce, false, value.to_string()).await.unwrap();
    client.stored_through(1).await;
    assert!(cloud.stored(&tenant, &edge).await.is_empty());
    let database = rusqlite::Connection::open(cloud.dir.path().join("cloud.db")).unwrap();
    let kept: i64 = database.query_row("select count(*) from quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_at_qos_1_gets_a_long_burst_whole_and_in_order() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let (edge, operator) = (cloud.edge(&tenant).await, cloud.operator(&tenant).await);
    let subscriber =
        Subscriber::start(cloud.addr, &operator, &["-t", &edge.topic("down/#"), "-t", "aivms/v1/acme/#", "-q", "1"]);
    for n in 0..2_000 {
        let payload = n.to_string().into_bytes();
        cloud.down_link.publish(&tenant.id, edge.edge_id(), DownKind::Commands, payload).await.unwrap();
    }
    for n in 0..2_000 {
        assert_eq!(subscriber.message(), (edge.topic("down/commands"), n.to_string()), "once, whatever overlaps");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_faster_than_its_budget_is_slowed_and_loses_nothing() {
    let cloud = Cloud::start().await;
    let tenant = cloud.tenant("acme").await;
    let edge = cloud.edge(&tenant).await;
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    // 60 KiB each: more bytes than two seconds of the budget, so it must wait at least a second.
    let began = std::time::Instant::now();
    let (topic, payload) = (edge.topic("up/reported"), "x".repeat(60_000));
    for _ in 0..220 {
        client.client.publish(&topic, QoS::AtLeastOnce, false, payload.as_str()).await.unwrap();
    }
    for _ in 0..220 {
        client.expect("a PUBACK", |heard| matches!(heard, Heard::PubAck)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}
