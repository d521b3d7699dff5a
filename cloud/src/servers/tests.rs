use std::sync::Mutex;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock;
use crate::store::EdgeKey;

/// What makes servers one cloud: an authority and a secret.
struct Shared {
    ca: Arc<CertificateAuthority>,
    secret: Secret,
    _folder: TempDir,
}

/// A server that listens, and the edges whose questions came to it.
struct Home {
    peer: Peer,
    asked: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn shared(secret: &str) -> Shared {
    let folder = tempfile::tempdir().unwrap();
    let ca = Arc::new(CertificateAuthority::open(folder.path(), clock::now()).unwrap());
    Shared { ca, secret: Secret::new(secret.repeat(32)), _folder: folder }
}

fn sealer(secret: &Secret) -> Arc<Sealer> {
    Arc::new(Sealer::new(secret, None, SEALED_FOR_LINKS))
}

fn links(ca: &CertificateAuthority, secret: &Secret) -> Links {
    Links::new(ca, sealer(secret)).unwrap()
}

/// Welcomes everybody and says back what it hears.
async fn home(shared: &Shared) -> Home {
    let (ca, bind) = (Arc::clone(&shared.ca), "127.0.0.1:0".parse().unwrap());
    let listener = LinkListener::bind(bind, "home".into(), ca, sealer(&shared.secret)).await.unwrap();
    let peer = Peer { process: "home".into(), address: listener.address().to_string() };
    let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let seen = Arc::clone(&asked);
    let take = move |mut link: Link, errand: Errand| {
        seen.lock().unwrap().push(errand.place().edge.to_string());
        async move {
            welcome(&mut link).await.unwrap();
            while let Some(Ok(message)) = link.next().await {
                link.send(message).await.unwrap();
            }
        }
    };
    tokio::spawn(listener.serve(take, stop.clone()));
    Home { peer, asked, stop }
}

fn question() -> Errand {
    let place = Place { tenant: "acme".parse().unwrap(), edge: "edge_1".parse().unwrap(), key: EdgeKey(1) };
    Errand::Ask { place, ask: Ask::Cameras, limit: Duration::from_secs(1) }
}

#[tokio::test]
async fn servers_of_one_cloud_reach_each_other_and_messages_of_any_size_go_both_ways() {
    let shared = shared("a");
    let home = home(&shared).await;
    let mut link = links(&shared.ca, &shared.secret).open(&home.peer, &question()).await.unwrap();
    let big = Message::Binary(vec![7; aivms_contract::relay::MAX_FRAME_BYTES]);
    for message in [Message::Text("hello".into()), Message::Ping(vec![1]), big] {
        link.send(message.clone()).await.unwrap();
        assert!(link.next().await.unwrap().unwrap() == message);
    }
    assert_eq!(*home.asked.lock().unwrap(), ["edge_1"]);
}

#[tokio::test]
async fn nobody_gets_a_link_without_what_all_servers_share() {
    let (ours, theirs) = (shared("a"), shared("b"));
    let home = home(&ours).await;
    let moved = Peer { process: "another".into(), ..home.peer.clone() };
    let nobody = Peer { process: "home".into(), address: "127.0.0.1:1".into() };
    for (what, links, peer, said) in [
        ("another server secret", links(&ours.ca, &theirs.secret), &home.peer, "secret is another one"),
        ("another authority", links(&theirs.ca, &ours.secret), &home.peer, "certificate"),
        ("a server that was here before", links(&ours.ca, &ours.secret), &moved, "another server has this address"),
        ("nobody there", links(&ours.ca, &ours.secret), &nobody, "refused"),
    ] {
        match links.open(peer, &question()).await {
            Err(LinkError::Unreachable(error)) => assert!(error.to_string().contains(said), "{what}: {error}"),
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what} has got a link"),
        }
    }
    // One who speaks no TLS, and one who greets with more than a greeting holds.
    let mut stranger = TcpStream::connect(&home.peer.address).await.unwrap();
    stranger.write_all(&[b'x'; 4_096]).await.unwrap();
    let cut = timeout(Duration::from_secs(20), stranger.read_to_end(&mut Vec::new())).await;
    assert!(cut.is_ok(), "it is cut");
    let tcp = TcpStream::connect(&home.peer.address).await.unwrap();
    let stream = tls::connector(&ours.ca).unwrap().connect(tls::name(), tcp).await.unwrap();
    let mut link = Framed::new(TlsStream::from(stream), MessageCodec::default());
    let _ = link.send(Message::Binary(vec![0; 1_000_000])).await;
    let cut = timeout(Duration::from_secs(20), link.next()).await.expect("it is cut");
    assert!(!matches!(cut, Some(Ok(_))), "{cut:?}");
    assert!(home.asked.lock().unwrap().is_empty(), "no errand was taken");
}
