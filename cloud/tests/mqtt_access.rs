//! What must not work does not: every forbidden filter, publish and way of connecting, with the real tools.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod front;

use front::attacker::RawClient;
use front::clients::{EdgeClient, Heard, Subscriber, mosquitto, run};
use front::events::{detection, outbox};
use front::innocent::Innocent;
use front::{Cloud, Credentials, eventually};
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, LastWill, Packet, PubRel, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode,
};

/// Filters no operator of `acme` may have. `{edge}` is an edge of `acme`, `{other}` one of `beta`.
const FORBIDDEN_TO_OPERATORS: &[&str] = &[
    "#",
    "+/#",
    "+/+/+/+/+/+",
    "aivms/#",
    "aivms/v1/#",
    "aivms/v1/+/#",
    "aivms/v1/+/+/up/zone-events",
    "aivms/v1/beta/#",
    "aivms/v1/beta/{other}/up/detections",
    "aivms/v1/acmex/#",
    "aivms/v1/acme",
    "aivms/v1/acme/{edge}/+/status",
    "aivms/v1/acme/{edge}/up/status/#",
    "$share/g/aivms/v1/acme/#",
    "$share/g/#",
    "$SYS/#",
    "/aivms/v1/acme/#",
    "/tenants/acme/#",
    "é/#",
];

/// Filters an edge of `acme` may not have; `{edge}` is itself, `{sibling}` another edge of its tenant.
const FORBIDDEN_TO_EDGES: &[&str] = &[
    "#",
    "aivms/v1/acme/#",
    "aivms/v1/acme/+/down/+",
    "aivms/v1/acme/{edge}/#",
    "aivms/v1/acme/{edge}/up/#",
    "aivms/v1/acme/{edge}/down/#",
    "aivms/v1/acme/{sibling}/down/+",
    "aivms/v1/acme/{sibling}/down/commands",
    "aivms/v1/beta/{other}/down/+",
    "$share/g/aivms/v1/acme/{edge}/down/+",
];

/// Topics an edge of `acme` may not publish on.
const FORBIDDEN_TOPICS: &[&str] = &[
    "aivms/v1/acme/{sibling}/up/detections",
    "aivms/v1/beta/{other}/up/detections",
    "aivms/v1/beta/{edge}/up/detections",
    "aivms/v1/acme/{edge}/down/commands",
    "aivms/v1/acme/{edge}/down/acks",
    "aivms/v1/acme/{sibling}/down/commands",
    "aivms/v1/acme/{edge}/up/commands",
    "aivms/v1/acme/{edge}/up/unknown",
    "aivms/v1/acme/{edge}/up/detections/x",
    "aivms/v1/acmex/{edge}/up/detections",
    "aivms/v2/acme/{edge}/up/detections",
    "/aivms/v1/acme/{edge}/up/detections",
    "$SYS/broker/clients",
    "é/x",
    "x",
];

struct Scene {
    cloud: Cloud,
    innocent: Innocent,
    edge: Credentials,
    operator: Credentials,
    names: [(&'static str, String); 3],
}

impl Scene {
    async fn set() -> Self {
        let cloud = Cloud::start().await;
        let innocent = Innocent::start(&cloud).await;
        let (acme, beta) = (cloud.tenant("acme").await, cloud.tenant("beta").await);
        let [edge, sibling] = [cloud.edge(&acme).await, cloud.edge(&acme).await];
        let (other, operator) = (cloud.edge(&beta).await, cloud.operator(&acme).await);
        let names = [("{edge}", &edge), ("{sibling}", &sibling), ("{other}", &other)]
            .map(|(name, edge)| (name, edge.edge_id().to_string()));
        Self { cloud, innocent, edge, operator, names }
    }

    fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_sub_gets_no_forbidden_filter() {
    let mut scene = Scene::set().await;
    let cases = [(&scene.operator, FORBIDDEN_TO_OPERATORS), (&scene.edge, FORBIDDEN_TO_EDGES)];
    for (who, filters) in cases {
        for filter in filters {
            let filter = scene.fill(filter);
            let out = run(mosquitto("mosquitto_sub", scene.cloud.addr, who, &["-t", &filter, "-W", "10", "-v"]));
            let text = String::from_utf8_lossy(&out.stderr);
            assert!(text.contains("denied"), "{filter}: {text}");
            assert!(out.stdout.is_empty(), "{filter}");
        }
    }
    scene.innocent.is_served(&scene.cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_a_tool_would_not_send_are_refused_one_by_one() {
    let scene = Scene::set().await;
    let mut client = RawClient::enter(scene.cloud.addr, &scene.operator).await;
    let hostile = ["aivms/v1/acme/#/up", "aivms/v1/acme#", "aivms/v1/acme/+x/up/#", "", "aivms/v1/acme/\0/#"];
    let own = ["aivms/v1/acme/#".to_owned(), scene.fill("aivms/v1/acme/{edge}/up/+")];
    let filters = hostile.iter().map(|&f| f.to_owned()).chain(own);
    let filters = filters.map(|path| SubscribeFilter { path, qos: QoS::ExactlyOnce }).collect();
    client.say(&Packet::Subscribe(Subscribe { pkid: 7, filters })).await;
    let Some(Packet::SubAck(answer)) = client.hear().await else { panic!("no SUBACK") };
    let mut expected = vec![SubscribeReasonCode::Failure; hostile.len()];
    expected.extend([SubscribeReasonCode::Success(QoS::AtLeastOnce); 2]);
    assert_eq!((answer.pkid, answer.return_codes), (7, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_holds_ten_filters_and_no_more() {
    let scene = Scene::set().await;
    let mut client = RawClient::enter(scene.cloud.addr, &scene.operator).await;
    let path = |n: u32| format!("aivms/v1/acme/edge_{n}/#");
    let filters = (0..12).map(|n| SubscribeFilter { path: path(n), qos: QoS::AtMostOnce }).collect();
    client.say(&Packet::Subscribe(Subscribe { pkid: 1, filters })).await;
    let Some(Packet::SubAck(answer)) = client.hear().await else { panic!("no SUBACK") };
    let granted = answer.return_codes.iter().filter(|code| **code != SubscribeReasonCode::Failure).count();
    assert_eq!((answer.return_codes.len(), granted), (12, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_reaches_no_forbidden_topic() {
    let mut scene = Scene::set().await;
    let watching = Subscriber::start(scene.cloud.addr, &scene.operator, &["-t", "aivms/v1/acme/#"]);
    let payload = String::from_utf8(detection(scene.edge.edge_id(), &outbox(), 1).to_json()).unwrap();
    for topic in FORBIDDEN_TOPICS {
        let topic = scene.fill(topic);
        let args = ["-t", &topic, "-q", "1", "-m", &payload];
        let out = run(mosquitto("mosquitto_pub", scene.cloud.addr, &scene.edge, &args));
        assert!(!out.status.success(), "{topic}: {out:?}");
    }
    let own = scene.edge.topic("up/detections");
    for (what, args) in [
        ("retain", vec!["-t", &own, "-q", "1", "-r", "-m", &payload]),
        ("QoS 2", vec!["-t", &own, "-q", "2", "-m", &payload]),
        ("empty", vec!["-t", &own, "-q", "1", "-n"]),
        ("will", vec!["-t", &own, "-q", "1", "-m", &payload, "--will-topic", &own, "--will-payload", "x"]),
        ("MQTT 5", vec!["-V", "5", "-t", &own, "-q", "1", "-m", &payload]),
        ("MQTT 3.1", vec!["-V", "31", "-t", &own, "-q", "1", "-m", &payload]),
    ] {
        let out = run(mosquitto("mosquitto_pub", scene.cloud.addr, &scene.edge, &args));
        assert!(!out.status.success(), "{what}: {out:?}");
    }
    for topic in [&own, "aivms/v1/acme/x", &scene.edge.topic("down/commands")] {
        let out =
            run(mosquitto("mosquitto_pub", scene.cloud.addr, &scene.operator, &["-t", topic, "-q", "1", "-m", "x"]));
        assert!(!out.status.success(), "{topic}: an operator publishes nothing");
    }
    scene.innocent.is_served(&scene.cloud).await;

    // The first thing those who watch see is what is allowed.
    let out = run(mosquitto("mosquitto_pub", scene.cloud.addr, &scene.edge, &["-t", &own, "-q", "1", "-m", &payload]));
    assert!(out.status.success(), "{out:?}");
    assert_eq!(watching.message(), (own, payload));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_raw_bytes_can_say_closes_that_connection_only() {
    let mut scene = Scene::set().await;
    let own = scene.edge.topic("up/detections");
    let publish = |topic: &str| Publish { pkid: 1, ..Publish::new(topic, QoS::AtLeastOnce, "x") };
    let encoded = |packet: &Packet| {
        let mut bytes = bytes::BytesMut::new();
        packet.write(&mut bytes, 1 << 20).unwrap();
        bytes.to_vec()
    };
    let topic_not_utf8 = {
        let mut bytes = encoded(&Packet::Publish(publish("xx")));
        bytes[4..6].copy_from_slice(&[0xc3, 0x28]);
        bytes
    };
    let foreign = String::from_utf8(detection(&scene.names[1].1.parse().unwrap(), &outbox(), 1).to_json()).unwrap();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a wildcard in a topic", encoded(&Packet::Publish(publish("aivms/v1/acme/+/up/status")))),
        ("a topic that is no UTF-8", topic_not_utf8),
        ("an envelope of a sibling", encoded(&Packet::Publish(Publish::new(&own, QoS::AtMostOnce, foreign)))),
        ("no envelope", encoded(&Packet::Publish(Publish::new(&own, QoS::AtMostOnce, "hello")))),
        ("a second CONNECT", encoded(&Packet::Connect(Connect::new("again")))),
        (
            "a packet of 65,537 bytes",
            encoded(&Packet::Publish(Publish::new(&own, QoS::AtMostOnce, vec![b'x'; 65_536]))),
        ),
        ("a packet that says 256 MiB", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("a length without end", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("packet type 0", vec![0x00, 0x00]),
        ("packet type 15", vec![0xf0, 0x00]),
        ("QoS 3", vec![0x36, 0x05, 0x00, 0x01, b'x', 0x00, 0x01]),
        ("PUBREL", encoded(&Packet::PubRel(PubRel::new(1)))),
        ("SUBSCRIBE without filters", vec![0x82, 0x02, 0x00, 0x01]),
        ("UNSUBSCRIBE without topics", vec![0xa2, 0x02, 0x00, 0x01]),
        ("a filter longer than its packet", vec![0x82, 0x06, 0x00, 0x01, 0xff, 0xff, b'a', 0x00]),
        ("a server's packet", vec![0xd0, 0x00]),
    ];
    for (what, bytes) in cases {
        let mut client = RawClient::enter(scene.cloud.addr, &scene.edge).await;
        client.send(&bytes).await;
        let heard = client.hear().await;
        assert!(heard.is_none(), "{what}: {heard:?}");
    }
    scene.innocent.is_served(&scene.cloud).await;
    assert_eq!(scene.cloud.stored(&scene.innocent.tenant, &scene.edge).await, Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_packets_that_ask_for_more_are_refused() {
    let mut scene = Scene::set().await;
    let connect = |change: fn(&mut Connect)| {
        let mut connect = Connect::new("raw");
        change(&mut connect);
        connect
    };
    let cases: Vec<(&str, Connect, u8)> = vec![
        ("a will", connect(|c| c.last_will = Some(LastWill::new("x", "y", QoS::AtMostOnce, false))), 5),
        ("no keep-alive", connect(|c| c.keep_alive = 0), 5),
        ("a keep-alive of 301 s", connect(|c| c.keep_alive = 301), 5),
        ("a client id of 300 bytes", connect(|c| c.client_id = "x".repeat(300)), 2),
    ];
    for (what, connect, code) in cases {
        let mut client = RawClient::connect(scene.cloud.addr, &scene.operator, connect).await;
        let Some(Packet::ConnAck(answer)) = client.hear().await else { panic!("{what}: no CONNACK") };
        assert_eq!(answer.code as u8, code, "{what}");
        client.is_closed().await;
    }
    let mut client = RawClient::dial(scene.cloud.addr, &scene.edge).await.unwrap();
    client.say(&Packet::PingReq).await;
    client.is_closed().await;
    scene.innocent.is_served(&scene.cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_their_own_tenant_only_and_edges_hear_only_what_is_for_them() {
    let cloud = Cloud::start().await;
    let (acme, beta) = (cloud.tenant("acme").await, cloud.tenant("beta").await);
    let [a, b] = [cloud.edge(&acme).await, cloud.edge(&beta).await];
    let [see_a, see_b] = [cloud.operator(&acme).await, cloud.operator(&beta).await];
    let [see_a, see_b] = [(see_a, "aivms/v1/acme/#"), (see_b, "aivms/v1/beta/+/up/#")]
        .map(|(operator, filter)| Subscriber::start(cloud.addr, &operator, &["-t", filter]));
    let [mut edge_a, mut edge_b] = [EdgeClient::start(cloud.addr, &a).await, EdgeClient::start(cloud.addr, &b).await];
    edge_b.publish(&detection(b.edge_id(), &outbox(), 1)).await;
    edge_b.stored_through(1).await;
    edge_a.publish(&detection(a.edge_id(), &outbox(), 1)).await;
    edge_a.stored_through(1).await;
    assert_eq!(see_a.message().0, a.topic("up/detections"), "the first it sees, though B spoke first");
    assert_eq!(see_b.message().0, b.topic("up/detections"));

    let commands = aivms_contract::topic::DownKind::Commands;
    cloud.down_link.publish(&beta.id, b.edge_id(), commands, b"for b".to_vec()).await.unwrap();
    cloud.down_link.publish(&acme.id, a.edge_id(), commands, b"for a".to_vec()).await.unwrap();
    let told = |heard: Heard| match heard {
        Heard::Down(topic, payload) => (topic, String::from_utf8(payload).unwrap()),
        other => panic!("{other:?}"),
    };
    let down = |heard: &Heard| matches!(heard, Heard::Down(..));
    assert_eq!(told(edge_a.expect("a command", down).await), (a.topic("down/commands"), "for a".to_owned()));
    assert_eq!(told(edge_b.expect("a command", down).await), (b.topic("down/commands"), "for b".to_owned()));
    eventually("the operator sees the command too", || async { see_a.message().1 == "for a" }).await;
}
