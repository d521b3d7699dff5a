//! The processes: clouds, their database, the balancer.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aivms_test_database::TestDatabase;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::holder;

/// Longest time a process may take to be ready on a loaded machine.
const START: Duration = Duration::from_secs(60);
const COUNT: usize = 3;
/// Where the balancer connects from, so that it can be told from clients that come without it.
const BALANCER: &str = "127.0.0.9";

/// Three clouds behind HAProxy; all end with this value.
pub(crate) struct Servers {
    pub database: TestDatabase,
    directory: TempDir,
    http: Client,
    clouds: Vec<Cloud>,
    balancer: Child,
    http_port: u16,
    mqtt_port: u16,
    /// What else stands in the settings of each cloud.
    settings: String,
}

struct Cloud {
    http_port: u16,
    mqtt_port: u16,
    /// Where other servers reach it.
    link_port: u16,
    child: Option<Child>,
}

/// A signed-in owner of a tenant.
#[derive(Clone)]
pub(crate) struct Owner {
    pub http: Client,
    pub token: String,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        Self::start_with(String::new()).await
    }

    /// With further tables in the settings of each cloud.
    pub(crate) async fn start_with(settings: String) -> Self {
        let (directory, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().unwrap());
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let [http_port, mqtt_port] = [free_port(), free_port()];
        let cloud = |_| Cloud { http_port: free_port(), mqtt_port: free_port(), link_port: free_port(), child: None };
        let clouds: Vec<_> = (0..COUNT).map(cloud).collect();
        let balancer = balancer(directory.path(), http_port, mqtt_port, &clouds);
        let mut servers = Self { database, directory, http, clouds, balancer, http_port, mqtt_port, settings };
        for index in 0..COUNT {
            servers.resume(index).await;
        }
        let base = servers.base();
        servers.ready(&base).await;
        servers
    }

    /// The API behind the balancer.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// The MQTT front behind the balancer.
    pub(crate) fn balanced_mqtt(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.mqtt_port))
    }

    /// The API of one server.
    pub(crate) fn direct(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.clouds[index].http_port)
    }

    /// The MQTT front of one server.
    pub(crate) fn mqtt(&self, index: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.clouds[index].mqtt_port))
    }

    /// The server that holds the connection whose near end is `address`.
    pub(crate) fn holder(&self, address: SocketAddr) -> Option<usize> {
        let holds = |cloud: &Cloud| cloud.child.as_ref().is_some_and(|child| holder::holds(child.id(), address));
        self.clouds.iter().position(holds)
    }

    /// Ends a server at once, as a power cut would.
    pub(crate) fn kill(&mut self, index: usize) {
        end(&mut self.clouds[index].child);
    }

    /// Starts a server and waits until it is ready.
    pub(crate) async fn resume(&mut self, index: usize) {
        let folder = self.directory.path();
        let Cloud { http_port, mqtt_port, link_port, .. } = self.clouds[index];
        let settings = folder.join(format!("cloud-{index}.toml"));
        // What the servers share beside the database: the authority's key, the signing secret, the clips.
        let text = format!(
            "data_dir = \"{0}/data\"\nclip_upload_dir = \"{0}/clips\"\n[media]\nmin_free_mib = 0\n\
             [servers]\nbind = \"127.0.0.1:{link_port}\"\n\
             [http]\nbind = \"127.0.0.1:{http_port}\"\ntrusted_proxies = [\"{BALANCER}\"]\n\
             [mqtt]\nbind = \"127.0.0.1:{mqtt_port}\"\ntrusted_proxies = [\"{BALANCER}\"]\npublic_host = \"localhost\"\npublic_port = {1}\n{2}",
            folder.display(),
            self.mqtt_port,
            self.settings,
        );
        std::fs::write(&settings, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aivms-cloud"));
        command.args(["run", "--config"]).arg(&settings).env("DATABASE_URL", self.database.url());
        for unset in ["DATABASE_PATH", "CLIP_UPLOAD_DIR", "JWT_SECRET", "JOURNAL_STREAM", "SMTP_HOST", "WEBHOOK_URL"] {
            command.env_remove(unset);
        }
        self.clouds[index].child = Some(spawn(command, &folder.join(format!("cloud-{index}.log"))));
        self.ready(&self.direct(index)).await;
    }

    pub(crate) async fn register(&self, tenant: &str) -> Owner {
        let account = json!({
            "tenant_name": tenant,
            "email": format!("owner@{tenant}.example"),
            "password": "correct horse battery staple",
            "name": "Owner",
        });
        let answer = self.http.post(format!("{}/api/auth/register", self.base())).json(&account).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        let token = body["token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        Owner { http: self.http.clone(), token }
    }

    /// How many edges are shown as connected.
    pub(crate) async fn connected(&self, owner: &Owner) -> usize {
        let url = format!("{}/api/tenant/edges", self.direct(2));
        let answer = owner.http.get(url).bearer_auth(&owner.token).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        let edges = body["items"].as_array().or_else(|| body.as_array());
        edges.unwrap_or_else(|| panic!("{body}")).iter().filter(|edge| edge["connected"] == true).count()
    }

    async fn ready(&self, base: &str) {
        let deadline = Instant::now() + START;
        let url = format!("{base}/readyz");
        loop {
            if let Ok(answer) = self.http.get(&url).send().await
                && answer.status().is_success()
            {
                return;
            }
            assert!(Instant::now() < deadline, "{base} is not ready: {}", self.logs());
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        ["cloud-0.log", "cloud-1.log", "cloud-2.log", "balancer.log"].map(read).join("\n")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.clouds.iter_mut().for_each(|cloud| end(&mut cloud.child));
        let _ = self.balancer.kill().and_then(|()| self.balancer.wait());
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// HAProxy with the settings of the guide as they stand there, but for addresses.
fn balancer(folder: &Path, http_port: u16, mqtt_port: u16, clouds: &[Cloud]) -> Child {
    let guide = include_str!("../../../docs/guide/several-servers.md");
    let (_, settings) = guide.split_once("```haproxy\n").unwrap();
    let (settings, _) = settings.split_once("```").unwrap();
    let mut text = settings.replace("option redispatch", &format!("option redispatch\n    source {BALANCER}"));
    let mut put = |from: &str, port: u16| {
        assert!(text.contains(from), "{from} in the guide");
        let (before, _) = from.rsplit_once(' ').unwrap();
        text = text.replace(from, &format!("{before} 127.0.0.1:{port}"));
    };
    for (number, cloud) in (1..).zip(clouds) {
        put(&format!("server cloud{number} 10.0.0.{number}:8883"), cloud.mqtt_port);
        put(&format!("server cloud{number} 10.0.0.{number}:8080"), cloud.http_port);
    }
    put("bind :8883", mqtt_port);
    put("bind :8080", http_port);
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&path);
    spawn(command, &folder.join("balancer.log"))
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/setup test installs what is needed"))
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill().and_then(|()| child.wait().map(drop));
    }
}

/// A port that nobody uses, below those that the system gives to outgoing connections: one of them may come before the
/// server does. Each test process has a range of its own.
fn free_port() -> u16 {
    const RANGE: u32 = 20;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let port = 10_000 + std::process::id() % 1_000 * RANGE + NEXT.fetch_add(1, Ordering::Relaxed) % RANGE;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
