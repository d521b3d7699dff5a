//! The shipped configurations of nginx and HAProxy, run as they are but for addresses and paths: people over HTTPS with
//! the live feed and a WebSocket, edges over MQTT with their own TLS all the way to the cloud.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aivms_cloud::config::Config;
use futures_util::StreamExt;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Client, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

use crate::cloud::{Cloud, Owner, SOON};
use crate::device::Device;

/// A running proxy, ended with the test.
struct Proxy {
    child: Child,
    https: u16,
    plain: u16,
    mqtt: u16,
    certificate_pem: String,
    folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Not killed: nginx would leave its workers behind.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn behind_proxies(config: &mut Config) {
    let here: aivms_cloud::network::Proxies = serde_json::from_str(r#"["127.0.0.1"]"#).unwrap();
    config.http.trusted_proxies = here.clone();
    config.mqtt.trusted_proxies = here;
    config.http.public_url = "https://localhost".parse().ok();
}

/// Starts `program` with the shipped configuration `name` before processes whose API is at the ports `apis`, and whose
/// MQTT front is at `front`.
fn start(program: &str, name: &str, apis: &[u16], front: u16) -> Proxy {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: String| -> PathBuf {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    put("tls.crt", cert.pem());
    put("tls.key", signing_key.serialize_pem());
    put("tls.pem", format!("{}{}", cert.pem(), signing_key.serialize_pem()));
    let (https, plain, mqtt) = (free_port(), free_port(), free_port());
    let shipped = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let here = folder.path().display();
    let mut text = with_a_line_for_each(&shipped, "cloud:8080", apis);
    for (from, to) in [
        ("cloud:8883", format!("127.0.0.1:{front}")),
        ("port 8080", format!("port {}", apis[0])),
        ("/etc/nginx/tls", here.to_string()),
        ("/var/www/acme", format!("{here}/acme")),
        ("/etc/haproxy/tls.pem", format!("{here}/tls.pem")),
        ("/tmp/nginx", format!("{here}/nginx")),
        ("listen 80;", format!("listen 127.0.0.1:{plain};")),
        ("listen 443 ", format!("listen 127.0.0.1:{https} ")),
        ("listen 8883 ", format!("listen 127.0.0.1:{mqtt} ")),
        ("bind :80\n", format!("bind 127.0.0.1:{plain}\n")),
        ("bind :443 ", format!("bind 127.0.0.1:{https} ")),
        ("bind :8883\n", format!("bind 127.0.0.1:{mqtt}\n")),
    ] {
        text = text.replace(from, &to);
    }
    let path = put(name, text);
    let mut command = Command::new(program);
    match program {
        "nginx" => command.args(["-g", "daemon off;", "-c"]).arg(&path),
        _ => command.args(["-db", "-f"]).arg(&path),
    };
    let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
    let child =
        child.unwrap_or_else(|error| panic!("{program}: {error}; install it, for nginx with its stream module"));
    let proxy = Proxy { child, https, plain, mqtt, certificate_pem: cert.pem(), folder };
    let deadline = Instant::now() + SOON;
    while [https, mqtt].iter().any(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err()) {
        assert!(Instant::now() < deadline, "{program} does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy
}

/// `text` with the line of the process `named` once for each of `ports`, as the guide tells an operator to.
fn with_a_line_for_each(text: &str, named: &str, ports: &[u16]) -> String {
    let lines = text.lines().flat_map(|line| {
        let copies = if line.contains(named) { ports } else { &ports[..1] };
        copies.iter().map(move |port| line.replace(named, &format!("127.0.0.1:{port}")) + "\n")
    });
    lines.collect()
}

/// A client that trusts the proxy and follows nobody elsewhere.
fn browser(proxy: &Proxy) -> Client {
    let root = reqwest::Certificate::from_pem(proxy.certificate_pem.as_bytes()).unwrap();
    let redirects = reqwest::redirect::Policy::none();
    Client::builder().no_proxy().tls_certs_only([root]).redirect(redirects).timeout(SOON).build().unwrap()
}

async fn people_come_through(proxy: &Proxy, cloud: &Cloud, owner: &Owner, device: &Device) {
    let client = browser(proxy);
    let url = |path: &str| format!("https://localhost:{}{path}", proxy.https);
    let deadline = Instant::now() + SOON;
    let ready = loop {
        let answer = client.get(url("/readyz")).send().await.unwrap();
        // A balancer that has not looked yet has nobody to ask.
        if answer.status() == 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(ready.headers().contains_key("strict-transport-security"), "{ready:?}");
    let named = client.get(url("/healthz")).header("x-request-id", "chosen-by-a-stranger").send().await.unwrap();
    let id = named.headers()["x-request-id"].to_str().unwrap();
    assert!(id != "chosen-by-a-stranger" && id.len() >= 32, "the proxy names requests: {id}");
    let plain = client.get(format!("http://localhost:{}/docs", proxy.plain)).send().await.unwrap();
    assert_eq!(plain.status(), 308);

    let feed = client.get(url("/api/events/live")).bearer_auth(&owner.token).send().await.unwrap();
    let mut feed = feed.bytes_stream();
    let event = device.detection(u64::from(proxy.https));
    device.deliver(cloud, std::slice::from_ref(&event)).await.assert_ok();
    let heard = async {
        let mut text = String::new();
        while !text.contains(&event.id.to_string()) {
            text.push_str(&String::from_utf8_lossy(&feed.next().await.unwrap().unwrap()));
        }
    };
    tokio::time::timeout(SOON, heard).await.expect("the live feed is not held up");
    a_web_socket_opens(proxy, device).await;
}

async fn a_web_socket_opens(proxy: &Proxy, device: &Device) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(proxy.certificate_pem.as_bytes()).unwrap()).unwrap();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let url = format!("wss://localhost:{}/api/edge/relay", proxy.https);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", device.token()).parse().unwrap());
    let opened = connect_async_tls_with_config(request, None, false, Some(Connector::Rustls(Arc::new(tls))));
    let (_socket, answer) = tokio::time::timeout(SOON, opened).await.unwrap().unwrap();
    assert_eq!(answer.status(), 101);
}

/// With the operator's own certificate, which only the cloud can judge.
async fn mqtt_comes_through(port: u16, cloud: &Cloud, owner: &Owner) -> bool {
    let operator = cloud.post_as(owner, "/api/tenant/operators", json!({ "name": "laptop" })).await;
    operator.assert_ok();
    let folder = tempfile::tempdir().unwrap();
    for (file, member) in [("crt", "certificate_pem"), ("key", "private_key_pem"), ("ca", "ca_pem")] {
        std::fs::write(folder.path().join(file), operator.text(member)).unwrap();
    }
    let listened = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("mosquitto_sub");
        command.current_dir(folder.path()).args(["-h", "localhost", "-p", &port.to_string(), "-d", "-W", "2"]);
        command.args(["--cafile", "ca", "--cert", "crt", "--key", "key", "-t", "aivms/v1/acme/#"]);
        command.output().unwrap()
    });
    let output = listened.await.unwrap();
    String::from_utf8_lossy(&output.stdout).contains("Subscribed (mid:")
}

async fn everything_works_behind(program: &str, name: &str) {
    let cloud = Cloud::with(behind_proxies).await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let proxy = start(program, name, &[cloud.http_port()], cloud.mqtt_port());
    people_come_through(&proxy, &cloud, &owner, &device).await;
    assert!(mqtt_comes_through(proxy.mqtt, &cloud, &owner).await, "MQTT through {program}");
    assert!(
        !mqtt_comes_through(cloud.mqtt_port(), &cloud, &owner).await,
        "without the word of the proxy nobody enters"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_nginx_as_it_is_shipped() {
    everything_works_behind("nginx", "nginx.conf").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_haproxy_as_it_is_shipped() {
    everything_works_behind("haproxy", "haproxy.cfg").await;
}

/// A process that reads each request, which has no body, and then dies over it or answers.
struct Process {
    port: u16,
    read: Arc<Mutex<Vec<String>>>,
}

impl Process {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let process = Self { port: listener.local_addr().unwrap().port(), read: Arc::default() };
        let read = Arc::clone(&process.read);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut buffer, mut text) = ([0; 4096], String::new());
                while !text.ends_with("\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(length @ 1..) => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
                        _ => break,
                    }
                }
                read.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        process
    }

    fn has_read(&self, method: &Method, path: &str) -> bool {
        self.read.lock().unwrap().iter().any(|line| line.starts_with(&format!("{method} {path} ")))
    }
}

/// Sends requests of `method` until one has come to the process that dies. Says what became of that one, and whether
/// the `other` process was asked the same.
async fn asked_of_one_that_dies(proxy: &Proxy, dies: &Process, other: &Process, method: &Method) -> (StatusCode, bool) {
    let (client, deadline) = (browser(proxy), Instant::now() + SOON);
    let mut number = 0;
    loop {
        number += 1;
        assert!(Instant::now() < deadline, "{method} never came to the process that dies");
        let path = format!("/api/things/{number}");
        // No body, as for acknowledging an alert: one that is passed on piece by piece could not be sent twice anyway.
        let request = client.request(method.clone(), format!("https://localhost:{}{path}", proxy.https));
        let status = request.header("content-length", 0).send().await.unwrap().status();
        if dies.has_read(method, &path) {
            return (status, other.has_read(method, &path));
        }
        // One that died is left alone for a while.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_never_sends_a_post_twice_when_a_process_dies_over_it() {
    let dies = Process::start("").await;
    let lives = Process::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let proxy = start("nginx", "nginx.conf", &[dies.port, lives.port], free_port());
    let get = asked_of_one_that_dies(&proxy, &dies, &lives, &Method::GET).await;
    assert_eq!(get, (StatusCode::OK, true), "a GET is asked of the next one");
    let post = asked_of_one_that_dies(&proxy, &dies, &lives, &Method::POST).await;
    assert_eq!(post, (StatusCode::BAD_GATEWAY, false), "nobody knows whether a POST was done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_shows_an_acme_server_the_answers_that_a_client_put_into_its_folder() {
    let proxy = start("nginx", "nginx.conf", &[free_port()], free_port());
    let challenges = proxy.folder.path().join("acme/.well-known/acme-challenge");
    std::fs::create_dir_all(&challenges).unwrap();
    std::fs::write(challenges.join("token"), "token.thumbprint").unwrap();
    // Started by root, nginx gives its rights up.
    std::fs::set_permissions(proxy.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let url = format!("http://localhost:{}/.well-known/acme-challenge/token", proxy.plain);
    let answer = browser(&proxy).get(url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "token.thumbprint");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_claims_to_be_a_proxy_gets_nowhere() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let mut stranger = tokio::net::TcpStream::connect(("127.0.0.1", cloud.mqtt_port())).await.unwrap();
    stranger.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 8883\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(SOON, stranger.read_to_end(&mut answer)).await.expect("it is cut");
    assert!(ended.is_err() || answer.first() != Some(&22), "no TLS handshake begins");
    assert!(mqtt_comes_through(cloud.mqtt_port(), &cloud, &owner).await, "everybody else is served as before");
}
