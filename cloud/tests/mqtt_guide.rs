//! The guide's commands, taken from the guide and run by a shell against a running cloud.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod front;

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aivms_cloud::config::Config;
use aivms_cloud::run;
use aivms_contract::edge_api::Enrollment;
use aivms_contract::identity::{Identity, Role};
use front::clients::EdgeClient;
use front::events::{detection, outbox, zone_event};
use front::{Credentials, eventually};
use serde_json::{Value, json};

const GUIDE: &str = include_str!("../../docs/guide/mqtt-cli.md");

/// The shell blocks of the guide, in order.
fn blocks() -> Vec<&'static str> {
    let blocks: Vec<_> = GUIDE.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(blocks.len(), 6, "a block was added: run it here");
    blocks
}

struct Reader {
    dir: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// A block that runs until it is told to stop.
struct Running {
    shell: Child,
    output: PathBuf,
}

impl Reader {
    /// `set -a` and the export carry the shell's variables from one block to the next, as in one terminal.
    fn shell(&self, block: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(format!("set -eu -o pipefail -a\n. ./variables\n{block}\nexport -p > variables"));
        shell.current_dir(&self.dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        shell.envs(self.variables.iter().cloned());
        shell
    }

    fn run(&self, block: &str) {
        let out = self.shell(block).output().unwrap();
        assert!(out.status.success(), "{block}\n{}", String::from_utf8_lossy(&out.stderr));
    }

    fn start(&self, name: &str, block: &str) -> Running {
        let output = self.dir.join(name);
        let file = File::create(&output).unwrap();
        let mut shell = self.shell(block);
        shell.stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null()).process_group(0);
        Running { shell: shell.spawn().unwrap(), output }
    }
}

impl Running {
    fn printed(&self) -> String {
        let mut text = String::new();
        File::open(&self.output).unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The whole group: the shell waits for its tools.
        let group = rustix::process::Pid::from_child(&self.shell);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        drop(self.shell.wait());
    }
}

/// Registers a tenant and an enrolled edge by the API, and gives the guide's reader its variables.
async fn set_up(cloud: &run::Running, dir: &Path) -> (Credentials, Reader) {
    let base = format!("http://{}", cloud.http_addr());
    let client = reqwest::Client::new();
    let post = async |path: &str, token: &str, body: Value| -> Value {
        let request = client.post(format!("{base}{path}")).bearer_auth(token).json(&body);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    };
    let (email, password) = ("owner@guide.example", "correct horse battery staple");
    let account = json!({"tenant_name": "Guide", "email": email, "password": password, "name": "Owner"});
    let token = post("/api/auth/register", "", account).await["token"].as_str().unwrap().to_owned();
    let registered = post("/api/tenant/edges", &token, json!({"name": "gate house"})).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let request = json!({
        "edge_id": registered["edge_id"], "edge_secret": registered["edge_secret"], "csr_pem": csr,
    });
    let enrolled: Enrollment = serde_json::from_value(post("/api/edge/enroll", "", request).await).unwrap();

    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let edge = Credentials {
        identity: Identity { tenant: enrolled.tenant_id, role: Role::Edge(enrolled.edge_id) },
        fingerprint: [0; 32],
        certificate: write("edge.crt", &enrolled.certificate_pem),
        key: write("edge.key", &key.serialize_pem()),
        ca: write("edge-ca.crt", &enrolled.ca_pem),
    };
    write("variables", "");
    let variables = vec![("CLOUD_URL", base), ("EMAIL", email.to_owned()), ("PASSWORD", password.to_owned())];
    (edge, Reader { dir: dir.to_owned(), variables })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_commands_do_what_the_guide_says() {
    let dir = tempfile::tempdir().unwrap();
    let (database_path, clip_upload_dir) = (dir.path().join("cloud.db"), dir.path().join("clips"));
    let mut config = Config { database_path, clip_upload_dir, ..Config::default() };
    config.http.bind = ([127, 0, 0, 1], 0).into();
    config.mqtt.bind = ([127, 0, 0, 1], 0).into();
    let cloud = run::start(config).await.unwrap();
    let (edge, reader) = set_up(&cloud, dir.path()).await;
    let blocks = blocks();
    reader.run(blocks[0]);
    reader.run(blocks[1]);
    let [all, zone_events, down] =
        [("all", 2), ("zone-events", 3), ("down", 4)].map(|(name, n)| reader.start(name, blocks[n]));

    let mut client = EdgeClient::start(cloud.mqtt_addr(), &edge).await;
    let (outbox, mut seq) = (outbox(), 0);
    // The tools subscribe when they are ready; from then on they see what is said.
    while [&all, &zone_events, &down].iter().any(|tool| tool.printed().is_empty()) {
        assert!(seq < 1_000, "{} | {} | {}", all.printed(), zone_events.printed(), down.printed());
        client.publish(&detection(edge.edge_id(), &outbox, seq + 1)).await;
        let entered = zone_event(edge.edge_id(), &outbox, seq + 2);
        client
            .client
            .publish(edge.topic("up/zone-events"), rumqttc::QoS::AtLeastOnce, false, entered.to_json())
            .await
            .unwrap();
        seq += 2;
        client.stored_through(seq).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let sees = |tool: &Running, text: &str| assert!(tool.printed().contains(text), "{text}: {}", tool.printed());
    sees(&down, &format!("{} {{\"outbox\":\"{outbox}\",\"through\":", edge.topic("down/acks")));
    sees(&zone_events, "\tgate\tlawn\tenter\ttrack-");
    eventually("all of it", || async { all.printed().contains(&edge.topic("up/zone-events")) }).await;
    sees(&all, &edge.topic("up/"));
    assert!(!zone_events.printed().contains("denied"));

    reader.run(blocks[5]);
    eventually("the withdrawn operator is out", || async {
        [&all, &down].iter().all(|tool| tool.printed().contains("not authorised"))
    })
    .await;
    cloud.stop().await.unwrap();
}
