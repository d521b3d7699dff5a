//! Publishes become rows before they are acknowledged, live messages reach their readers, and presence is written
//! down.

mod front;

use front::Cloud;
use front::clients::{Subscriber, mosquitto, run};
use front::events::{detection, outbox};

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
