//! Settings that must work, or say what is wrong with them at start.

use std::path::Path;

use aivms_cloud::config::Config;
use aivms_cloud::run;
use rcgen::{CertifiedKey, generate_simple_self_signed};

struct Pair {
    directory: tempfile::TempDir,
    certificate_pem: String,
}

fn pair() -> Pair {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tls.crt"), cert.pem()).unwrap();
    std::fs::write(directory.path().join("tls.key"), signing_key.serialize_pem()).unwrap();
    Pair { directory, certificate_pem: cert.pem() }
}

fn config(directory: &Path, certificate: &str, key: &str) -> Config {
    let (database_path, clip_upload_dir) = (directory.join("cloud.db"), directory.join("clips"));
    let mut config = Config { database_path, clip_upload_dir, ..Config::default() };
    let loopback = "127.0.0.1:0".parse().unwrap();
    (config.http.bind, config.mqtt.bind) = (loopback, loopback);
    config.http.tls_certificate = Some(directory.join(certificate));
    config.http.tls_key = Some(directory.join(key));
    config
}

#[tokio::test]
async fn the_api_speaks_https_with_a_certificate() {
    let pair = pair();
    let running = run::start(config(pair.directory.path(), "tls.crt", "tls.key")).await.unwrap();
    let root = reqwest::Certificate::from_pem(pair.certificate_pem.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let answer = client.get(format!("https://localhost:{}/healthz", running.http_addr().port())).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("strict-transport-security"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_certificate_or_key_is_named_at_start() {
    let (pair, other) = (pair(), pair());
    let directory = pair.directory.path();
    std::fs::copy(other.directory.path().join("tls.key"), directory.join("other.key")).unwrap();
    for (certificate, key, named) in [
        ("missing.crt", "tls.key", "missing.crt"),
        ("tls.crt", "missing.key", "missing.key"),
        ("tls.crt", "tls.crt", "http.tls_key"),
        ("tls.key", "tls.key", "http.tls_certificate"),
        ("tls.crt", "other.key", "do not belong together"),
    ] {
        let error = run::start(config(directory, certificate, key)).await.unwrap_err();
        assert!(format!("{error:#}").contains(named), "{error:#}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for front in ["http", "mqtt"] {
        let mut config = config(directory.path(), "", "");
        (config.http.tls_certificate, config.http.tls_key) = (None, None);
        let bind = if front == "http" { &mut config.http.bind } else { &mut config.mqtt.bind };
        *bind = taken.local_addr().unwrap();
        let error = format!("{:#}", run::start(config).await.unwrap_err());
        assert!(
            error.to_lowercase().contains(front) && error.contains(&taken.local_addr().unwrap().to_string()),
            "{error}"
        );
    }
}
