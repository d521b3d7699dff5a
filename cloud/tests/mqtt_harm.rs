//! Nobody's misbehaviour stops another: idle and broken connections, floods, wrong certificates, garbage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod front;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aivms_cloud::ca::{CERTIFICATE_LIFE, CertificateAuthority};
use aivms_cloud::mqtt::FrontLimits;
use front::attacker::{RawClient, tcp};
use front::clients::{EdgeClient, Heard, mosquitto, run};
use front::innocent::Innocent;
use front::{Cloud, Credentials, SOON, eventually, now};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet, Subscribe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_half_finished_connections_harm_nobody_and_are_closed() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let edge = cloud.edge(&innocent.tenant).await;
    let began = Instant::now();
    let mut idle = Vec::new();
    for n in 0..100 {
        let mut stream = tcp(cloud.addr, 3).await.unwrap();
        if n % 2 == 1 {
            // The beginning of a ClientHello.
            stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
        }
        idle.push(stream);
    }
    let mut silent = RawClient::dial(cloud.addr, &edge).await.unwrap();
    innocent.is_served(&cloud).await;
    assert!(began.elapsed() < Duration::from_secs(4), "served while all of them were open");
    silent.is_closed().await;
    for mut stream in idle {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after the time for a handshake");
    }
    innocent.is_served(&cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_from_one_address_is_turned_away_and_others_are_not() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(tcp(cloud.addr, 4).await.unwrap());
    }
    innocent.is_served(&cloud).await;
    let mut turned_away = 0;
    for stream in &mut open {
        let closed = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0; 1])).await;
        turned_away += usize::from(closed.is_ok());
    }
    assert!(turned_away >= 300 - 128, "{turned_away} of 300");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_ids_that_kill_other_brokers_are_just_names() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let (edge, operator) = (cloud.edge(&innocent.tenant).await, cloud.operator(&innocent.tenant).await);
    for client_id in ["bad#id", "bad#id", "+", "$SYS", "a/b", "é", " "] {
        for who in [&edge, &operator] {
            let args = ["-i", client_id, "-t", "aivms/v1/x/#", "-W", "10"];
            let out = run(mosquitto("mosquitto_sub", cloud.addr, who, &args));
            assert!(String::from_utf8_lossy(&out.stderr).contains("denied"), "{client_id}: {out:?}");
        }
    }
    innocent.is_served(&cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connects_harms_nobody_else() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let edge = cloud.edge(&innocent.tenant).await;
    let flood = (0..16).map(|_| {
        let (addr, edge) = (cloud.addr, edge.clone());
        tokio::spawn(async move {
            for _ in 0..12 {
                if let Ok(mut client) = RawClient::dial(addr, &edge).await {
                    client.say(&Packet::Connect(Connect::new("x"))).await;
                }
            }
        })
    });
    let flood: Vec<_> = flood.collect();
    innocent.is_served(&cloud).await;
    for task in flood {
        task.await.unwrap();
    }
    innocent.is_served(&cloud).await;
    // The flooding edge itself can still come in, and what the flood left is gone.
    EdgeClient::start(cloud.addr, &edge).await;
    eventually("only the innocent is left in the list", || async { cloud.sessions.count() == 1 }).await;
}

/// A certificate signed with the CA's own key that says what a stolen key could say.
fn signed_by(dir: &std::path::Path, names: &[SanType], cloud: &Cloud, like: &Credentials) -> Credentials {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let ca_key = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    cloud.files(&certificate.pem(), &key.serialize_pem(), like.identity.clone(), [0; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_certificates_get_nobody_in_and_harm_nobody() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let edge = cloud.edge(&innocent.tenant).await;
    let urn = || SanType::URI(edge.identity.to_string().try_into().unwrap());
    let ours = cloud.dir.path().join("ca");
    let theirs = tempfile::tempdir().unwrap();
    drop(CertificateAuthority::open(theirs.path(), now()).unwrap());
    let (issued, key) = cloud.ca.issue_with_key(&edge.identity, now() - CERTIFICATE_LIFE * 2).unwrap();
    let expired = cloud.files(&issued.certificate_pem, &key, edge.identity.clone(), issued.record.fingerprint);
    let dns = SanType::DnsName("localhost".try_into().unwrap());

    for (what, credentials) in [
        ("no identity", signed_by(&ours, &[], &cloud, &edge)),
        ("a host name", signed_by(&ours, std::slice::from_ref(&dns), &cloud, &edge)),
        ("two identities", signed_by(&ours, &[urn(), urn()], &cloud, &edge)),
        ("an identity and a host name", signed_by(&ours, &[urn(), dns], &cloud, &edge)),
        ("another CA", signed_by(theirs.path(), &[urn()], &cloud, &edge)),
        ("a life that is over", expired),
    ] {
        if let Ok(mut client) = RawClient::dial(cloud.addr, &credentials).await {
            client.say(&Packet::Connect(Connect::new("x"))).await;
            let heard = client.hear().await;
            assert!(heard.is_none(), "{what}: {heard:?}");
        }
    }
    // Rightly signed and named, but not in the table: told so, which helps whoever restored an old disk.
    let mut client = EdgeClient::dial(cloud.addr, &signed_by(&ours, &[urn()], &cloud, &edge)).await;
    let refused = client.expect("a refusal", |heard| matches!(heard, Heard::Refused(_))).await;
    assert!(matches!(refused, Heard::Refused(rumqttc::ConnectReturnCode::NotAuthorized)));
    innocent.is_served(&cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_tls_or_without_a_certificate() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let (port, ca) = (cloud.addr.port().to_string(), cloud.dir.path().join("ca.pem"));
    let mut plain = Command::new("mosquitto_pub");
    plain.args(["-h", "localhost", "-p", &port, "-t", "x", "-q", "1", "-m", "x"]);
    let mut anonymous = Command::new("mosquitto_pub");
    anonymous.args(["-h", "localhost", "-p", &port, "-t", "x", "-q", "1", "-m", "x", "--cafile"]).arg(ca);
    for command in [plain, anonymous] {
        let out = run(command);
        assert!(!out.status.success(), "{out:?}");
    }
    innocent.is_served(&cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_after_connect_do_more_than_close_the_connection() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let edge = cloud.edge(&innocent.tenant).await;
    // A panic would end that session's task only, and so not be seen by anybody else.
    let panics = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let mut runner = TestRunner::deterministic();
    let garbage = proptest::collection::vec(proptest::num::u8::ANY, 1..2_000);
    for round in 0..40 {
        let bytes = garbage.new_tree(&mut runner).unwrap().current();
        let mut client = RawClient::enter(cloud.addr, &edge).await;
        if round % 2 == 0 {
            // Begins as a publish that may say anything.
            client.send(&[0x32, 0xff, 0x0f]).await;
        }
        client.send(&bytes).await;
        // Left, or closed by the cloud; both are fine.
    }
    innocent.is_served(&cloud).await;
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_never_reads_stops_nobody() {
    let cloud = Cloud::start().await;
    let mut innocent = Innocent::start(&cloud).await;
    let operator = cloud.operator(&innocent.tenant).await;
    let mut deaf = RawClient::enter(cloud.addr, &operator).await;
    deaf.say(&Packet::Subscribe(Subscribe { pkid: 1, ..Subscribe::new("aivms/v1/innocent/#", QoS::AtMostOnce) })).await;
    // Tens of MiB: far more than all buffers on the way hold.
    let (topic, payload) = (innocent.credentials.edge_id().clone(), vec![b'x'; 50_000]);
    for _ in 0..1_000 {
        let commands = aivms_contract::topic::DownKind::Desired;
        let sent = cloud.down_link.publish(&innocent.tenant.id, &topic, commands, payload.clone());
        tokio::time::timeout(SOON, sent).await.unwrap().unwrap();
    }
    innocent.is_served(&cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_clients_at_once_than_there_is_room_for_do_not_end_the_front() {
    let cloud = Cloud::start_with(FrontLimits { sessions: 2, ..FrontLimits::default() }).await;
    let tenant = cloud.tenant("acme").await;
    let mut clients = Vec::new();
    // Let in while there is room, as in a storm of reconnects; then all say CONNECT.
    for _ in 0..8 {
        clients.push(RawClient::dial(cloud.addr, &cloud.edge(&tenant).await).await.unwrap());
    }
    for client in &mut clients {
        client.say(&Packet::Connect(Connect::new("raw"))).await;
    }
    for client in &mut clients {
        let answer = client.hear().await;
        assert!(matches!(&answer, Some(Packet::ConnAck(ack)) if ack.code as u8 == 0), "{answer:?}");
    }
    assert!(!cloud.served.is_finished());
}
