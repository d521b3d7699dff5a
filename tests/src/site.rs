//! One cloud and one appliance on this machine, each a process of its own that can be killed and started again.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::api::Api;
use crate::{fixtures, wait};

/// Longest time a program may take to start on a loaded machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The cloud's program with its data folder and fixed ports, so that it comes back where it was.
#[derive(Debug)]
pub struct Cloud {
    directory: PathBuf,
    /// Base URL of the API.
    pub base: String,
    /// The MQTT front.
    pub mqtt: SocketAddr,
    /// What it logs from the next start on; the program's own choice when absent.
    pub log_filter: Option<&'static str>,
    /// The PostgreSQL it keeps its state in; its own file when absent.
    database_url: Option<String>,
    child: Option<Child>,
}

/// How a cloud differs from one with nothing set.
#[derive(Debug, Clone, Default)]
pub struct CloudSettings {
    /// Where edges are told to connect to; the cloud's own port when absent.
    pub mqtt_public_port: Option<u16>,
    /// The PostgreSQL it keeps its state in; its own file when absent.
    pub database_url: Option<String>,
    /// Additional sections of the TOML file.
    pub more: String,
}

impl Cloud {
    /// Starts a cloud in `directory` on free loopback ports; edges are told to connect to `mqtt_public_port` when given.
    ///
    /// # Errors
    /// It is not built or does not come up.
    pub async fn start(directory: &Path, mqtt_public_port: Option<u16>) -> Result<Self> {
        Self::start_with(directory, CloudSettings { mqtt_public_port, ..CloudSettings::default() }).await
    }

    /// Starts a cloud in `directory` on free loopback ports.
    ///
    /// # Errors
    /// It is not built or does not come up.
    pub async fn start_with(directory: &Path, settings: CloudSettings) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (http_port, mqtt_port) = (free_port()?, free_port()?);
        let public_port = settings.mqtt_public_port.unwrap_or(mqtt_port);
        // One program plays all people of a tenant here, and much faster than they are.
        let configuration = format!(
            "data_dir = {:?}\n\n[calls]\nper_second = 0\ntenant_per_second = 0\n\n\
             [http]\nbind = \"127.0.0.1:{http_port}\"\n\n[mqtt]\nbind = \"127.0.0.1:{mqtt_port}\"\n\
             public_host = \"127.0.0.1\"\npublic_port = {public_port}\n\n{}",
            directory.join("cloud.db.d"),
            settings.more
        );
        std::fs::write(directory.join("cloud.toml"), configuration)?;
        let mut cloud = Self {
            directory: directory.to_owned(),
            base: format!("http://127.0.0.1:{http_port}"),
            mqtt: SocketAddr::from(([127, 0, 0, 1], mqtt_port)),
            log_filter: None,
            database_url: settings.database_url,
            child: None,
        };
        cloud.up().await?;
        Ok(cloud)
    }

    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// It ends or does not become ready.
    pub async fn up(&mut self) -> Result<()> {
        let mut command = Command::new(fixtures::program("aivms-cloud")?);
        command
            .args(["run", "--config"])
            .arg(self.directory.join("cloud.toml"))
            .env("CLIP_UPLOAD_DIR", self.clips())
            .env("AIVMS_LOG", self.log_filter.unwrap_or_default())
            // As the unit and the image have it.
            .env("MALLOC_ARENA_MAX", "2")
            .env_remove("JWT_SECRET")
            .env_remove("DATABASE_URL")
            .env_remove("DATABASE_PATH");
        match &self.database_url {
            Some(url) => command.env("DATABASE_URL", url),
            None => command.env("DATABASE_PATH", self.database()),
        };
        self.child = Some(spawn(command, &self.log())?);
        let health = format!("{}/readyz", self.base);
        wait::until("ready cloud", START_DEADLINE, async || {
            self.check_alive()?;
            Ok(reqwest::get(&health).await?.status().is_success().then_some(()))
        })
        .await
    }

    /// Ends the program at once, as a power cut or the kernel would.
    ///
    /// # Errors
    /// The signal can't be sent.
    pub fn kill(&mut self) -> Result<()> {
        kill(&mut self.child)
    }

    /// The memory it occupies, in MiB: what the kernel counts as its own or shared with others.
    ///
    /// # Errors
    /// It is not running.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 KiB")]
    pub fn resident_mib(&self) -> Result<f64> {
        let id = self.child.as_ref().context("not started")?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib as f64 / 1024.0)
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("cloud.db")
    }

    /// Where clips and snapshots are stored.
    #[must_use]
    pub fn clips(&self) -> PathBuf {
        self.directory.join("clips")
    }

    /// What the program logged.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("cloud.log")
    }

    /// Fails when the program has ended by itself.
    ///
    /// # Errors
    /// It has; the message holds the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        let log = self.log();
        check_alive(&mut self.child, &log)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The appliance's program with its data folder.
#[derive(Debug)]
pub struct Appliance {
    directory: PathBuf,
    cloud_url: String,
    edge_id: String,
    /// The one-time secret it is configured with from the next start on.
    pub edge_secret: String,
    /// What it logs from the next start on.
    pub log_filter: &'static str,
    child: Option<Child>,
}

/// What an appliance of a test should watch.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Content of `cameras.json`.
    pub cameras: Value,
    /// Additional lines of the TOML file.
    pub settings: String,
}

impl Watch {
    /// One camera `gate` on the real video with a zone that people walk through and stand in.
    ///
    /// # Errors
    /// The video has not been fetched.
    pub fn people_walking() -> Result<Self> {
        let video = fixtures::cached("video/vtest.avi")?;
        let zone = json!({
            "id": "walkway",
            "polygon": [[0.25, 0.2], [0.75, 0.2], [0.75, 0.95], [0.25, 0.95]],
            "classes": ["person"],
            "dwell_ms": 2000,
        });
        let camera = json!({ "id": "gate", "url": format!("file://{}", video.display()), "zones": [zone] });
        Ok(Self { cameras: json!({ "cameras": [camera] }), settings: String::new() })
    }

    /// No camera at all: the appliance only empties its outbox.
    #[must_use]
    pub fn nothing() -> Self {
        Self { cameras: json!({ "cameras": [] }), settings: String::new() }
    }
}

impl Appliance {
    /// Registers an edge and prepares its folder; nothing runs yet.
    ///
    /// # Errors
    /// The cloud refuses.
    pub async fn register(directory: &Path, api: &Api, cloud_url: &str) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (edge_id, edge_secret) = api.register_edge("test edge").await?;
        Ok(Self {
            directory: directory.to_owned(),
            cloud_url: cloud_url.to_owned(),
            edge_id,
            edge_secret,
            log_filter: "info,sled=off,aivms_appliance::outbox=debug",
            child: None,
        })
    }

    /// Another device that claims to be the same edge, with a folder of its own; it asks the cloud at `cloud_url`.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn twin(&self, directory: &Path, cloud_url: &str) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            cloud_url: cloud_url.to_owned(),
            edge_id: self.edge_id.clone(),
            edge_secret: self.edge_secret.clone(),
            log_filter: self.log_filter,
            child: None,
        })
    }

    /// The edge's id.
    #[must_use]
    pub fn edge_id(&self) -> &str {
        &self.edge_id
    }

    /// Writes the configuration and starts the program; it enrols itself when it has not.
    ///
    /// # Errors
    /// It is not built or ends at once.
    pub fn up(&mut self, watch: &Watch) -> Result<()> {
        self.configure(watch)?;
        let mut command = self.command(&["run"])?;
        command.env("AIVMS_LOG", self.log_filter);
        self.child = Some(spawn(command, &self.log())?);
        Ok(())
    }

    /// Runs another command of the program, such as `doctor`, to its end: its exit code and all it printed.
    ///
    /// # Errors
    /// It is not built.
    pub fn ask(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.command(arguments)?.stdin(Stdio::null()).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// Model or library have not been fetched.
    pub fn configure(&self, watch: &Watch) -> Result<()> {
        let model = fixtures::cached("models/nanodet-g-416.onnx")?;
        let library = fixtures::cached("onnxruntime/libonnxruntime.so")?;
        std::fs::write(self.directory.join("cameras.json"), serde_json::to_vec_pretty(&watch.cameras)?)?;
        let configuration = format!(
            "data_dir = \"{data}\"\ncameras = \"cameras.json\"\n\n[cloud]\nurl = \"{url}\"\n\n\
             [edge]\nid = \"{id}\"\nsecret = \"{secret}\"\n\n\
             [detection]\nmodel = \"{model}\"\nlibrary = \"{library}\"\nconfidence = 0.4\n\n{more}",
            data = self.directory.join("data").display(),
            url = self.cloud_url,
            id = self.edge_id,
            secret = self.edge_secret,
            model = model.display(),
            library = library.display(),
            more = watch.settings,
        );
        std::fs::write(self.directory.join("appliance.toml"), configuration)?;
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(fixtures::program("aivms-appliance")?);
        command.args(arguments).arg("--config").arg(self.directory.join("appliance.toml"));
        Ok(command)
    }

    /// Ends the program at once.
    ///
    /// # Errors
    /// The signal can't be sent.
    pub fn kill(&mut self) -> Result<()> {
        kill(&mut self.child)
    }

    /// What the program logged, over all its lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("appliance.log")
    }

    /// Fails when the program has ended by itself.
    ///
    /// # Errors
    /// It has; the message holds the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        let log = self.log();
        check_alive(&mut self.child, &log)
    }

    /// What the running appliance last said of itself.
    ///
    /// # Errors
    /// It has not said anything yet.
    pub fn status(&self) -> Result<Value> {
        let path = self.directory.join("data/run/status.json");
        Ok(serde_json::from_slice(&std::fs::read(&path).with_context(|| path.display().to_string())?)?)
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(mut command: Command, log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let child =
        command.env_remove("JOURNAL_STREAM").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(child)
}

fn kill(child: &mut Option<Child>) -> Result<()> {
    if let Some(mut child) = child.take() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn check_alive(child: &mut Option<Child>, log: &Path) -> Result<()> {
    let Some(running) = child else { bail!("not started") };
    if let Some(status) = running.try_wait()? {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<_> = text.lines().rev().take(20).collect();
        bail!("ended with {status}:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// A loopback port that was free a moment ago.
///
/// # Errors
/// None is free.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
