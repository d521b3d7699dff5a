//! The program as a service: told by signals and telling the service manager, with files that change under it.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cloud::{PASSWORD, SOON};

/// `aivms-cloud run` in a folder of its own.
struct Program {
    child: Child,
    folder: TempDir,
    manager: UnixDatagram,
    port: u16,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn new_pair(folder: &Path) -> String {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.key"), signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("tls.crt"), cert.pem()).unwrap();
    cert.pem()
}

impl Program {
    /// Starts it and waits until it says that it is there.
    fn start(folder: TempDir, tls: bool) -> Self {
        let port = free_port();
        let tls = if tls { "tls_certificate = 'tls.crt'\ntls_key = 'tls.key'" } else { "" };
        let settings = format!(
            "database_path = 'cloud.db'\nclip_upload_dir = 'clips'\n[http]\nbind = '127.0.0.1:{port}'\n{tls}\n\
             [mqtt]\nbind = '127.0.0.1:0'\n[media]\nmin_free_mib = 0\n"
        );
        std::fs::write(folder.path().join("cloud.toml"), settings).unwrap();
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(SOON)).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_aivms-cloud"))
            .args(["run", "--config", "cloud.toml"])
            .current_dir(folder.path())
            .env_remove("JOURNAL_STREAM")
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("WATCHDOG_USEC", "400000")
            .env("AIVMS_LOG", "info,aivms_cloud=trace")
            .env("AIVMS_LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let program = Self { child, folder, manager, port };
        assert_eq!(program.told(), "READY=1");
        program
    }

    /// The next thing it tells the service manager.
    fn told(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    fn log(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(self.folder.path().join("log")).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for a line of the log.
    fn logged(&self, text: &str) {
        let deadline = Instant::now() + SOON;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ended(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.log());
            }
            assert!(Instant::now() < deadline, "it did not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the end of the watchdog's beats.
    fn told_except_beats(&self) -> String {
        loop {
            let told = self.told();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }
}

fn client(certificate_pem: Option<&str>) -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().timeout(SOON).pool_max_idle_per_host(0);
    match certificate_pem {
        Some(pem) => builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]),
        None => builder,
    }
    .build()
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_the_service_manager_that_it_started_lives_and_stops() {
    let program = Program::start(tempfile::tempdir().unwrap(), false);
    assert_eq!([program.told(), program.told()], ["WATCHDOG=1", "WATCHDOG=1"]);
    program.signal("TERM");
    assert_eq!(program.told_except_beats(), "STOPPING=1");
    let (code, log) = program.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_answers_what_was_asked_and_ends_live_feeds() {
    let program = Program::start(tempfile::tempdir().unwrap(), false);
    let (client, base) = (client(None), format!("http://127.0.0.1:{}", program.port));
    let account = json!({ "tenant_name": "acme", "email": "a@example.com", "password": PASSWORD, "name": "A" });
    let registered: Value =
        client.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap().json().await.unwrap();
    let feed = client.get(format!("{base}/api/events/live")).bearer_auth(registered["token"].as_str().unwrap());
    let feed = feed.send().await.unwrap();
    // Checking a password takes long enough to be under way when the signal comes.
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let request = client.post(format!("{base}/api/auth/login"));
            tokio::spawn(request.json(&json!({ "email": "a@example.com", "password": PASSWORD })).send())
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    program.signal("TERM");
    for answer in asked {
        let status = answer.await.unwrap().map(|answer| answer.status().as_u16());
        assert!(matches!(status, Ok(200 | 429)), "{status:?}");
    }
    tokio::time::timeout(SOON, feed.bytes()).await.expect("the feed ends").ok();
    let (code, log) = program.ended();
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_at_once_when_told_and_a_wrong_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let first = new_pair(folder.path());
    let program = Program::start(folder, true);
    let url = format!("https://localhost:{}/healthz", program.port);
    let serves = async |pem: &str| client(Some(pem)).get(&url).send().await.is_ok_and(|answer| answer.status() == 200);
    assert!(serves(&first).await);

    // Half of a replacement: a key that does not fit.
    let whole_key = std::fs::read(program.folder.path().join("tls.key")).unwrap();
    let second = new_pair(program.folder.path());
    let new_key = std::fs::read(program.folder.path().join("tls.key")).unwrap();
    std::fs::write(program.folder.path().join("tls.key"), whole_key).unwrap();
    program.signal("HUP");
    program.logged("can't be renewed");
    assert!(serves(&first).await && !serves(&second).await, "the old one stays");

    std::fs::write(program.folder.path().join("tls.key"), new_key).unwrap();
    program.signal("HUP");
    program.logged("new connections get the new one");
    let deadline = Instant::now() + SOON;
    while !serves(&second).await {
        assert!(Instant::now() < deadline);
    }
    assert!(!serves(&first).await);
}

/// Every text under a name that promises a secret, and every key in PEM.
fn secrets_of(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let secret =
                    ["token", "secret", "password", "key_pem", "recovery"].iter().any(|word| name.contains(word));
                match value.as_str() {
                    Some(text) if secret && text.len() > 7 => found.push(text.to_owned()),
                    _ => secrets_of(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secrets_of(item, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_that_passes_the_api_is_in_the_log_and_every_line_of_a_tenant_names_it() {
    let program = Program::start(tempfile::tempdir().unwrap(), false);
    let (client, base) = (client(None), format!("http://127.0.0.1:{}", program.port));
    let mut secrets = vec![PASSWORD.to_owned(), "a wrong password".to_owned()];
    let mut token = String::new();
    let mut edge = Value::Null;
    let account = json!({ "tenant_name": "acme", "email": "a@example.com", "password": PASSWORD, "name": "A" });
    let (_, csr) = crate::device::key_and_csr();
    for (path, body) in [
        ("/api/auth/register", account),
        ("/api/auth/login", json!({ "email": "a@example.com", "password": "a wrong password" })),
        ("/api/auth/login", json!({ "email": "a@example.com", "password": PASSWORD })),
        ("/api/auth/login", json!({ "email": "a@example.com", "password": PASSWORD, "pasword": PASSWORD })),
        ("/api/tenant/edges", json!({ "name": "Gate" })),
        ("/api/tenant/operators", json!({ "name": "laptop" })),
        ("/api/edge/enroll", json!({ "edge_id": "?", "edge_secret": "?", "csr_pem": csr })),
        ("/api/edge/enroll", json!({ "edge_id": "?", "edge_secret": "?", "csr_pem": csr })),
        ("/api/live/tickets", json!({ "edge_id": "?", "camera_id": "gate" })),
    ] {
        let mut body = body;
        for name in ["edge_id", "edge_secret"] {
            if body[name] == "?" {
                body[name] = edge[name].clone();
            }
        }
        let request = client.post(format!("{base}{path}")).bearer_auth(&token).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        secrets_of(&answer, &mut secrets);
        if let Some(new) = answer["token"].as_str() {
            new.clone_into(&mut token);
        }
        if answer["edge_secret"].is_string() {
            edge = answer;
        }
    }
    // Where people put secrets by mistake.
    for path in [format!("/api/events/live?token={token}"), format!("/media/{token}"), format!("/{token}")] {
        drop(client.get(format!("{base}{path}")).bearer_auth(&token).send().await.unwrap());
    }
    assert!(secrets.len() >= 6, "{secrets:?}");
    program.signal("TERM");
    let (_, log) = program.ended();
    for secret in &secrets {
        // A key in PEM would be broken into lines.
        let part = secret.lines().find(|line| !line.starts_with("-----")).unwrap();
        assert!(!log.contains(part), "a secret is in the log");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_edges = lines.iter().filter(|line| line["span"]["operation"] == "POST /api/tenant/edges");
    let named = |line: &&Value| line["span"]["tenant.id"] == "acme" && line["span"]["request.id"].is_string();
    assert!(of_edges.clone().count() >= 1 && of_edges.clone().all(|line| named(&line)), "{log}");
}

#[test]
fn the_unit_is_in_order_and_leaves_the_service_little_to_do_harm_with() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/aivms-cloud.service");
    let unit = folder.path().join("aivms-cloud.service");
    let program =
        std::fs::read_to_string(shipped).unwrap().replace("/usr/bin/aivms-cloud", env!("CARGO_BIN_EXE_aivms-cloud"));
    std::fs::write(&unit, program).unwrap();
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(&unit).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.success(), text)
    };
    let (fine, words) = analyze(&["verify", "--man=no"]);
    assert!(fine && !words.contains("aivms-cloud.service"), "{words}");
    let (little, words) = analyze(&["security", "--offline=true", "--threshold=25"]);
    assert!(little, "{words}");
}

#[test]
fn commands_as_the_guide_starts_them_run_as_the_service_does() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = std::fs::read_to_string(here.join("systemd/aivms-cloud.service")).unwrap();
    let guide = std::fs::read_to_string(here.join("../docs/guide/run-cloud.md")).unwrap();
    let (_, function) = guide.split_once("\naivms() {\n").unwrap();
    let (function, _) = function.split_once("\n}\n").unwrap();
    let words: Vec<_> = function.split_whitespace().collect();
    let properties: Vec<_> = words.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]).collect();
    for property in &properties {
        assert!(unit.lines().any(|line| line == *property), "{property} is not what the unit says");
    }
    for name in ["User=", "Group=", "WorkingDirectory=", "EnvironmentFile=", "UMask="] {
        assert!(properties.iter().any(|property| property.starts_with(name)), "{name} is missing");
    }
    let program = words[words.len() - 2];
    assert!(unit.contains(&format!("\nExecStart={program} run ")), "{program}");
}

#[test]
fn the_account_and_the_folders_are_as_systemd_reads_them() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    let run = |program: &str, file: &str| {
        let root = format!("--root={}", root.path().display());
        let output = Command::new(program).arg(root).arg(here.join(file)).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("systemd-sysusers", "aivms-cloud.sysusers");
    let accounts = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(accounts.contains("aivms-cloud:") && accounts.contains("/usr/sbin/nologin"), "{accounts}");
}

/// A program of this test alone, ended with it.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An ACME server on `port` of `folder`'s making, which looks for challenges on `challenge`.
fn acme_server(folder: &Path, port: u16, challenge: u16) -> [Helper; 2] {
    let (dns, management, control) = (free_port(), free_port(), free_port());
    let settings = json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{port}"), "managementListenAddress": format!("127.0.0.1:{control}"),
        "certificate": "acme.crt", "privateKey": "acme.key", "httpPort": challenge, "tlsPort": free_port(),
        "ocspResponderURL": "", "externalAccountBindingRequired": false,
    }});
    std::fs::write(folder.join("pebble.json"), settings.to_string()).unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("acme.crt"), cert.pem()).unwrap();
    std::fs::write(folder.join("acme.key"), signing_key.serialize_pem()).unwrap();
    let quiet = |command: &mut Command| {
        let child = command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Helper(child.unwrap_or_else(|error| panic!("{command:?}: {error}; install pebble and certbot")))
    };
    let dns_at = format!("127.0.0.1:{dns}");
    let names =
        quiet(Command::new("pebble-challtestsrv").args(["-defaultIPv6", "", "-defaultIPv4", "127.0.0.1"]).args([
            "-dns01",
            &dns_at,
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-management",
            &format!("127.0.0.1:{management}"),
        ]));
    let acme = quiet(
        Command::new("pebble")
            .args(["-config", "pebble.json", "-dnsserver", &dns_at])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0"),
    );
    let deadline = Instant::now() + SOON;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "pebble does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    [names, acme]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_certbot_gets_from_an_acme_server_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = new_pair(folder.path());
    let program = Program::start(folder, true);
    let (acme, challenge) = (free_port(), free_port());
    let _servers = acme_server(program.folder.path(), acme, challenge);
    let deploy = format!(
        "cp \"$RENEWED_LINEAGE/fullchain.pem\" tls.crt && cp \"$RENEWED_LINEAGE/privkey.pem\" tls.key && kill -HUP {}",
        program.child.id()
    );
    let certbot = Command::new("certbot")
        .current_dir(program.folder.path())
        .env("REQUESTS_CA_BUNDLE", program.folder.path().join("acme.crt"))
        .args(["certonly", "-n", "--standalone", "--http-01-address", "127.0.0.1", "--http-01-port"])
        .args([&challenge.to_string(), "-d", "vms.example.com", "--server", &format!("https://localhost:{acme}/dir")])
        .args(["--agree-tos", "--register-unsafely-without-email", "--config-dir", "cb", "--work-dir", "cb"])
        .args(["--logs-dir", "cb", "--deploy-hook", &deploy])
        .output()
        .unwrap();
    assert!(certbot.status.success(), "{}", String::from_utf8_lossy(&certbot.stderr));
    program.logged("new connections get the new one");
    let roots = std::fs::read_to_string(program.folder.path().join("tls.crt")).unwrap();
    assert_ne!(roots, first);
    // Its issuer is known to nobody, so the handshake alone shows whose certificate it is.
    let openssl = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", program.port), "-servername", "vms.example.com"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&openssl.stdout);
    assert!(shown.contains("issuer=CN = Pebble Intermediate"), "{shown}");
}
