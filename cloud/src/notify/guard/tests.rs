//! The guard against real listeners: what must not be called never sees a connection.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Where a receiver stands that may be called.
const ALLOWED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 7, 7, 7));
/// Where something stands that must not be.
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers each connection with the same bytes and counts them.
struct Listener {
    address: SocketAddr,
    seen: Arc<AtomicUsize>,
}

impl Listener {
    async fn at(address: SocketAddr, answer: &'static str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    let _ = stream.read(&mut buffer).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

/// A resolver whose answer changes with each question, as that of somebody who rebinds a name.
struct Flipping(Mutex<VecDeque<Vec<IpAddr>>>);

#[async_trait]
impl LookUp for Flipping {
    async fn look_up(&self, host: &str) -> std::io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "rebind.example");
        let next = self.0.lock().unwrap().pop_front().ok_or(std::io::ErrorKind::NotFound)?;
        Ok(next.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
    }
}

fn rules(port: u16) -> AddressRules {
    let allowed_networks = vec![ipnet::IpNet::from(ALLOWED)];
    AddressRules { allowed_networks, allowed_ports: vec![port], allow_http: true }
}

fn client(port: u16, answers: &[&[IpAddr]]) -> GuardedClient {
    crate::run::install_crypto_provider();
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    GuardedClient::with_look_up(rules(port), Flipping(Mutex::new(answers)), Client::builder()).unwrap()
}

async fn post(client: &GuardedClient, url: String) -> Result<Answer, CallError> {
    client.post(&url.parse().unwrap(), HeaderMap::new(), "{}").await
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

#[tokio::test]
async fn a_name_that_is_rebound_between_two_calls_is_refused_at_the_second() {
    let receiver = Listener::at(SocketAddr::new(ALLOWED, 0), OK).await;
    let port = receiver.address.port();
    let inside = Listener::at(SocketAddr::new(INSIDE, port), OK).await;
    let client = client(port, &[&[ALLOWED], &[INSIDE], &[ALLOWED, INSIDE], &[INSIDE, ALLOWED], &[]]);
    let url = || format!("http://rebind.example:{port}/hook");
    let answer = post(&client, url()).await.unwrap();
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "hello"));
    for _ in 0..3 {
        let refused = post(&client, url()).await.unwrap_err();
        assert_eq!(refused, CallError::Refused(AddressRefused::NotPublic(INSIDE, "a loopback address")));
    }
    assert!(matches!(post(&client, url()).await, Err(CallError::NoAnswer(_))));
    assert_eq!((receiver.seen(), inside.seen()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_not_followed_anywhere() {
    let inside = Listener::at(SocketAddr::new(INSIDE, 0), OK).await;
    let location = inside.address;
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{location}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let receiver = Listener::at(SocketAddr::new(ALLOWED, 0), redirect.leak()).await;
    let client = client(receiver.address.port(), &[&[ALLOWED]]);
    let answer = post(&client, format!("http://rebind.example:{}/", receiver.address.port())).await.unwrap();
    assert_eq!((answer.status, inside.seen()), (StatusCode::TEMPORARY_REDIRECT, 0));
}

#[tokio::test]
async fn an_address_in_the_url_itself_is_checked_though_no_resolver_is_asked() {
    let inside = Listener::at(SocketAddr::new(INSIDE, 0), OK).await;
    let port = inside.address.port();
    let client = client(port, &[]);
    for host in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let refused = post(&client, format!("http://{host}:{port}/")).await.unwrap_err();
        assert!(matches!(refused, CallError::Refused(AddressRefused::NotPublic(..))), "{host}: {refused:?}");
    }
    assert_eq!(inside.seen(), 0);
}

#[tokio::test]
async fn the_resolver_of_the_system_is_guarded_alike() {
    crate::run::install_crypto_provider();
    let inside = Listener::at(SocketAddr::new(INSIDE, 0), OK).await;
    let port = inside.address.port();
    let client = GuardedClient::new(rules(port)).unwrap();
    let refused = post(&client, format!("http://localhost:{port}/")).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(AddressRefused::NotPublic(..))), "{refused:?}");
    assert_eq!(inside.seen(), 0);
}

#[tokio::test]
async fn little_of_an_endless_answer_is_read_and_its_wish_to_be_left_alone_is_kept() {
    let head = "HTTP/1.1 503 Busy\r\nretry-after: 17\r\ncontent-length: 100000000\r\n\r\nsecond\r\nline ";
    let receiver = Listener::at(SocketAddr::new(ALLOWED, 0), format!("{head}{}", "x".repeat(100_000)).leak()).await;
    let client = client(receiver.address.port(), &[&[ALLOWED]]);
    let answer = post(&client, format!("http://rebind.example:{}/", receiver.address.port())).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.retry_after), (503, Some(Duration::from_secs(17))));
    assert!(answer.text.starts_with("second line xxx") && answer.text.len() <= MAX_KEPT_CHARS, "{}", answer.text);
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_in_time() {
    let receiver = Listener::at(SocketAddr::new(ALLOWED, 0), "").await;
    let client = client(receiver.address.port(), &[&[ALLOWED]]);
    let begun = std::time::Instant::now();
    let error = post(&client, format!("http://rebind.example:{}/", receiver.address.port())).await.unwrap_err();
    assert_eq!(error, CallError::NoAnswer("no answer within 15 s".into()));
    assert!(begun.elapsed() < CALL_LIMIT + Duration::from_secs(5));
}

#[tokio::test]
async fn an_answer_that_is_read_whole_has_a_limit_and_comes_from_no_redirect_and_nowhere_inside() {
    let inside = Listener::at(SocketAddr::new(INSIDE, 0), OK).await;
    let location = inside.address;
    let moved =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{location}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let [small, large, moved] = [OK.to_owned(), format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000)), moved];
    let ask = async |answer: String| {
        let receiver = Listener::at(SocketAddr::new(ALLOWED, 0), answer.leak()).await;
        let port = receiver.address.port();
        let request = http::Request::get(format!("http://rebind.example:{port}/")).body(Vec::new()).unwrap();
        client(port, &[&[ALLOWED]]).exchange(request, 1_000).await
    };
    assert_eq!(ask(small).await.unwrap().body(), b"hello");
    let refused = ask(large).await.unwrap_err();
    assert_eq!(refused, CallError::NoAnswer("the answer has more than 1000 bytes".into()));
    assert_eq!(ask(moved).await.unwrap().status(), 302);
    let there = http::Request::get(format!("http://{location}/")).body(Vec::new()).unwrap();
    let refused = client(location.port(), &[]).exchange(there, 1_000).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(AddressRefused::NotPublic(..))), "{refused:?}");
    assert_eq!(inside.seen(), 0);
}
