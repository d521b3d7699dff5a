//! What needs a look inside: addresses behind proxies, and the life of a live stream's token.

use std::time::Instant;

use aivms_contract::id::EdgeId;
use aivms_contract::identity::{Identity, Role};
use tempfile::TempDir;

use super::live::Watcher;
use super::signed_in::{called_by, session_of};
use super::*;
use crate::clock;
use crate::config::Config;
use crate::notify::guard::GuardedClient;
use crate::relay::{SEALED_FOR_TICKETS, Tickets};
use crate::store::{NewTenant, SignIn, Store, User};

#[test]
fn only_proxies_of_ours_are_believed_about_addresses() {
    let trusted = ["10.0.0.1", "10.0.0.2"].iter().map(|address| address.parse::<IpAddr>().unwrap()).collect();
    for (peer, forwarded, seen) in [
        ("192.0.2.7", &[][..], "192.0.2.7"),
        ("192.0.2.7", &["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", &["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", &["nonsense"], "10.0.0.1"),
        ("::ffff:192.0.2.7", &[], "192.0.2.7"),
        ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
        // One customer has 2^64 of them.
        ("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::"),
    ] {
        let found = client_address(peer.parse().unwrap(), forwarded.iter().copied(), &trusted);
        assert_eq!(found.to_string(), seen, "{forwarded:?}");
    }
}

#[tokio::test]
async fn a_live_stream_ends_when_its_token_is_withdrawn() {
    let (directory, services) = services();
    let user = services.store.register_tenant(acme(), clock::now()).await.unwrap();
    let token = signed_in(&services, &user).await;
    let session = session_of(&services, &token, String::new(), "/").await.unwrap();
    let mut watcher = Watcher::start(Arc::clone(&services), &token, &session, None).await.unwrap();
    // The two frames a stream begins with.
    assert!(watcher.next().await.is_some() && watcher.next().await.is_some());
    watcher.look_now();
    assert!(tokio::time::timeout(Duration::from_millis(200), watcher.next()).await.is_err(), "it goes on");

    let behind_our_back = rusqlite::Connection::open(directory.path().join("cloud.db")).unwrap();
    behind_our_back.execute("update users set token_generation = 1", []).unwrap();
    watcher.look_now();
    let start = Instant::now();
    assert!(watcher.next().await.is_none());
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_live_stream_is_one_call_however_long_it_lasts() {
    let (_directory, parts, mut settings) = parts();
    let one = std::num::NonZeroU32::MIN;
    settings.calls_per_caller = Some(Pace { per_second: one, at_once: one.saturating_add(1) });
    let services = Arc::new(Services::new(parts, settings, CancellationToken::new()));
    let user = services.store.register_tenant(acme(), clock::now()).await.unwrap();
    let token = signed_in(&services, &user).await;
    let call = async || called_by(&services, &token, String::new(), "/").await;
    let session = call().await.unwrap();
    let mut watcher = Watcher::start(Arc::clone(&services), &token, &session, None).await.unwrap();
    assert!(watcher.next().await.is_some() && watcher.next().await.is_some());
    for _ in 0..5 {
        watcher.look_now();
        assert!(tokio::time::timeout(Duration::from_millis(20), watcher.next()).await.is_err(), "it goes on");
    }
    assert!(call().await.is_ok(), "the looks at its token were no calls");
}

#[tokio::test]
async fn a_withdrawal_whose_caller_goes_away_still_ends_the_session() {
    let (directory, parts, settings) = parts();
    let services = Arc::new(Services::new(parts.clone(), settings.clone(), CancellationToken::new()));
    let user = services.store.register_tenant(acme(), clock::now()).await.unwrap();
    let token = signed_in(&services, &user).await;
    let edge_id = EdgeId::from_random(1);
    services.store.create_edge(user.tenant, &edge_id, "Gate", [1; 32], clock::now()).await.unwrap();
    let identity = Identity { tenant: user.tenant_id.clone(), role: Role::Edge(edge_id.clone()) };
    let (issued, _) = services.ca.issue_with_key(&identity, clock::now()).unwrap();
    services.store.enroll_edge(&edge_id, [1; 32], issued.record.clone(), clock::now()).await.unwrap();
    let connection = crate::mqtt::sessions::Connection { edge: None, generation: 1 };
    let seat = services.sessions.enter(&identity, "", issued.record.fingerprint, connection).unwrap();

    let endpoint = endpoint(Api::new(parts, settings, CancellationToken::new()));
    let slow_disk = rusqlite::Connection::open(directory.path().join("cloud.db")).unwrap();
    slow_disk.execute_batch("begin immediate").unwrap();
    let revoke = Request::builder()
        .method(poem::http::Method::POST)
        .uri(format!("/api/tenant/edges/{edge_id}/revoke").parse().unwrap())
        .header("authorization", format!("Bearer {token}"))
        .finish();
    let given_up = tokio::time::timeout(Duration::from_millis(500), endpoint.call(revoke)).await;
    assert!(given_up.is_err(), "the caller gave up before the commit");
    slow_disk.execute_batch("rollback").unwrap();
    tokio::time::timeout(Duration::from_secs(20), seat.told_to_end()).await.expect("the session is ended");
    assert!(services.store.edge(user.tenant, &edge_id).await.unwrap().unwrap().revoked);
}

/// A token of a new session.
async fn signed_in(services: &Services, user: &User) -> String {
    let sign_in = SignIn {
        method: "password",
        address: String::new(),
        agent: String::new(),
        refresh_hash: [user.key.0 as u8; 32],
    };
    let session = services.store.sign_in(user.key, sign_in, clock::now()).await.unwrap();
    services.tokens.sign(user, &session, clock::now()).unwrap()
}

fn acme() -> NewTenant {
    NewTenant {
        tenant_id: "acme".parse().unwrap(),
        tenant_name: "Acme".into(),
        email: "a@example.com".into(),
        name: "A".into(),
        password_hash: String::new(),
    }
}

fn services() -> (TempDir, Arc<Services>) {
    let (directory, parts, settings) = parts();
    (directory, Arc::new(Services::new(parts, settings, CancellationToken::new())))
}

fn parts() -> (TempDir, ApiParts, ApiSettings) {
    let directory = tempfile::tempdir().unwrap();
    let store: SharedStore = Arc::new(Store::open_sqlite(&directory.path().join("cloud.db")).unwrap());
    let hints = LiveHints::default();
    let (ingest, _batches) = Ingest::new(Arc::clone(&store), hints.clone());
    let ca = Arc::new(CertificateAuthority::open(directory.path(), clock::now()).unwrap());
    let sealer = Sealer::new(&Secret::new("0123456789".repeat(4)), None, SEALED_FOR_TICKETS);
    let (relay, _calls) = Relay::new(Arc::clone(&store), Tickets::new(sealer), None, CancellationToken::new());
    let config = Config {
        clip_upload_dir: directory.path().join("clips"),
        data_dir: Some(directory.path().join("data")),
        ..Config::default()
    };
    let media = MediaFiles::open(config.media_settings(), Arc::clone(&store)).unwrap();
    let readiness = Readiness::new(Arc::clone(&store), CancellationToken::new());
    let (sessions, figures) = (Sessions::default(), HttpFigures::default());
    crate::run::install_crypto_provider();
    let secret = Secret::new("0123456789".repeat(4));
    let (_, notifications) = crate::notify::set_up(&config, &secret, media.clone()).unwrap();
    let parts = ApiParts { store, ca, ingest, sessions, hints, relay, media, notifications, readiness, figures };
    let settings = ApiSettings {
        jwt_secret: Secret::new("0123456789".repeat(4)),
        jwt_secret_previous: None,
        public_url: None,
        guarded: GuardedClient::new(config.notifications.address_rules()).unwrap(),
        edge_timeout: Duration::from_secs(120),
        mqtt_host: "localhost".into(),
        mqtt_port: 8883,
        trusted_proxies: Proxies::default(),
        https: false,
        security_contact: None,
        link_seconds: 600,
        deletion_wait_days: 7,
        calls_per_caller: None,
        calls_per_tenant: None,
    };
    (directory, parts, settings)
}
